"""How the threads that share an operation wait for each other, on idle and on busy machines.

A thread that spins while it waits goes on at once, which makes small models 1.5 times faster than
one that sleeps. But where other work wants the same CPU, it keeps that from the very thread it is
waiting for, and they become three times slower. libgomp, torch's threads on Linux, hardly spins
while it manages more threads than there are CPUs. So it is given some more, asleep, while this
process is kept waiting for a CPU. No result depends on it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import torch

EVERY = 0.25
"""Seconds between two looks."""

CROWDED = 0.2
"""Seconds a second that threads wait for a CPU: 0.02 on an idle machine, 0.4 beside one process."""


@contextmanager
def patient_threads() -> Iterator[None]:
    """Within, let torch's threads spin while they have the CPUs to themselves, else sleep.

    Where torch runs one thread, or the system does not tell how long threads wait, and where
    OMP_WAIT_POLICY says how they shall, nothing is done.
    """
    told = "OMP_WAIT_POLICY" in os.environ
    if told or torch.get_num_threads() == 1 or seconds_kept_waiting() is None:
        yield
        return
    over = Event()
    watcher = Thread(target=_watch, args=(over,), daemon=True, name="patient threads")
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def seconds_kept_waiting() -> float | None:
    """How long this process's threads were ready to run, and had no CPU; None where unknown."""
    told = []
    for file in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError):  # a thread that has ended
            told.append(int(file.read_text().split()[1]))
    return sum(told) / 1e9 if told else None


def _watch(over: Event) -> None:
    threads = torch.get_num_threads()
    spare: Event | None = None  # set: the spare threads end
    before, then = seconds_kept_waiting(), time.monotonic()
    while not over.wait(EVERY):
        waited, now = seconds_kept_waiting(), time.monotonic()
        share = (waited - before) / (now - then) if waited and before else 0.0
        before, then = waited, now
        if spare is None and share > CROWDED:
            spare = _spare_threads(threads)
        elif spare is not None and share < CROWDED / 2:
            spare.set()
            spare = None
    if spare is not None:
        spare.set()


def _spare_threads(threads: int) -> Event:
    """Have libgomp manage more threads than there are CPUs, until the event is set.

    `threads` are those that it manages already.
    """
    over = Event()

    def hold() -> None:
        torch.ones(threads * 2**15).add_(1)  # so large that it is shared: makes a team of threads
        over.wait()

    missing = len(os.sched_getaffinity(0)) - threads
    for _ in range(missing // (threads - 1) + 1):
        Thread(target=hold, daemon=True, name="spare threads").start()
    return over
