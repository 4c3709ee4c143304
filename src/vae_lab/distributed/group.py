"""A job of several processes: one torchrun, whose members each run the same resolved job.

Lightning's own launcher starts children with the parent's raw arguments; under a Hydra multirun
each would run the whole sweep. So the parent writes the job's configuration into its run folder,
torchrun starts `vae_lab.commands.worker` on that folder, and Lightning finds itself inside a group.
"""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

from lightning.pytorch.plugins.environments import (  # type: ignore[attr-defined]
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import distributed

from vae_lab.distributed.signals import Interrupted, handed_on
from vae_lab.errors import InputError

_OF_A_GROUP = (
    "RANK", "WORLD_SIZE", "MASTER_", "LOCAL_", "GROUP_", "ROLE_", "TORCHELASTIC_", "PL_",
    "WANDB_SERVICE",
)  # fmt: skip
"""How the environment variables begin that one job must not leave to the next."""


def is_member() -> bool:
    """Whether this process is one of a group that torchrun or SLURM has started.

    A single SLURM task is none: there, torchrun may start a group.
    """
    if TorchElasticEnvironment.detect():
        return True
    return SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) > 1


def rank() -> int:
    """This process's rank in its group; 0 for a process alone."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) if is_member() else 0


def launch(folder: Path, num_processes: int) -> None:
    """Run the job whose config.yaml lies in `folder` in that many processes of this machine.

    A member that fails ends the group, and no member outlives this process. Raises InputError with
    what it said, whose whole story stands in stderr.log, and Interrupted where told to stop.
    """
    log, told = folder / "stderr.log", folder / "error.txt"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OF_A_GROUP)}
    source = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone",
        f"--nproc-per-node={num_processes}", "-m", "vae_lab.commands.worker", str(folder),
    ]  # fmt: skip
    told.unlink(missing_ok=True)
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command, env={**kept, "PYTHONPATH": path}, stderr=stderr, preexec_fn=die_with_parent
        )
        with handed_on(process) as noted:
            status = process.wait()
    if status == 0 and (folder / "result.json").is_file():
        log.unlink()
        return
    if noted.number is not None:
        raise Interrupted(noted.number)
    reason = told.read_text().strip() if told.is_file() else "a process of the group died"
    raise InputError(f"{reason} (the whole story: {log})")


def leave() -> None:
    """End the group where all have come to the end; a rank that just exits may abort the job."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def die_with_parent() -> None:
    """Let Linux kill this process when its parent dies, so that no group trains on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
