"""Jobs of several processes in a multirun: each is one group, and none leaks into the next."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import QUICK, ROOT
from test_loggers import inspected

from vae_lab import InputError, train

DDP = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
SHORT = ("trainer.max_epochs=1", "data.limit=64", "callbacks.progress=null",
         "callbacks.figures=null")  # fmt: skip

FAULT = """
import os, sys
if os.environ.get("RANK") == "1":
    import vae_lab.training as training
    whole = training.Training.training_step
    def step(self, batch, batch_idx):
        if self.seed == 1:
            raise RuntimeError("rank 1 of the job with seed 1 is struck")
        return whole(self, batch, batch_idx)
    training.Training.training_step = step
"""


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int, str]]:
    """Two multiruns at once: one whose second job fails on one rank; one of 2, 1 and 2 devices."""
    fault = tmp_path_factory.mktemp("fault")
    (fault / "sitecustomize.py").write_text(FAULT)
    source = str(ROOT / "src")
    sweeps = {
        "failing": (["seed=0,1,2", *DDP, "logger=wandb"], f"{fault}{os.pathsep}{source}"),
        "mixed": (["trainer.devices=2,1,2", *DDP[::2], "logger=none"], source),
    }
    started = {}
    for name, (overrides, path) in sweeps.items():
        folder = tmp_path_factory.mktemp(name)
        command = [sys.executable, "train.py", "-m", *overrides, *SHORT,
                   f"hydra.sweep.dir={folder}"]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": path, "WANDB_MODE": "offline"}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started[name] = (folder, process)
    finished = {}
    for name, (folder, process) in started.items():
        _, stderr = process.communicate(timeout=600)
        finished[name] = (folder, process.returncode, stderr)
    return finished


def result(folder: Path) -> dict[str, float]:
    return json.loads((folder / "result.json").read_text())["metrics"]


def test_a_failing_rank_ends_its_job_and_the_sweep_goes_on(
    sweeps: dict[str, tuple[Path, int, str]],
) -> None:
    folder, status, stderr = sweeps["failing"]
    assert status == 1
    assert "error in job 1: rank 1: RuntimeError: rank 1 of the job with seed 1" in stderr
    assert "error in job 0" not in stderr
    assert not (folder / "1" / "result.json").exists()
    assert "struck" in (folder / "1" / "stderr.log").read_text()
    seeds = {}
    for job in (0, 2):
        content = torch.load(folder / str(job) / "checkpoints" / "last.ckpt", weights_only=True)
        seeds[job] = content["vae_lab"]["config"]["seed"]
    assert seeds == {0: 0, 2: 2}
    assert result(folder / "0") != result(folder / "2")


def test_each_job_is_one_wandb_run_and_the_failed_one_is_marked(
    sweeps: dict[str, tuple[Path, int, str]],
) -> None:
    folder, _, _ = sweeps["failing"]
    codes = [inspected(folder / str(job))["exit_code"] for job in (0, 1, 2)]
    assert codes[0] == codes[2] == 0
    assert codes[1] != 0


def test_two_then_one_then_two_devices(sweeps: dict[str, tuple[Path, int, str]]) -> None:
    folder, status, stderr = sweeps["mixed"]
    assert status == 0, stderr
    results = [result(folder / str(job)) for job in (0, 1, 2)]
    assert results[0] == results[2]  # the same job twice, with another between them
    assert results[0]["train/elbo"] != results[1]["train/elbo"]


def test_a_group_is_refused_in_one_line_before_it_starts(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="batch_size"):
        train([*QUICK, *DDP, "data.batch_size=0", f"hydra.run.dir={tmp_path / 'run'}"])
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_not_overwritten(tmp_path: Path) -> None:
    again = [*QUICK, "data.limit=32", f"hydra.run.dir={tmp_path / 'run'}"]
    train(again, quiet=True)
    with pytest.raises(InputError, match="holds this run already, finished"):
        train(again, quiet=True)
    with pytest.raises(InputError, match="holds another run already"):
        train([*again, "seed=1"], quiet=True)
