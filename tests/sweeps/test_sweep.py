"""Sweeps: what is skipped, recorded, refused and told; launchers; Optuna."""

import csv
import os
import re
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ROOT
from omegaconf import OmegaConf
from parts import inspected
from rich.console import Console
from warm import Forked, start_script

from vae_lab.config.compose import compose_config
from vae_lab.sweeps.table import write_table

SHORT = ("trainer.max_epochs=1", "data=digits", "data.limit=64", "callbacks.progress=null",
         "callbacks.figures=null", "trainer.accelerator=cpu", "model.encoder.widths=[16]",
         "model.decoder.widths=[16]")  # fmt: skip


def start(
    folder: Path, *overrides: str, path: str = "", cold: bool = False
) -> "subprocess.Popen[str] | Forked":
    """`python train.py` in a folder: in a warm process, or in an interpreter of its own."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT / "src")])),
        "WANDB_MODE": "offline",
    }
    return start_script([ROOT / "train.py", *overrides, *SHORT], folder, environment, cold)


def sweep(
    folder: Path, *overrides: str, path: str = "", cold: bool = False
) -> tuple[int, str, str]:
    process = start(folder, *overrides, "hydra.sweep.dir=sweep", path=path, cold=cold)
    stdout, stderr = process.communicate(timeout=600)
    return process.returncode, stdout, stderr


def read_csv(folder: Path) -> list[dict[str, str]]:
    with (folder / "sweep" / "table.csv").open(newline="") as file:
        return list(csv.DictReader(file))


# A grid


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str, str]:
    """Two learning rates, one of which ends in NaN, under two seeds, logged to W&B."""
    folder = tmp_path_factory.mktemp("grid")
    found = sweep(folder, "sweep=seeds", "seed=0,1", "optimizer.lr=1e-3,1e30")
    return folder, *found


@pytest.mark.process
def test_failed_jobs_are_recorded_and_the_others_go_on(
    grid: tuple[Path, int, str, str],
) -> None:
    folder, status, _, stderr = grid
    assert status == 1
    assert len(re.findall(r"error in job \d/4  lr=1e\+30, seed=\d: the loss became", stderr)) == 2
    assert "Traceback" not in stderr
    good, bad = sorted(read_csv(folder), key=lambda row: row["failed"])
    assert (good["optimizer.lr"], good["seeds"], good["failed"]) == ("0.001", "2", "0")
    assert (bad["optimizer.lr"], bad["seeds"], bad["failed"]) == ("1e+30", "0", "2")
    assert float(good["best sd"]) > 0
    assert (folder / "sweep" / "table.png").is_file()


@pytest.mark.process
def test_jobs_are_one_group_with_telling_names(grid: tuple[Path, int, str, str]) -> None:
    folder, _, _, _ = grid
    told = [inspected(folder / "sweep" / str(number)) for number in range(4)]
    names = {run["name"] for run in told}
    assert names == {f"lr={lr}, seed={seed}" for lr in ("0.001", "1e+30") for seed in (0, 1)}
    (group,) = {run["config"]["group"] for run in told}
    assert group.endswith("/sweep")
    assert sorted(bool(run["exit_code"]) for run in told) == [False, False, True, True]
    assert "sweep/table" in str(inspected(folder / "sweep")["summary"])


@pytest.mark.process
def test_a_half_finished_grid_goes_on_and_skips_what_is_finished(tmp_path: Path) -> None:
    asked = ("-m", "seed=0,1,2", "logger=none", "hydra.sweep.dir=sweep")
    process = start(tmp_path, *asked)
    second = tmp_path / "sweep" / "1" / "config.yaml"
    while not second.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = (tmp_path / "sweep" / "0" / "result.json").stat().st_mtime_ns
    status, stdout, stderr = sweep(tmp_path, *asked)
    assert status == 0, stderr
    first, second, third = (line for line in stdout.splitlines() if line.startswith("job "))
    assert re.fullmatch(r"job 1/3  seed=0: best -\d+\.\d\d, finished before", first)
    assert re.fullmatch(r"job 2/3  seed=1: best -\d+\.\d\d, \d+ s", second)
    assert third.startswith("job 3/3  seed=2: best ")
    assert (tmp_path / "sweep" / "0" / "result.json").stat().st_mtime_ns == done
    (row,) = read_csv(tmp_path)
    assert row["seeds"] == "3"
    assert write_table(tmp_path / "sweep", Console(quiet=True)) == 0


@pytest.mark.process
@pytest.mark.parametrize(
    ("launcher", "seeds", "more"),
    [("joblib", "0,1", ["hydra.launcher.n_jobs=2"]), ("submitit_local", "0", [])],
)
def test_launchers(launcher: str, seeds: str, more: list[str], tmp_path: Path) -> None:
    asked = ("-m", f"seed={seeds}", "logger=none", f"hydra/launcher={launcher}", *more)
    status, _, stderr = sweep(tmp_path, *asked, cold=True)
    assert status == 0, stderr
    (row,) = read_csv(tmp_path)
    assert row["seeds"] == str(len(seeds.split(",")))


@pytest.mark.process
def test_runs_started_at_once_get_folders_of_their_own(tmp_path: Path) -> None:
    processes = [start(tmp_path, "logger=none") for _ in range(3)]
    for process in processes:
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    assert len(list(tmp_path.glob("runs/*/*/result.json"))) == 3


# Optuna

TELL = """
import os
if "RANK" in os.environ:
    import vae_lab.training.module as training
    whole = training.VAEModule.on_fit_start
    def start(self):
        config = self.record["config"]
        with open(os.path.join(config["run_dir"], f"told-{self.global_rank}"), "w") as file:
            file.write(f"{config['optimizer']['lr']!r} {self.optimizers().param_groups[0]['lr']!r}")
        whole(self)
    training.VAEModule.on_fit_start = start
"""


def trials(folder: Path) -> list[tuple[int, str]]:
    with sqlite3.connect(folder / "sweep" / "study.db") as database:
        return database.execute("SELECT trial_id, state FROM trials ORDER BY trial_id").fetchall()


@pytest.mark.process
def test_an_unseeded_search_tells_every_rank_the_same(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(TELL)
    search = ("sweep=optuna", "data.batch_size=16", "logger=none", "trainer=ddp",
              "trainer.accelerator=cpu")  # fmt: skip
    status, said, stderr = sweep(tmp_path, *search, "hydra.sweeper.n_trials=2", path=str(tmp_path))
    assert status == 0, stderr
    assert "Run folder:" not in said  # nor does rank 0 say more than its job's one line
    told = {}
    for result in tmp_path.glob("sweep/*/result.json"):
        ranks = {(result.parent / f"told-{rank}").read_text() for rank in (0, 1)}
        (told[result.parent.name],) = ranks
    assert len(set(told.values())) == 2  # two trials, each its own learning rate
    with sqlite3.connect(tmp_path / "sweep" / "study.db") as database:
        drawn = [rate for (rate,) in database.execute("SELECT param_value FROM trial_params")]
    assert sorted(float(text.split()[1]) for text in told.values()) == pytest.approx(sorted(drawn))
    status, _, stderr = sweep(tmp_path, *search, "hydra.sweeper.n_trials=3", path=str(tmp_path))
    assert status == 0, stderr
    assert [state for _, state in trials(tmp_path)] == ["COMPLETE"] * 3  # one more, not three


@pytest.mark.process
def test_a_nan_trial_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    status, _, stderr = sweep(
        tmp_path, "sweep=optuna", "hydra.sweeper.sampler.seed=0", "hydra.sweeper.n_trials=3",
        "optimizer.lr=choice(1e30,1e-3)",
        "data.batch_size=16", "logger=none",
    )  # fmt: skip
    assert status == 1
    assert stderr.count("the loss became NaN or infinite") == 1, stderr
    assert sorted(state for _, state in trials(tmp_path)) == ["COMPLETE", "COMPLETE", "FAIL"]


@pytest.mark.process
def test_a_search_without_a_trial_that_succeeds_says_so(tmp_path: Path) -> None:
    status, _, stderr = sweep(
        tmp_path, "sweep=optuna", "hydra.sweeper.n_trials=1", "optimizer.lr=choice(1e30)",
        "data.batch_size=16", "logger=none",
    )  # fmt: skip
    assert status == 1
    assert "error: every job of the sweep has failed" in stderr
    assert "Traceback" not in stderr


@pytest.mark.process
@pytest.mark.parametrize(
    "choice",
    ["model/likelihood=choice(bernoulli,gaussian)", "model=choice(mlp_vae,cvae)",
     "data.limit=choice(32,64)"],
)  # fmt: skip
def test_a_search_refuses_to_rank_what_cannot_be_compared(choice: str, tmp_path: Path) -> None:
    status, _, stderr = sweep(tmp_path, "sweep=optuna", choice)
    assert status == 1
    (line,) = (line for line in stderr.splitlines() if line.strip())
    assert line.startswith("error: a search ranks its trials")
    assert not (tmp_path / "sweep").exists()


@pytest.mark.process
def test_a_search_over_the_objective_needs_a_monitor_that_compares(tmp_path: Path) -> None:
    search = ("sweep=optuna", "data=digits", "logger=none", "hydra.sweeper.n_trials=1",
              "data.batch_size=16", "objective.beta.value=interval(0.1,4)")  # fmt: skip
    status, _, stderr = sweep(tmp_path, *search)
    assert status == 1
    (line,) = (line for line in stderr.splitlines() if line.strip())
    assert line.startswith("error: a search ranks its trials, and under another objective.beta.val")
    assert "say monitor=elbo" in line
    assert not (tmp_path / "sweep").exists()
    status, _, stderr = sweep(tmp_path, *search, "monitor=elbo")
    assert status == 0, stderr


@pytest.mark.process
def test_a_search_needs_validation_data(tmp_path: Path) -> None:
    status, _, stderr = sweep(tmp_path, "sweep=optuna", "data.batch_size=16", "data.val_size=0")
    assert status == 1
    assert "error: a search needs validation data" in stderr
    assert not (tmp_path / "sweep").exists()


# W&B's sweep


def test_the_arguments_of_a_wandb_agent_are_overrides() -> None:
    text = (ROOT / "conf" / "wandb_sweep.yaml").read_text()
    asked = OmegaConf.to_container(OmegaConf.create(text.replace("${", "{")), resolve=True)
    drawn = {
        name: parameter.get("value", parameter.get("values", [parameter.get("min")])[0])
        for name, parameter in asked["parameters"].items()
    }
    arguments = [f"{name}={value}" for name, value in drawn.items()]
    words = [a for w in asked["command"] for a in (arguments if "args" in w else [w])]
    assert words[:3] == ["{env}", "python", "{program}"]
    cfg = compose_config("train", words[3:])
    assert cfg.data["_target_"].endswith("MNIST")
    assert cfg.optimizer.lr == drawn["optimizer.lr"]
    assert cfg.logger["_target_"].endswith("WandB")
    assert asked["project"] == cfg.logger.project
    assert asked["metric"]["name"] == "val/elbo.max"
