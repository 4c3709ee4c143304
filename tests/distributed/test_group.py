"""Jobs of several processes in a multirun: each is one group, and none leaks into the next."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import QUICK, ROOT
from parts import inspected
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from warm import start_script

from vae_lab import InputError, train
from vae_lab.distributed import group
from vae_lab.distributed.signals import STOPPING, Interrupted, Interruption

DDP = ("trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu")
SHORT = ("trainer.max_epochs=1", "data=digits", "data.limit=64", "callbacks.progress=null",
         "callbacks.figures=null")  # fmt: skip

STAMP = {"py_callstack": "", "timestamp": "0"}  # torch counts in seconds

FAULT = """
import os, sys
if os.environ.get("RANK") == "1":
    import vae_lab.training.module as training
    whole = training.VAEModule.training_step
    def step(self, batch, batch_idx):
        if self.seed == 1:
            raise RuntimeError("rank 1 of the job with seed 1 is struck")
        return whole(self, batch, batch_idx)
    training.VAEModule.training_step = step
"""


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, int, str]]:
    """Two multiruns at once: one whose first job fails on one rank; one of 2, 1 and 2 devices."""
    fault = tmp_path_factory.mktemp("fault")
    (fault / "sitecustomize.py").write_text(FAULT)
    source = str(ROOT / "src")
    sweeps = {
        "failing": (["seed=1,2", *DDP, "logger=wandb"], f"{fault}{os.pathsep}{source}"),
        "mixed": (["trainer.devices=2,1,2", *DDP[::2], "logger=none"], source),
    }
    started = {}
    for name, (overrides, path) in sweeps.items():
        folder = tmp_path_factory.mktemp(name)
        command = ["train.py", "-m", *overrides, *SHORT, f"hydra.sweep.dir={folder}"]
        environment = {**os.environ, "PYTHONPATH": path, "WANDB_MODE": "offline"}
        started[name] = (folder, start_script(command, env=environment))
    finished = {}
    for name, (folder, process) in started.items():
        _, stderr = process.communicate(timeout=600)
        finished[name] = (folder, process.returncode, stderr)
    return finished


def result(folder: Path) -> dict[str, float]:
    return json.loads((folder / "result.json").read_text())["metrics"]


@pytest.mark.process
def test_a_failing_rank_ends_its_job_and_the_sweep_goes_on(
    sweeps: dict[str, tuple[Path, int, str]],
) -> None:
    folder, status, stderr = sweeps["failing"]
    assert status == 1
    assert "error in job 1/2  seed=1: rank 1: RuntimeError: rank 1 of the job with seed 1" in stderr
    assert "error in job 2/" not in stderr
    assert not (folder / "0" / "result.json").exists()
    (log,) = (folder / "0" / "stderr").glob("*/*/1/stderr.log")
    assert "struck" in log.read_text()
    assert not (folder / "1" / "stderr").exists()  # all went well there
    content = torch.load(folder / "1" / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["vae_lab"]["config"]["seed"] == 2
    assert result(folder / "1") != result(sweeps["mixed"][0] / "0")  # of seed 0


@pytest.mark.process
def test_each_job_is_one_wandb_run_and_the_failed_one_is_marked(
    sweeps: dict[str, tuple[Path, int, str]],
) -> None:
    folder, _, _ = sweeps["failing"]
    failed, went_on = (inspected(folder / str(job))["exit_code"] for job in (0, 1))
    assert failed != 0
    assert went_on == 0


@pytest.mark.process
def test_a_group_logs_its_latents_and_its_speed_once(
    sweeps: dict[str, tuple[Path, int, str]],
) -> None:
    summary = inspected(sweeps["failing"][0] / "1")["summary"]
    assert summary["latent/kl_mean"] * 32 == pytest.approx(summary["val/rate"], rel=1e-5)
    assert summary["system/items_per_second"] * summary["system/seconds_per_epoch"] == (
        pytest.approx(64)
    )


@pytest.mark.process
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


def test_a_group_that_is_told_to_stop_leaves_this_process_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SERVICE", "of an earlier job")
    seen: list[str | None] = []

    def agent(config: object, command: str) -> Callable[..., None]:
        def run(*arguments: str) -> None:
            seen.append(os.environ.get("WANDB_SERVICE"))
            os.environ["TORCHELASTIC_SIGNALS_TO_HANDLE"] = "all"
            os.kill(os.getpid(), signal.SIGUSR1)

        return run

    monkeypatch.setattr(group, "elastic_launch", agent)
    handlers, environment = [signal.getsignal(number) for number in STOPPING], dict(os.environ)
    with pytest.raises(Interrupted) as told, Interruption.heeded():
        group.launch(tmp_path, 2)
    assert told.value.number == signal.SIGUSR1
    assert seen == [None]
    assert [signal.getsignal(number) for number in STOPPING] == handlers
    assert dict(os.environ) == environment


def test_the_first_member_to_fail_is_the_one_that_is_named(tmp_path: Path) -> None:
    failures = {}
    for rank, when in ((0, 2_000_000), (1, 1_000_000)):  # nanoseconds, within one second
        file = tmp_path / f"{rank}.json"
        file.write_text(
            json.dumps({"message": {"message": f"InputError: {rank}\nfell", "extraInfo": STAMP}})
        )
        os.utime(file, ns=(when, when))
        failures[rank] = ProcessFailure(rank, 1, 1, str(file))
    assert reason(failures) == "rank 1: 1 fell"
    assert "died" in reason({0: ProcessFailure(0, 1, 1, str(tmp_path / "none"))})


def reason(failures: dict[int, ProcessFailure]) -> str:
    return group._first_reason(ChildFailedError("worker", failures), Path("runs/a"))


def test_a_member_that_was_killed_is_named_before_those_that_lost_their_connection(
    tmp_path: Path,
) -> None:
    file = tmp_path / "0.json"
    file.write_text(json.dumps({"message": {"message": "closed by peer", "extraInfo": STAMP}}))
    failures = {
        0: ProcessFailure(0, 1, 1, str(file)),
        1: ProcessFailure(1, 2, -signal.SIGKILL, str(tmp_path / "none")),
        2: ProcessFailure(2, 3, -signal.SIGTERM, str(tmp_path / "none")),  # by the agent, after it
    }
    expected = "rank 1 was killed by SIGKILL (out of memory?). To go on: python train.py resume="
    assert reason(failures).startswith(expected)
    os.utime(file, (failures[1].timestamp - 30,) * 2)  # the agent itself killed rank 1 at last
    assert reason(failures) == "rank 0: closed by peer"


def test_more_processes_than_cores_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="trainer.devices=1000 asks for more processes than"):
        train([*QUICK, *DDP, "data=digits", "trainer.devices=1000",
               f"hydra.run.dir={tmp_path / 'run'}"])  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_members_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(group, "_cores", lambda: 8)
    with group._environment_of_members(3):
        assert os.environ["OMP_NUM_THREADS"] == "2"
    assert "OMP_NUM_THREADS" not in os.environ


# Groups that were started from outside

WORLD = ("trainer=ddp", "trainer.devices=1", "+trainer.num_nodes=2", "trainer.accelerator=cpu",
         "logger=wandb", "hydra.run.dir=run")  # fmt: skip


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("localhost", 0))
        return int(chosen.getsockname()[1])


def in_two(commands: list[list[str]], environments: list[dict[str, str]], folder: Path) -> None:
    source = {"PYTHONPATH": str(ROOT / "src"), "WANDB_MODE": "offline"}
    processes = [
        start_script(command, folder, {**os.environ, **source, **environment})
        for command, environment in zip(commands, environments, strict=True)
    ]
    for process in processes:
        stdout, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr[-3000:] + stdout


def torchrun(node: int, port: int, *overrides: str) -> list[str]:
    return [
        str(Path(sys.executable).parent / "torchrun"), "--nnodes=2", "--nproc-per-node=1",
        f"--node-rank={node}", "--master-addr=localhost", f"--master-port={port}",
        str(ROOT / "train.py"), *overrides, *SHORT,
    ]  # fmt: skip


@pytest.mark.process
def test_two_nodes_by_torchrun_and_by_slurm_are_the_group_that_train_starts(
    tmp_path: Path, sweeps: dict[str, tuple[Path, int, str]]
) -> None:
    folders = [tmp_path / name for name in ("torchrun", "slurm")]
    for folder in folders:
        folder.mkdir()
    port = free_port()
    in_two([torchrun(node, port, *WORLD) for node in (0, 1)], [{}, {}], folders[0])
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_NNODES": "2", "SLURM_LOCALID": "0",
             "SLURM_NTASKS_PER_NODE": "1", "SLURM_NODELIST": "localhost", "SLURM_JOB_NAME": "vae",
             "MASTER_PORT": str(free_port())}  # fmt: skip
    ranks = [{**slurm, "SLURM_PROCID": str(n), "SLURM_NODEID": str(n)} for n in (0, 1)]
    in_two([[str(ROOT / "train.py"), *WORLD, *SHORT]] * 2, ranks, folders[1])
    own = result(sweeps["mixed"][0] / "0")
    assert own == result(folders[0] / "run") == result(folders[1] / "run")
    for folder in folders:
        assert inspected(folder / "run")["exit_code"] == 0  # one W&B run, of rank 0


@pytest.mark.process
def test_what_a_group_from_outside_must_not_do(
    tmp_path: Path, command: Callable[..., "subprocess.CompletedProcess[str]"],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in (("SLURM_NTASKS", "2"), ("SLURM_PROCID", "0"), ("SLURM_JOB_NAME", "vae")):
        monkeypatch.setenv(name, value)
    alone = command("train.py", *SHORT)
    assert alone.returncode == 1
    assert "need one folder: set hydra.run.dir" in alone.stderr
    swept = command("train.py", "-m", *SHORT, "seed=0,1", f"hydra.sweep.dir={tmp_path / 'sweep'}")
    assert swept.returncode == 1
    assert "a sweep starts its groups itself" in swept.stderr
    assert not (tmp_path / "sweep").exists()
