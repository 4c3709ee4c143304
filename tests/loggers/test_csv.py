"""metrics.csv loses nothing: a run killed anywhere goes on with it, byte by byte."""

import csv
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK
from killed import Watched
from lightning.pytorch import Trainer

from vae_lab import train
from vae_lab.loggers import CSV
from vae_lab.training.module import VAEModule

RUN = (*QUICK[1:], "logger=csv", "data=digits", "data.limit=64", "trainer.max_epochs=3",
       "callbacks.last.every_n_seconds=0")  # fmt: skip
EVENTS = 4  # of an epoch: rows of validation, speed and training, last.ckpt


class Killed(BaseException):
    """No part of the program expects it."""


class Killer:
    """Ends a run after so many rows and checkpoints: `after` tells how many are left to it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.after: float = float("inf")
        for owner, method in ((CSV, "log_metrics"), (Trainer, "save_checkpoint")):
            patch.setattr(owner, method, self._counted(getattr(owner, method)))

    def _counted(self, write: Callable[..., None]) -> Callable[..., None]:
        def counted(*args: Any, **kwargs: Any) -> None:
            write(*args, **kwargs)
            self.after -= 1
            if self.after <= 0:
                raise Killed

        return counted


@pytest.fixture
def killer(monkeypatch: pytest.MonkeyPatch) -> Killer:
    return Killer(monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train([*RUN, f"hydra.run.dir={folder}"], quiet=True)
    return folder / "csv" / "metrics.csv"


def but_for_speed(path: Path) -> list[list[str]]:
    """The file's fields as text, header first, without those of how fast the machine was."""
    header, *rows = csv.reader(path.read_text().splitlines())
    slow = [i for i, name in enumerate(header) if not name.startswith("system/")]
    return [[row[i] for i in slow] for row in (header, *rows)]


@pytest.mark.parametrize("events", [*range(EVENTS, 2 * EVENTS), 3 * EVENTS + 1])
def test_a_run_killed_after_any_row_or_checkpoint_again_and_again_leaves_the_same_file(
    events: int, killer: Killer, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command, kills = [*RUN, f"hydra.run.dir={folder}"], 0
    while not (folder / "result.json").is_file():
        killer.after = events
        try:
            train(command, quiet=True)
        except Killed:
            kills += 1
            command = [f"resume={folder}"]
    assert kills > 0
    assert but_for_speed(folder / "csv" / "metrics.csv") == but_for_speed(whole)


def test_a_run_told_to_stop_at_the_end_of_an_epoch_has_logged_it(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = VAEModule.on_train_epoch_end

    def end(self: VAEModule) -> None:
        ended(self)
        if self.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(VAEModule, "on_train_epoch_end", end)
    folder = tmp_path / "run"
    with pytest.raises(SystemExit):
        train([*RUN, f"hydra.run.dir={folder}"], quiet=True)
    path = folder / "csv" / "metrics.csv"
    assert but_for_speed(path)[-1][0] == "1"  # the epoch
    train([f"resume={folder}"], quiet=True)
    assert but_for_speed(path) == but_for_speed(whole)


@pytest.mark.process
def test_a_run_killed_shortly_after_it_went_on_leaves_the_same_file(tmp_path: Path) -> None:
    whole, run = (
        Watched(tmp_path / "whole", "data=digits"),
        Watched(tmp_path / "run", "data=digits"),
    )
    whole.finish()
    for steps in (2 * 13 + 4, 2 * 13 + 4 + 7):  # in the third epoch, twice
        run.kill_after(steps)
        assert len(but_for_speed(run.folder / "csv" / "metrics.csv")) >= 1 + 2 * 3
    run.finish()
    logs = [but_for_speed(each.folder / "csv" / "metrics.csv") for each in (run, whole)]
    assert logs[0] == logs[1]


def logged(folder: Path, *rows: tuple[dict[str, float], int]) -> str:
    """The file after a process has logged these rows."""
    log = CSV(str(folder))
    for metrics, step in rows:
        log.log_metrics(metrics, step)
    return (folder / "csv" / "metrics.csv").read_text()


def test_every_row_is_in_the_file_at_once_and_the_header_grows(tmp_path: Path) -> None:
    assert logged(tmp_path, ({"b": 0.5}, 1)) == "b,step\n0.5,1\n"
    assert logged(tmp_path, ({"b": 1.5}, 2), ({"a": 1 / 3}, 2), ({"b": float("nan")}, 3)) == (
        "a,b,step\n,0.5,1\n,1.5,2\n0.3333333333333333,,2\n,nan,3\n"
    )


def test_a_run_goes_on_in_place_of_the_rows_after_its_checkpoint(tmp_path: Path) -> None:
    logged(tmp_path, ({"a": 1.0}, 1), ({"a": 2.0}, 2), ({"b": 2.0}, 2), ({"test": 0.0}, 3))
    assert logged(tmp_path, ({"a": 2.0}, 2)) == "a,step\n1.0,1\n2.0,2\n"


@pytest.mark.parametrize(
    "left", ["1.0,2.5,", "1.0,2.5,2", "1.0,2.x,2\n", "1.0,2\n", '"1.0,2.5,2\n']
)
def test_a_log_that_a_disk_has_damaged_costs_one_line_and_what_cannot_be_read(
    left: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = logged(tmp_path, ({"a": 1.0, "b": 2.5}, 0), ({"a": 1.0, "b": 2.5}, 1))
    (tmp_path / "csv" / "metrics.csv").write_text(good + left)
    assert logged(tmp_path, ({"a": 0.0}, 3)) == good + "0.0,,3\n"
    said = capsys.readouterr().err
    assert "is damaged, 1 of its lines are lost" in said
    assert said.count("\n") == 1
    assert (tmp_path / "csv" / "damaged.csv").read_text() == good + left


def test_no_flip_or_cut_of_a_log_is_a_traceback(tmp_path: Path) -> None:
    good = logged(
        tmp_path, *(({"train/elbo": -step / 7, "epoch": step}, step) for step in range(9))
    )
    path, chance = tmp_path / "csv" / "metrics.csv", random.Random(0)
    for _ in range(300):
        content = bytearray(good.encode())
        for _ in range(chance.choice([0, 1, 5])):
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        path.write_bytes(content[: chance.choice([len(content), chance.randrange(len(content))])])
        header, *rows = csv.reader(logged(tmp_path, ({"new": 0.5}, 10**9)).splitlines())
        assert rows[-1][header.index("new")] == "0.5"
        assert all(len(row) == len(header) for row in rows)
