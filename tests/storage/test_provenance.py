"""The commit that a number is told to come from: the one that made it, or "-dirty"."""

import subprocess
import sys
from pathlib import Path

import pytest

from vae_lab.storage import provenance
from vae_lab.storage.provenance import commit


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


def checkout(folder: Path) -> str:
    """A repository of one commit, in which runs/ is ignored; that commit."""
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / ".gitignore").write_text("runs/\n")
    (folder / "part.py").write_text("a = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "One")
    return git(folder, "rev-parse", "HEAD")[:12]


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout that this code is taken to lie in."""
    folder = tmp_path / "vae-lab"
    checkout(folder)
    monkeypatch.setattr(provenance, "_REPOSITORY", folder)
    return folder


def test_a_clean_checkout_is_its_commit(repository: Path) -> None:
    (repository / "runs").mkdir()
    (repository / "runs" / "result.json").touch()  # ignored, as what runs write is
    assert commit() == git(repository, "rev-parse", "HEAD")[:12]


@pytest.mark.parametrize("name", ["part.py", "new_part.py", "new_package/part.py"])
def test_a_part_that_is_changed_or_new_to_git_is_told(repository: Path, name: str) -> None:
    (repository / name).parent.mkdir(exist_ok=True)
    (repository / name).write_text("a = 2\n")
    assert commit() == git(repository, "rev-parse", "HEAD")[:12] + "-dirty"


def test_outside_a_checkout_it_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout(tmp_path / "users")  # of something else, in which vae-lab is installed
    (tmp_path / "users" / "lib").mkdir()
    monkeypatch.setattr(provenance, "_REPOSITORY", tmp_path / "users" / "lib")
    assert commit() == "unknown"


def test_a_package_from_elsewhere_has_its_own(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = checkout(tmp_path / "elsewhere")
    for folder, package in ((tmp_path / "elsewhere", "far_parts"), (repository, "near_parts")):
        (folder / package).mkdir()
        (folder / package / "prior.py").touch()  # a package needs no __init__.py
        monkeypatch.syspath_prepend(str(folder))
        __import__(f"{package}.prior")
    own = git(repository, "rev-parse", "HEAD")[:12] + "-dirty"
    packages = ("far_parts", "near_parts", "of_no_use")
    assert commit(*packages) == f"{own}, far_parts {theirs}-dirty"
    for package in ("far_parts", "near_parts"):
        del sys.modules[f"{package}.prior"], sys.modules[package]
    assert commit(*packages) == own  # nothing of theirs is in use
