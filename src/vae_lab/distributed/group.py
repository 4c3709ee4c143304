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
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning.pytorch.plugins.environments import (  # type: ignore[attr-defined]
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from torch import distributed
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from vae_lab.distributed.signals import STOPPING, Interrupted
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


def launch(folder: Path, num_processes: int) -> None:
    """Run the job whose config.yaml lies in `folder` in that many processes of this machine.

    A member that fails ends the group, and no member outlives this process.

    Raises:
        InputError: With what the first member to fail has said.
        Interrupted: Where this process is told to stop; the members were told as well.
    """
    logs = folder / "stderr"  # a file for each member; gone where all goes well
    shutil.rmtree(logs, ignore_errors=True)
    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=num_processes, max_restarts=0, run_id="group",
        rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        signals_to_handle=",".join(number.name for number in STOPPING),
        logs_specs=DefaultLogsSpecs(str(logs), redirects=Std.ERR),
    )  # fmt: skip
    try:
        with _restored():
            elastic_launch(config, sys.executable)("-m", "vae_lab.commands.worker", str(folder))
    except SignalException as told:
        raise Interrupted(told.sigval) from told
    except ChildFailedError as error:
        raise InputError(f"{_first_reason(error)} (the whole story: {logs})") from error
    shutil.rmtree(logs)


def leave() -> None:
    """End the group where all have come to the end; a rank that just exits may abort the job."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def die_with_parent() -> None:
    """Let Linux kill this process when its parent dies, so that no group trains on unseen."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextmanager
def _restored() -> Iterator[None]:
    """Restore what an agent changes of this process, in which a multirun goes on.

    Within, the environment is that of the members, and torch's own log is off.
    """
    environment = dict(os.environ)
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in STOPPING if in_main}
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    os.environ.pop("WANDB_SERVICE", None)  # an earlier job's, which may be gone
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.environ.clear()
        os.environ.update(environment)


def _first_reason(error: ChildFailedError) -> str:
    """What the first member to fail has recorded; torch's own order knows whole seconds alone."""
    recorded = [
        (Path(failure.error_file).stat().st_mtime_ns, member, failure.message)
        for member, failure in error.failures.items()
        if Path(failure.error_file).is_file()
    ]
    if not recorded:
        return "a process of the group died"
    _, member, message = min(recorded)
    said = message["message"].removeprefix("InputError: ")  # type: ignore[index]
    return f"rank {member}: {' '.join(said.split())}"
