"""Being told to stop: by a user, a scheduler, or a machine that is needed otherwise."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import ClassVar

from lightning.pytorch import Trainer

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
"""What asks a run to stop: Ctrl-C, and what machines send. SLURM announces the end of a job's time
by a signal of one's choice."""


class Interrupted(SystemExit):
    """Told to stop, with what to say of it. Exit status 130 after Ctrl-C, else 143."""

    def __init__(self, number: int | None, said: str = "Told to stop.") -> None:
        """`number` is the signal's, where it is known."""
        super().__init__(128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM))
        self.number, self.said = number, said


class Interruption:
    """How this process takes signals; it is the class that knows, as there is one process.

    The first raises Interrupted at once or, where training listens, is noted until training asks
    for it where it can stop, all processes at the same step. A Ctrl-C after that ends the process
    as it stands; other signals, which machines repeat, change nothing more.
    """

    number: ClassVar[int | None] = None  # the first signal's
    _is_noted: ClassVar[bool] = False

    @classmethod
    @contextmanager
    def heeded(cls) -> Iterator[None]:
        """Within, signals raise Interrupted where they would have killed; then all is as before."""
        if not _in_main_thread() or signal.getsignal(signal.SIGTERM) == cls._hear:
            yield  # no signal reaches this thread; or they are heeded already
            return
        before = {number: signal.getsignal(number) for number in STOPPING}
        cls.act()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            cls.number, cls._is_noted = None, False

    @classmethod
    def listen(cls) -> None:
        """Note signals from here on, for `check`."""
        cls._take(is_noted=True)

    @classmethod
    def act(cls) -> None:
        """Let signals raise Interrupted from here on."""
        cls._take(is_noted=False)

    @classmethod
    def check(cls, trainer: Trainer) -> bool:
        """Whether any process of the group has been told to stop. A collective call."""
        told = trainer.strategy.reduce_boolean_decision(cls.number is not None, all=False)
        if told and cls.number is None:
            cls.number = signal.SIGTERM
        return told

    @classmethod
    def _take(cls, is_noted: bool) -> None:
        """Lightning puts its own handler in the place of SIGTERM's when a fit or test begins."""
        cls._is_noted = is_noted
        for number in STOPPING if _in_main_thread() else ():
            if signal.getsignal(number) is not signal.SIG_IGN:  # as behind a script's `&`
                signal.signal(number, cls._hear)

    @classmethod
    def _hear(cls, number: int, frame: FrameType | None) -> None:
        if cls.number is None:
            cls.number = number
            if not cls._is_noted:
                raise Interrupted(number)
        elif number == signal.SIGINT:
            show_cursor = b"\x1b[?25h" if os.isatty(2) else b""  # which a progress bar has hidden
            os.write(2, show_cursor + b"\nTold to stop again: ended as it stood.\n")
            os._exit(128 + number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


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
