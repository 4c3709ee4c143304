"""Ctrl-C and its kin: one line, an exit status, and nothing lost, from the first second on."""

import os
import re
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from killed import SMALL, Watched
from parts import run
from warm import start_script

from vae_lab import train
from vae_lab.distributed import group
from vae_lab.distributed.signals import STOPPING, Interrupted, Interruption
from vae_lab.training.module import VAEModule

Process = "subprocess.Popen[str] | Forked"

PAUSE = """
import time
from pathlib import Path
import {module} as place
whole = place.{name}
def paused(*arguments, **named):
    if not Path({here!r}).exists():
        Path({here!r}).touch()
        time.sleep({seconds})
    return whole(*arguments, **named)
place.{name} = paused
"""
"""Put into a process: it stands still for a while where it first calls this function."""


def start(
    folder: Path, *arguments: str, pause: str = "", seconds: float = 60, script: str = "train.py"
) -> Process:
    """A command that will stand still in `pause`, "module:function"."""
    module, _, name = pause.partition(":")
    text = PAUSE.format(module=module, name=name, here=str(folder / "here"), seconds=seconds)
    (folder / "sitecustomize.py").write_text(text if pause else "")
    path = os.pathsep.join([str(folder), str(ROOT / "src")])
    environment = {**os.environ, "PYTHONPATH": path, "WANDB_MODE": "offline"}
    return start_script([ROOT / script, *arguments], folder, environment)


def until(when: Callable[[], bool], process: Process) -> None:
    deadline = time.monotonic() + 120
    while not when():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.005)


def end(process: Process) -> tuple[int | None, str]:
    """Its status, and the one line that it said of its end."""
    stdout, stderr = process.communicate(timeout=120)
    assert "Traceback" not in stdout + stderr
    lines = [line for line in stderr.splitlines() if line.strip() and "0:00:00" not in line]
    (line,) = lines  # beside evaluate's progress bar
    return process.returncode, line


STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
"""Of SIGUSR1 too it is 143."""


@pytest.mark.process
@pytest.mark.parametrize("number", STATUS)
@pytest.mark.parametrize(
    "place", ["vae_lab.commands.cli:conf_dir", "vae_lab.config.build:data",
              "vae_lab.config.build:training"],
)  # fmt: skip
def test_before_training_begins_it_is_one_line_and_nothing_is_left(
    place: str, number: signal.Signals, tmp_path: Path
) -> None:
    process = start(tmp_path, *SMALL, "data=digits", "hydra.run.dir=run", pause=place)
    until((tmp_path / "here").exists, process)
    process.send_signal(number)
    status, line = end(process)
    assert status == STATUS[number]
    assert line.startswith("Told to stop")
    assert {path.name for path in tmp_path.iterdir()} <= {"here", "sitecustomize.py", "__pycache__"}


@pytest.mark.process
@pytest.mark.parametrize("number", STOPPING)
def test_while_torch_is_imported_it_is_one_line(number: signal.Signals, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = start_script([ROOT / "train.py", *SMALL], tmp_path, environment, cold=True)
    assert process.pid is not None
    maps = Path("/proc", str(process.pid), "maps")
    until(lambda: "libtorch" in maps.read_text(), process)
    process.send_signal(number)
    assert end(process) == (STATUS.get(number, 143), "Told to stop.")
    assert not any(tmp_path.iterdir())


def last_step(folder: Path) -> int:
    path = folder / "checkpoints" / "last.ckpt"
    return torch.load(path, weights_only=True)["global_step"]


@pytest.mark.process
def test_ctrl_c_in_an_epoch_saves_after_the_step_at_hand_and_says_how_to_go_on(
    tmp_path: Path,
) -> None:
    run = Watched(tmp_path, "data=digits")
    status, said = run.stop(lambda: run.steps() >= 13 + 4, signal.SIGINT)
    assert status == 130
    assert f"Told to stop; saved. To go on: python train.py resume={run.folder}\n" in said
    assert "Traceback" not in said
    assert last_step(run.folder) == run.steps()
    run.finish("resume=run")
    assert run.steps() == 4 * 13  # none was made twice
    assert all(len(losses) == 1 for losses in run.curve().values())


MODULE = "vae_lab.training.module:VAEModule"


@pytest.mark.process
@pytest.mark.parametrize(
    ("place", "steps", "seconds", "more"),
    [
        (f"{MODULE}.validation_step", 13, 2, []),
        ("vae_lab.callbacks.figures:plot_all", 13, 2, ["callbacks.figures.every_n_epochs=1"]),
        (f"{MODULE}.test_step", 26, 60, []),
    ],
    ids=["validation", "figures", "test"],
)
def test_ctrl_c_outside_of_steps_saves_as_well(
    place: str, steps: int, seconds: float, more: list[str], tmp_path: Path
) -> None:
    small = [option for option in SMALL if not (more and "figures" in option)]
    asked = [*small, "data=digits", "trainer.max_epochs=2", "hydra.run.dir=run", *more]
    process = start(tmp_path, *asked, pause=place, seconds=seconds)
    until((tmp_path / "here").exists, process)
    process.send_signal(signal.SIGINT)
    status, line = end(process)
    assert status == 130
    assert line == f"Told to stop; saved. To go on: python train.py resume={tmp_path / 'run'}"
    assert last_step(tmp_path / "run") == steps
    assert not (tmp_path / "run" / "result.json").exists()


@pytest.mark.process
def test_ctrl_c_in_the_sanity_check_says_how_to_go_on(tmp_path: Path) -> None:
    asked = [*SMALL, "data=digits", "trainer.num_sanity_val_steps=1", "hydra.run.dir=run"]
    process = start(tmp_path, *asked, pause=f"{MODULE}.validation_step")
    until((tmp_path / "here").exists, process)
    process.send_signal(signal.SIGINT)
    status, line = end(process)
    assert status == 130
    assert f"To go on: python train.py resume={tmp_path / 'run'}" in line
    (tmp_path / "sitecustomize.py").unlink()
    going_on = start(tmp_path, "resume=run")
    assert going_on.communicate(timeout=120)[1] == ""
    assert going_on.returncode == 0


@pytest.mark.process
def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    asked = [*SMALL, "data=digits", "hydra.run.dir=run"]
    process = start(tmp_path, *asked, pause=f"{MODULE}.validation_step")
    until((tmp_path / "here").exists, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None  # the validation at hand is finished first
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "Told to stop again: ended as it stood.")


@pytest.mark.process
@pytest.mark.parametrize(
    ("script", "place"),
    [("evaluate.py", "vae_lab.commands.evaluate:score"),
     ("evaluate.py", "PIL.ImageFile:_save"),
     ("export.py", "torch.export:save")],
)  # fmt: skip
def test_evaluate_and_export_leave_no_part_of_a_file(
    script: str, place: str, digits_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    more = {"evaluate.py": ["evaluate.num_draws=2", "evaluate.limit=20", "evaluate.device=cpu"],
            "export.py": ["export.formats=[torch]"]}[script]  # fmt: skip
    asked = [f"run={digits_run}", f"{script.removesuffix('.py')}.out={out}", *more]
    process = start(tmp_path, *asked, pause=place, script=script)
    until((tmp_path / "here").exists, process)
    process.send_signal(signal.SIGINT)
    assert end(process) == (130, "Told to stop.")
    left = {path.name for path in out.rglob("*") if path.is_file()}
    assert left <= {"evaluation.json"}  # whole, where it stands


@pytest.mark.process
def test_ctrl_c_ends_a_sweep_with_the_table_of_what_is_done(tmp_path: Path) -> None:
    asked = ["-m", *SMALL, "data=digits", "trainer.max_epochs=2", "logger=none"]
    process = start(tmp_path, *asked, "seed=0,1,2", "hydra.sweep.dir=sweep")
    until((tmp_path / "sweep" / "0" / "result.json").exists, process)
    until((tmp_path / "sweep" / "1" / "config.yaml").exists, process)
    process.send_signal(signal.SIGINT)
    status, line = end(process)
    assert status == 130
    how = f"To go on: the same command with hydra.sweep.dir={tmp_path / 'sweep'}"
    assert line == f"Told to stop. {how}"
    assert (tmp_path / "sweep" / "table.csv").is_file()
    assert not (tmp_path / "sweep" / "2").exists()
    again = start(tmp_path, *asked, "seed=0,1,2", "hydra.sweep.dir=sweep")
    stdout, stderr = again.communicate(timeout=120)
    assert again.returncode == 0, stderr
    assert re.search(r"job 1/3  seed=0: best \S+, finished before", stdout)


# Groups

TWO = ("data=digits", "trainer=ddp", "trainer.devices=2")


def members(process: Process) -> list[int]:
    """The group's processes, by rank."""
    below = Path("/proc", str(process.pid), "task", str(process.pid), "children")
    found = {}
    for child in map(int, below.read_text().split()):
        with suppress(OSError):  # of a child, such as git, that has ended since
            environment = Path("/proc", str(child), "environ").read_bytes().split(b"\0")
            found |= {int(v[5:]): child for v in environment if v.startswith(b"RANK=")}
    return [found[rank] for rank in sorted(found)]


def lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path("/proc", str(pid), "status").read_text()
    except OSError:
        return False


@pytest.mark.process
@pytest.mark.parametrize("to", ["all", "parent", "member"])
def test_a_group_told_to_stop_saves_at_the_same_step(to: str, tmp_path: Path) -> None:
    run = Watched(tmp_path, *TWO)
    process = run.start()
    assert process.pid is not None
    until(lambda: run.steps() >= 2 * (7 + 3), process)
    if to == "all":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    elif to == "parent":
        process.send_signal(signal.SIGINT)
    else:
        os.kill(members(process)[1], signal.SIGTERM)
    status, line = end(process)
    assert status == (143 if to == "member" else 130), line
    assert line == f"Told to stop; saved. To go on: python train.py resume={run.folder}"
    assert 2 * last_step(run.folder) == run.steps()
    assert not (run.folder / "stderr").exists()


@pytest.mark.process
def test_a_member_that_is_killed_is_one_line(tmp_path: Path) -> None:
    run = Watched(tmp_path, *TWO)
    process = run.start()
    until(lambda: run.steps() >= 2 * (7 + 3), process)
    os.kill(members(process)[1], signal.SIGKILL)
    status, line = end(process)
    assert status == 1
    assert line.startswith("error: rank 1 was killed by SIGKILL (out of memory?)")
    assert f"To go on: python train.py resume={run.folder} " in line


@pytest.mark.process
def test_a_group_told_to_stop_as_it_starts_leaves_no_process(tmp_path: Path) -> None:
    run = Watched(tmp_path, *TWO)
    process = run.start()
    assert process.pid is not None
    until(lambda: len(members(process)) == 2, process)
    pids = members(process)
    os.killpg(process.pid, signal.SIGINT)
    status, line = end(process)
    assert status == 130
    how = f"To go on: python train.py resume={run.folder}"
    assert line == f"Told to stop before the first save. {how}"
    deadline = time.monotonic() + 120
    while any(lives(pid) for pid in pids):  # one that still imports ends when that is done
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (run.folder / "stderr").exists()


def test_a_member_whose_parent_has_died_before_ends() -> None:
    child = os.fork()
    if child == 0:
        try:
            group.die_with_parent(os.getpid())  # which is not its parent's
        except SystemExit as ended:
            os._exit(7 if ended.code == 1 else 0)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7


# From Python


def test_from_python_ctrl_c_is_a_keyboard_interrupt_that_has_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VAEModule, "training_step", told_to_stop_in_step(4))
    before = [signal.getsignal(number) for number in STOPPING]
    with pytest.raises(KeyboardInterrupt, match="saved. To go on: python train.py resume="):
        run(tmp_path / "run", "data=digits", "data.limit=400")
    assert last_step(tmp_path / "run") == 4
    assert [signal.getsignal(number) for number in STOPPING] == before
    assert Interruption.number is None
    monkeypatch.undo()
    assert train([f"resume={tmp_path / 'run'}"], quiet=True).best is not None


def test_from_python_ctrl_c_in_the_test_is_a_keyboard_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(*arguments: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(VAEModule, "test_step", step)
    with pytest.raises(KeyboardInterrupt, match="saved. To go on"):
        run(tmp_path / "run", "data=digits", "data.limit=400")
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def told_to_stop_in_step(number: int, by: signal.Signals = signal.SIGINT) -> Callable[..., object]:
    """A training step in whose so-manyth call the signal arrives."""
    whole, calls = VAEModule.training_step, []

    def step(self: VAEModule, batch: object, batch_idx: int) -> object:
        calls.append(batch_idx)
        if len(calls) == number:
            os.kill(os.getpid(), by)
        return whole(self, batch, batch_idx)

    return step


def test_a_signal_while_a_failed_job_ends_keeps_the_next_from_starting() -> None:
    with Interruption.heeded():
        with Interruption.heeded():
            Interruption.listen()  # as in training, which fails
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted) as told, Interruption.heeded():
            pytest.fail("it has started")
    assert told.value.code == 130
    assert Interruption.number is None


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interruption.heeded():
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(Interrupted) as told:
                os.kill(os.getpid(), signal.SIGTERM)
        assert told.value.code == 143
    finally:
        signal.signal(signal.SIGINT, before)
