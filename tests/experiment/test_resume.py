"""Nothing lost: a run killed at any moment goes on, bit by bit as if nothing had happened."""

import csv
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from killed import Watched
from omegaconf import OmegaConf
from parts import wandb_runs
from rich.console import Console

from vae_lab.distributed import group
from vae_lab.distributed.signals import Interrupted
from vae_lab.experiment import run as running
from vae_lab.storage.run_folder import RunFolder

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """The uninterrupted run."""
    watched = Watched(tmp_path_factory.mktemp("whole"))
    watched.finish()
    return watched


def saved(watched: Watched, name: str) -> dict:
    return torch.load(watched.folder / "checkpoints" / f"{name}.ckpt", weights_only=True)


def last(watched: Watched) -> dict:
    return saved(watched, "last")


def saved_steps(watched: Watched) -> int:
    """How many steps its newest checkpoint is behind; none before the first."""
    begun = (watched.folder / "checkpoints" / "last.ckpt").is_file()
    return last(watched)["global_step"] if begun else 0


def assert_same_run(resumed: Watched, whole: Watched) -> None:
    """The same losses at every step, weights, figures and logged curve."""
    assert resumed.curve() == whole.curve()
    for name in ("last", "best"):
        ours, theirs = (saved(watched, name)["state_dict"] for watched in (resumed, whole))
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            assert torch.equal(ours[key], value), key
    results = [json.loads((w.folder / "result.json").read_text()) for w in (resumed, whole)]
    assert results[0] == results[1]
    assert logged(resumed) == logged(whole)


def logged(watched: Watched) -> list[dict[str, str]]:
    """The logged curve: all but how fast the machine was."""
    with (watched.folder / "csv" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = [{k: v for k, v in row.items() if v and not k.startswith("system/")} for row in rows]
    return [row for row in kept if set(row) > {"step"}]


def mid_epoch(run: Watched, epochs: int, steps: int = 13) -> Callable[[], bool]:
    """Whether a few steps of the next epoch are behind it."""
    return lambda: run.steps() >= epochs * steps + 4


@pytest.mark.parametrize("moment", range(3))
def test_a_killed_run_goes_on_bit_by_bit(moment: int, tmp_path: Path, whole: Watched) -> None:
    chance = random.Random(moment)
    run = Watched(tmp_path, cold=moment == 0)
    run.kill_after(chance.randrange(1, whole.steps()), pause=chance.uniform(0, 0.03))
    made, saved = run.steps(), saved_steps(run)
    run.finish("resume=run")
    assert run.steps() == made + whole.steps() - saved  # no more is made twice than was not saved
    assert_same_run(run, whole)


@pytest.mark.parametrize("moment", range(2))
def test_a_run_killed_between_two_saves_goes_on_and_keeps_the_same_best(
    moment: int, tmp_path: Path, whole: Watched
) -> None:
    run = Watched(tmp_path, "callbacks.last.every_n_seconds=10")  # epochs end far sooner
    run.kill_after(random.Random(moment).randrange(2 * 13 + 1, 4 * 13))
    assert saved_steps(run) == 13  # the first epoch's end
    assert saved(run, "best")["epoch"] == 0  # no later than what training goes on from
    run.finish("resume=run")
    assert_same_run(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(3, 13))
def test_a_run_killed_at_ten_more_moments(moment: int, tmp_path: Path, whole: Watched) -> None:
    test_a_killed_run_goes_on_bit_by_bit(moment, tmp_path, whole)


def test_a_terminated_run_saves_within_the_epoch_and_goes_on_there(
    tmp_path: Path, whole: Watched
) -> None:
    run = Watched(tmp_path)
    status, said = run.stop(mid_epoch(run, 2), signal.SIGTERM)
    assert status == 143
    assert "python train.py resume=" in said
    assert "Traceback" not in said
    steps = run.steps()
    assert last(run)["global_step"] == steps  # not the end of the epoch before
    said = run.finish("resume=run")
    assert f"goes on from last.ckpt, epoch 3, step {steps}" in said
    assert run.steps() == whole.steps()  # no step was made twice
    assert_same_run(run, whole)


PICKY = (
    "callbacks.last.every_n_steps=2", "trainer.accumulate_grad_batches=2", "scheduler=cosine",
    "objective/beta=cyclical", "objective.beta.period=2", "early_stopping=patience",
    "model/likelihood=gaussian", "model/likelihood/sigma=optimal", "ema=default", "ema.decay=0.9",
    "gradient_skip=default",
)  # fmt: skip


def test_schedules_sums_and_accumulation_go_on_within_an_epoch(tmp_path: Path) -> None:
    picky = Watched(tmp_path / "whole", *PICKY)
    picky.finish()
    run = Watched(tmp_path / "killed", *PICKY)
    run.kill_after(2 * 13 + 7)
    assert last(run)["global_step"] > 14  # seven steps an epoch: two epochs, and some of a third
    run.finish("resume=run")
    assert_same_run(run, picky)


TWO = ("trainer=ddp", "trainer.devices=2", "callbacks.last.every_n_steps=3")


@pytest.fixture(scope="module")
def whole_of_two(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """The uninterrupted run, in two processes."""
    watched = Watched(tmp_path_factory.mktemp("two"), *TWO)
    watched.finish()
    return watched


def test_two_processes_killed_within_an_epoch_go_on_bit_by_bit(
    tmp_path: Path, whole_of_two: Watched
) -> None:
    run = Watched(tmp_path, *TWO, cold=True)
    run.kill_after(2 * (2 * 7 + 5))  # of the two ranks, in the third epoch
    before = run.steps()
    time.sleep(1)
    assert run.steps() <= before + 2  # no rank trains on without its parent
    made, saved = run.steps(), saved_steps(run)
    run.finish("resume=run")
    assert run.steps() == made + whole_of_two.steps() - 2 * saved
    assert_same_run(run, whole_of_two)


def test_two_terminated_processes_save_at_the_same_step(
    tmp_path: Path, whole_of_two: Watched
) -> None:
    run = Watched(tmp_path, *TWO[:2])
    status, said = run.stop(lambda: run.steps() >= 2 * (7 + 3), signal.SIGTERM)
    assert status == 143, said
    assert 2 * last(run)["global_step"] == run.steps()
    run.finish("resume=run")
    assert run.curve() == whole_of_two.curve()
    assert all(len(losses) == 1 for losses in run.curve().values())


@pytest.mark.parametrize("extra", [["scheduler=plateau", "scheduler.patience=0"],
                                   ["+trainer.max_steps=45"]], ids=str)  # fmt: skip
def test_other_schedules(tmp_path: Path, extra: list[str]) -> None:
    picky = Watched(tmp_path / "whole", *extra)
    picky.finish()
    run = Watched(tmp_path / "killed", *extra)
    run.kill_after(2 * 13 + 7)
    run.finish("resume=run")
    assert_same_run(run, picky)


def test_slurm_is_asked_to_start_the_job_again_and_it_goes_on(
    tmp_path: Path, whole: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    scontrol = tmp_path / "bin" / "scontrol"
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    run = Watched(tmp_path)
    status, said = run.stop(mid_epoch(run, 1), signal.SIGUSR1)
    assert status == 143
    assert "SLURM starts it again" in said
    assert (tmp_path / "asked").read_text() == "requeue 1234\n"
    run.finish()  # the very same command, as SLURM repeats it
    assert run.steps() == whole.steps()
    assert_same_run(run, whole)


def test_one_rank_of_a_group_asks_slurm_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, folder = [], RunFolder(tmp_path)
    (tmp_path / "config.yaml").touch()

    def told(*arguments: object) -> None:
        raise Interrupted(signal.SIGUSR1)

    monkeypatch.setattr(running, "_run", told)
    monkeypatch.setattr(running, "requeue", lambda: asked.append(group.rank()) or True)
    for name, value in (("JOB_ID", "1234"), ("NTASKS", "2"), ("JOB_NAME", "train")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    for rank in "01":
        monkeypatch.setenv("SLURM_PROCID", rank)
        with pytest.raises(Interrupted):
            running.run(OmegaConf.create(), folder, {}, Console(quiet=True))
    assert asked == [0]


def test_a_last_checkpoint_cut_short_costs_an_epoch_and_no_bit(
    tmp_path: Path, whole: Watched
) -> None:
    run = Watched(tmp_path)
    run.kill_after(2 * 13 + 4)
    path = run.folder / "checkpoints" / "last.ckpt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "goes on from previous.ckpt, epoch 1" in run.finish("resume=run")
    assert_same_run(run, whole)


def test_the_same_wandb_run_goes_on(tmp_path: Path) -> None:
    run = Watched(tmp_path, "logger=wandb")
    run.kill_after(13 + 5)
    run.finish("resume=run")
    stored = OmegaConf.load(run.folder / "config.yaml").run_id  # written before training began
    names = [path.name for path in (run.folder / "wandb").glob("offline-run-*")]
    assert [name.rpartition("-")[2] for name in names] == [stored, stored]
    _, second = wandb_runs(run.folder)
    assert second["run_id"] == stored
    assert second["exit_code"] == 0
    assert second["summary"]["epoch"] == 4
