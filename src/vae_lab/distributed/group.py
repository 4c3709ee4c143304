"""A job of several processes: one group, whose members each run the same resolved job.

Lightning's own launcher starts children with the parent's raw arguments; under a Hydra multirun
each would run the whole sweep. So the parent writes the job's configuration into its run folder,
an elastic agent within it starts `vae_lab.commands.worker` on that folder, and Lightning finds
itself inside a group.
"""

import ctypes
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.environments import (  # type: ignore[attr-defined]
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import distributed
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from vae_lab.distributed.signals import Interrupted
from vae_lab.errors import InputError


def is_member() -> bool:
    """Whether this process is one of a group that torchrun or SLURM has started.

    A single SLURM task is none: it may start a group.
    """
    if TorchElasticEnvironment.detect():
        return True
    return SLURMEnvironment.detect() and int(os.environ["SLURM_NTASKS"]) > 1


def rank() -> int:
    """This process's rank in its group; 0 for a process alone."""
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0"))) if is_member() else 0


def launch(folder: Path, num_processes: int, quiet: bool = False) -> None:
    """Run the job whose config.yaml lies in `folder` in that many processes of this machine.

    Where `quiet`, the first member says no more than the others. A member that fails ends the
    group, and no member outlives this process.

    Raises:
        InputError: With what the first member to fail has said.
        Interrupted: Where this process is told to stop, and the agent has told the members; or
            where one of them was, and they have stopped together.
    """
    logs = folder / "stderr"  # a file for each member; gone where all goes well
    shutil.rmtree(logs, ignore_errors=True)
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=num_processes, max_restarts=0, run_id="group",
        rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        signals_to_handle="",  # none: Interrupted is raised, and the agent leaves none behind
        shutdown_timeout=600,  # seconds to save in, after the validation at hand
        logs_specs=DefaultLogsSpecs(str(logs), redirects=Std.ERR),
    )  # fmt: skip
    command = ("-m", "vae_lab.commands.worker", str(folder), str(os.getpid()), *["quiet"] * quiet)
    try:
        with _environment_of_members(num_processes):
            elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as error:
        # One that leaves because it was told may leave another at a closed connection.
        if any(failure.exitcode in _TOLD for failure in error.failures.values()):
            shutil.rmtree(logs)
            raise Interrupted(signal.SIGTERM) from None
        raise InputError(f"{_first_reason(error, folder)} (the whole story: {logs})") from error
    except Interrupted:
        shutil.rmtree(logs, ignore_errors=True)  # nothing may be there yet
        raise
    shutil.rmtree(logs)


def leave() -> None:
    """End the group where all have come to the end; a rank that just exits may abort the job."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def die_with_parent(parent: int) -> None:
    """Let Linux kill this process when `parent` dies, so that no group trains on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:  # it has died before
            sys.exit(1)


def check_room(num_processes: int) -> None:
    """Raise InputError for more processes than this machine has CPU cores; two are always in order.

    Lightning itself counts GPUs.
    """
    room = max(_cores(), 2)
    if num_processes > room:
        raise InputError(
            f"trainer.devices={num_processes} asks for more processes than there is room for: say "
            f"trainer.devices={room} or fewer here ({_cores()} CPU cores)."
        )


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def _environment_of_members(num_processes: int) -> Iterator[None]:
    """Within, the environment is that of the members, and torch's own log is off."""
    environment = dict(os.environ)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _cores() // num_processes)))
    os.environ.pop("WANDB_SERVICE", None)  # an earlier job's, which may be gone
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        os.environ.clear()
        os.environ.update(environment)


_TOLD = (128 + signal.SIGINT, 128 + signal.SIGTERM)
"""How a member ends that was told to stop."""


def _first_reason(error: ChildFailedError, folder: Path) -> str:
    """Why the first member to fail has failed; torch's own order knows whole seconds alone."""
    found = []
    for member, failure in error.failures.items():
        if Path(failure.error_file).is_file():
            said = failure.message["message"].removeprefix("InputError: ")  # type: ignore[index]
            at = Path(failure.error_file).stat().st_mtime
            found.append((at, f"rank {member}: {' '.join(said.split())}"))
        elif failure.exitcode < 0:
            hint = " (out of memory?)" if failure.exitcode == -signal.SIGKILL else ""
            by = f"rank {member} was killed by {failure.signal_name()}{hint}"
            # The others fail at once of a closed connection, before this one is noticed. The agent
            # itself ends the others by SIGTERM, and by SIGKILL half a minute later.
            noticed = failure.timestamp + (1 if failure.exitcode == -signal.SIGTERM else -20)
            found.append((noticed, f"{by}. To go on: python train.py resume={folder}"))
    return min(found)[1] if found else "a process of the group died"


def from_every_rank(own: dict[str, Any]) -> list[dict[str, Any]]:
    """What each process has, by rank; `own` alone where there is one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    every = [own] * distributed.get_world_size()
    distributed.all_gather_object(every, own)
    return every
