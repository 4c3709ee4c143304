"""The console command: `vae-lab` and `python -m vae_lab`."""

import os
import re
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name

import pytest
from conftest import QUICK, ROOT

from vae_lab.commands import cli
from vae_lab.commands import main as console

SCRIPT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["vae-lab"]
COMMANDS = (
    "train", "evaluate", "fit_prior", "encode", "gradients", "export", "table", "estimators",
    "dashboard",
)  # fmt: skip
PLAIN = ("table", "estimators", "dashboard")  # without Hydra


def say(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["vae-lab", *arguments])
    for module in ("main", "start"):  # the signals of this process stay its own
        monkeypatch.setattr(f"vae_lab.commands.{module}.begin", lambda: None)
    for name in ("HYDRA_FULL_ERROR", "VAE_LAB_TRACEBACK"):
        monkeypatch.setenv(name, "0")  # and what a command sets is undone
    resolve_name(SCRIPT)()


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_alone_it_lists_its_commands(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    say(monkeypatch, *arguments)
    said = capsys.readouterr().out
    assert tuple(console.COMMANDS) == COMMANDS
    assert all(f"vae-lab {command}" in said for command in COMMANDS)
    assert max(map(len, said.splitlines())) <= 80


def test_a_misspelt_command_is_answered_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(SystemExit, match=r"Did you mean 'train'\? There are: dashboard, encode"):
        say(monkeypatch, "trian")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_handed_its_arguments(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        say(monkeypatch, command, "--help" if command in PLAIN else "nothing")
    said = "".join(capsys.readouterr())
    if command in PLAIN:
        assert re.search(rf"usage: .*{command} \[-h\]", said)
    else:
        assert ended.value.code == 1
        assert re.search("error: .*nothing", said)


def test_the_processes_of_a_launcher_print_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        say(monkeypatch, "train", "nothing")
    assert not runpy.run_path(cli.__file__)["_WANTS_TRACEBACK"]  # as a new process imports it


@pytest.mark.process
@pytest.mark.parametrize(
    ("asked", "unneeded"),
    [("--help", "torch hydra matplotlib"), ("train data=digits --help seed=1", "torch pydantic")],
)
def test_help_waits_for_no_torch(asked: str, unneeded: str) -> None:
    code = f"""
import atexit, sys
from vae_lab.commands.main import main
atexit.register(lambda: print("imported:", *{set(unneeded.split())} & set(sys.modules)))
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code, *asked.split()],
        check=True, cwd=ROOT, env=here(), capture_output=True, text=True,
    )  # fmt: skip
    assert "train a VAE" in ran.stdout or "Train a VAE" in ran.stdout
    assert ran.stdout.splitlines()[-1].strip() == "imported:"


def test_help_beside_a_mistake_tells_the_mistake(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        say(monkeypatch, "train", "--help", "model=cave")
    assert ended.value.code == 1
    assert "Did you mean 'cvae'?" in capsys.readouterr().err


SPY = """
import gc, sys
from lightning.pytorch import Callback

class Spy(Callback):
    def on_train_batch_start(self, *args):
        unneeded = {"wandb", "optuna", "tensorboard", "IPython", "sklearn.mixture"}
        print("imported:", *unneeded & set(sys.modules))
        print("collector rests:", gc.isenabled() and gc.get_freeze_count() > 100_000)
"""


@pytest.mark.process
def test_it_trains_from_anywhere_and_imports_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "spy.py").write_text(SPY)
    small = ["data=digits", "data.limit=32", *QUICK, "hydra.run.dir=run"]
    ran = subprocess.run(
        [sys.executable, "-m", "vae_lab", "train", *small, "+callbacks.spy={_target_: spy.Spy}"],
        check=True, cwd=tmp_path, env={**here(), "VAE_LAB_TRUST": "spy"}, capture_output=True,
        text=True,
    )  # fmt: skip
    assert (tmp_path / "run" / "result.json").is_file()
    said = [line.strip() for line in ran.stdout.splitlines()]
    assert "imported:" in said
    assert "collector rests: True" in said
    assert ran.stderr == ""  # above all no libraries' complaints of leaks


def here() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT / "src")}
