"""Being told to stop: by a user, a scheduler, or a machine that is needed otherwise."""

import os
import signal
import subprocess
import threading
from contextlib import suppress
from types import FrameType

from lightning.pytorch import Trainer

STOPPING = (signal.SIGTERM, signal.SIGUSR1)
"""What asks a run to stop. SLURM announces the end of a job's time by a signal of one's choice."""


class Interrupted(SystemExit):
    """The run was told to stop, and has saved what it needs to go on. Exit status 143."""

    def __init__(self, number: int | None) -> None:
        """`number` is the signal's, where this very process received it."""
        super().__init__(128 + signal.SIGTERM)
        self.number = number


class Interruption:
    """Notes a signal; training asks for it where it can stop, all processes at the same step."""

    def __init__(self) -> None:
        self.number: int | None = None

    def listen(self) -> None:
        """Note signals instead of dying of them; Lightning ends that when a fit ends."""
        if threading.current_thread() is threading.main_thread():
            for number in STOPPING:
                signal.signal(number, self._note)

    def check(self, trainer: Trainer) -> bool:
        """Whether any process of the group has been told to stop. A collective call."""
        return trainer.strategy.reduce_boolean_decision(self.number is not None, all=False)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number


def requeue() -> bool:
    """Ask SLURM to start this job again, where it is one; whether it agreed."""
    job = os.environ.get("SLURM_JOB_ID")
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    if job is None:
        return False
    with suppress(OSError):
        return subprocess.run(["scontrol", "requeue", job]).returncode == 0
    return False
