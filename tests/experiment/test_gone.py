"""Runs whose checkpoints are gone or damaged, and foreign files: nothing is replaced unasked."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from parts import run as train_in

from vae_lab import InputError, load, train

SMALL = ("data.limit=64", "model.encoder.widths=[16]", "model.decoder.widths=[16]", "logger=csv",
         "callbacks.last.every_n_seconds=0")  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, finished."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    return train_in(folder, *SMALL, "trainer.max_epochs=2").folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The same, each test's own."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path): path.read_bytes() for path in files}


def flip(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def without(run: Path, *names: str) -> None:
    for name in names:
        (run / name).unlink()


LAST = ("checkpoints/last.ckpt", "checkpoints/previous.ckpt")
FINISHED = ("result.json", "checkpoints/best.ckpt")


@pytest.mark.parametrize("gone", FINISHED)
def test_a_run_whose_last_checkpoints_are_gone_does_not_start_over(run: Path, gone: str) -> None:
    without(run, *LAST, gone)
    before = content(run)
    said = "has no last.ckpt to go on from: set hydra.run.dir to a new folder"
    with pytest.raises(InputError, match=said) as told:
        train([f"resume={run}", "trainer.max_epochs=3"], quiet=True)
    best = f"init_from={run / 'checkpoints' / 'best.ckpt'} begins a new run"
    assert (best in str(told.value)) == (gone == "result.json")
    assert content(run) == before


def test_a_run_killed_before_its_first_save_goes_on_from_the_start(tmp_path: Path) -> None:
    run = train_in(tmp_path / "run", *SMALL).folder
    without(run, "checkpoints/last.ckpt", "result.json")  # as between the first two writes
    assert train([f"resume={run}"], quiet=True).best is not None
    without(run, "checkpoints/last.ckpt", "checkpoints/best.ckpt", "result.json")
    assert train([f"resume={run}"], quiet=True).best is not None


FOREIGN = ("result.json", "failed.json", "csv/metrics.csv", "checkpoints/a", "figures/mine.png")


@pytest.mark.parametrize("name", FOREIGN)
def test_a_folder_whose_files_are_no_runs_is_left_alone(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(InputError, match=r"files that are no run's .*set hydra|failed\.json is da"):
        train_in(tmp_path / "mine", *SMALL)
    assert content(tmp_path / "mine") == {str(path): b"mine"}


def test_a_folder_of_other_files_and_of_a_failed_job_takes_a_run(tmp_path: Path) -> None:
    for name in ("notes.txt", "slurm-12.out"):
        (tmp_path / name).write_text("mine")
    failed = {"overrides": {}, "reason": "a reason", "traceback": ""}
    (tmp_path / "failed.json").write_text(json.dumps(failed))
    (tmp_path / "figures").mkdir()
    assert train_in(tmp_path, *SMALL).best is not None


def test_a_damaged_best_checkpoint_names_the_ways_on_and_they_work(run: Path) -> None:
    best, last = (run / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    flip(best)
    with pytest.raises(InputError, match=f"{best} is cut short.*choose {last}$"):
        load(run)
    load(last)
    before = content(run)
    with pytest.raises(InputError, match=f"{best} cannot be used: remove it to go on from last"):
        train([f"resume={run}", "trainer.max_epochs=3"], quiet=True)
    assert content(run) == before
    best.unlink()
    done = train([f"resume={run}", "trainer.max_epochs=3"], quiet=True)
    assert load(best).record["epoch"] == 2  # the only one since
    assert done.best == pytest.approx(done.metrics["val/elbo"])


def test_where_no_checkpoint_can_be_gone_on_from_the_best_is_named(run: Path) -> None:
    for name in LAST:
        flip(run / name)
    way = f"Nor can previous.ckpt be used. init_from={run / 'checkpoints' / 'best.ckpt'} begins"
    with pytest.raises(InputError, match=way):
        train([f"resume={run}", "trainer.max_epochs=3"], quiet=True)


def test_how_much_longer_a_finished_run_may_be_is_said_truly(run: Path) -> None:
    with pytest.raises(InputError, match="set trainer.max_epochs to 3 or more"):
        train([f"resume={run}", "trainer.max_epochs=1"], quiet=True)
    with pytest.raises(InputError, match="finished: say a larger trainer.max_epochs"):
        train([f"resume={run}", "trainer.max_epochs=2"], quiet=True)
    assert train([f"resume={run}", "trainer.max_epochs=3"], quiet=True).best is not None


def test_a_resumed_run_is_not_asked_to_move(run: Path, tmp_path: Path) -> None:
    asked = [f"resume={run}", f"hydra.run.dir={tmp_path / 'other'}", "trainer.max_epochs=3"]
    with pytest.raises(InputError, match=f"stays where it is, in {run}: drop hydra.run.dir="):
        train(asked, quiet=True)
    assert not (tmp_path / "other").exists()
    train([asked[0], f"hydra.run.dir={run}", asked[2]], quiet=True)


@pytest.mark.process
def test_nor_is_it_by_the_command(
    run: Path, command: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    refused = command("train.py", f"resume={run}", f"hydra.run.dir={tmp_path / 'other'}")
    assert refused.returncode == 1
    assert "stays where it is" in refused.stderr
    assert not (tmp_path / "other").exists()


def test_a_damaged_result_is_not_called_finished(run: Path) -> None:
    (run / "result.json").write_text("[]")
    with pytest.raises(InputError, match=r"result\.json is damaged .*: remove it"):
        train([f"resume={run}"], quiet=True)
    (run / "result.json").unlink()
    assert train([f"resume={run}"], quiet=True).best is not None


def test_a_run_without_time_for_a_step_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"took no step: raise trainer\.max_time"):
        train_in(tmp_path / "run", *SMALL, "+trainer.max_time='00:00:00:00'")


def test_a_run_of_before_can_be_used_but_not_gone_on_with(run: Path, tmp_path: Path) -> None:
    config = run / "config.yaml"
    whole = config.read_text()
    lacking = "".join(line for line in whole.splitlines(True) if not line.startswith("monitor:"))
    for text, said in (
        (whole.removesuffix("...\n"), "of an earlier vae-lab"),
        (lacking, "made by an earlier vae-lab: it lacks monitor"),
    ):
        config.write_text(text)
        with pytest.raises(InputError, match=f"{said}.*init_from={run}"):
            train([f"resume={run}", "trainer.max_epochs=3"], quiet=True)
    assert load(run).record["epoch"] >= 0
    new = train_in(tmp_path / "new", *SMALL, f"init_from={run}")
    assert new.best is not None
