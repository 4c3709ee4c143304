"""A run folder that has been moved or copied: all is read from and written to where it is now."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import QUICK

from vae_lab import load, train
from vae_lab.storage.checkpoint import read_checkpoint
from vae_lab.storage.run_config import relocated
from vae_lab.storage.run_folder import RunFolder

SMALL = [
    *(o for o in QUICK if not o.startswith(("logger", "callbacks.figures"))), "logger=csv",
    "callbacks.figures.every_n_epochs=0", "data=digits", "data.limit=64",
    "model.encoder.widths=[16]", "model.decoder.widths=[16]",
]  # fmt: skip
PLAIN = [o for o in SMALL if not o.startswith(("data", "callbacks.figures"))]
PLAIN += ["data=tensors", "callbacks.figures=null"]


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file in it, byte for byte, and when it was written."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in files
    }


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one epoch, finished, that logs and draws."""
    train([*SMALL, f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    return tmp_path / "run"


def test_a_copied_run_goes_on_in_the_copy_and_leaves_the_original_as_it_was(
    run: Path, tmp_path: Path
) -> None:
    shutil.copytree(run, tmp_path / "copy")
    before = content(run)
    done = train([f"resume={tmp_path / 'copy'}", "trainer.max_epochs=3"], quiet=True)
    assert content(run) == before
    assert done.folder == tmp_path / "copy"
    for name in ("best", "last", "previous"):
        record = read_checkpoint(tmp_path / "copy" / "checkpoints" / f"{name}.ckpt")["vae_lab"]
        assert record["config"]["run_dir"] == str(tmp_path / "copy")
    assert load(done).record["config"]["trainer"]["max_epochs"] == 3
    assert (tmp_path / "copy" / "csv" / "metrics.csv").stat().st_size > len(
        before["csv/metrics.csv"][0]
    )
    assert str(run) not in (tmp_path / "copy" / "config.yaml").read_text()


def test_a_moved_run_goes_on_where_it_is(run: Path, tmp_path: Path) -> None:
    (tmp_path / "deeper" / "still").mkdir(parents=True)
    moved = run.rename(tmp_path / "deeper" / "still" / "run")
    train([f"resume={moved}", "trainer.max_epochs=2"], quiet=True)
    assert not run.exists()
    assert RunFolder(moved).is_finished
    again = moved.rename(tmp_path / "again")  # its checkpoints were made in two places
    train([f"resume={again}", "trainer.max_epochs=3"], quiet=True)
    assert {path.name for path in tmp_path.iterdir()} == {"again", "deeper"}
    assert not list((tmp_path / "deeper").rglob("*.*"))


def test_data_that_have_moved_with_the_run_are_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vae_lab.commands.run_data import run_data
    from vae_lab.config.compose import compose_config

    project = tmp_path / "project"
    project.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(project / "images.npz", images=images)
    monkeypatch.chdir(project)
    own = [*PLAIN, "data.path=images.npz", "hydra.run.dir=runs/a"]
    train(own, quiet=True)
    monkeypatch.chdir(tmp_path)
    moved = project.rename(tmp_path / "elsewhere") / "runs" / "a"
    train([f"resume={moved}", "trainer.max_epochs=2"], quiet=True)
    asked = compose_config("evaluate", [f"run={moved}"]).evaluate
    assert len(run_data(load(moved), asked, "evaluate").splits["test"])


def test_where_the_data_lie_now_may_be_said(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images)
    path, folder = tmp_path / "images.npz", tmp_path / "run"
    train([*PLAIN, f"data.path={path}", f"hydra.run.dir={folder}"], quiet=True)
    path.rename(tmp_path / "renamed.npz")
    named = f"+data.path={tmp_path / 'renamed.npz'}"
    train([f"resume={folder}", "trainer.max_epochs=2", named], quiet=True)
    train([f"resume={folder}", "trainer.max_epochs=3"], quiet=True)  # and is remembered


def test_paths_into_the_old_folder_alone_are_changed() -> None:
    config = {
        "run_dir": "/runs/a", "inside": ["/runs/a/figures", {"x": "/runs/a"}],
        "beside": "/runs/ab", "other": "/runs/a_b/c", "number": 3,
    }  # fmt: skip
    assert relocated(config, Path("/new")) == {
        "run_dir": "/new", "inside": ["/new/figures", {"x": "/new"}],
        "beside": "/runs/ab", "other": "/runs/a_b/c", "number": 3,
    }  # fmt: skip
