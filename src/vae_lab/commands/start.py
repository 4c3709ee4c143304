"""The first moments of a command, before torch is imported, which takes seconds."""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType


def start(command: str) -> None:
    """Run a command that Hydra composes, prepared as `begin` says."""
    begin()
    if {"-h", "--help"} & {*sys.argv[1:]}:
        import_module("vae_lab.commands.help").show(command)
    with importing():
        task = getattr(import_module(f"vae_lab.commands.{command}"), f"{command}_task")
        main = import_module("vae_lab.commands.cli").main
    main(task, command)


def begin() -> None:
    """Say how threads wait, and let Ctrl-C, SIGTERM or SIGUSR1 end this process in one line."""
    if "OMP_WAIT_POLICY" not in os.environ:
        # Threads that wait shall spin for microseconds, then sleep: those that never sleep make
        # small models many times slower on a busy machine. Read as torch is imported.
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as behind `nohup`, or a script's `&`
            signal.signal(number, _end)


@contextmanager
def importing() -> Iterator[None]:
    """Import what a process keeps to its end, and look for no garbage there, then or later.

    Python's collector would walk through all of half a million objects again and again, which is a
    fifth of the time that importing torch and Lightning takes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
        atexit.register(gc.unfreeze)  # or libraries in C++ complain of leaks at the very end


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\nTold to stop.\n")
    os._exit(128 + (signal.SIGINT if number == signal.SIGINT else signal.SIGTERM))
