"""Processes, one after another, and what they cost."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import TypeVar

from benchmarks.case import ROOT, Case, data_root
from benchmarks.contestants import CONTESTANTS

Each = TypeVar("Each")
_THREADS = ("OMP_", "GOMP_", "KMP_", "MKL_")
"""Variables that say how threads work: the caller's are taken out, or they would be measured."""


@dataclass(frozen=True)
class Entrant:
    """A contestant as it enters a contest, with the variables of its environment."""

    contestant: str  # of CONTESTANTS
    env: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """As tables have it."""
        return " ".join([self.contestant, *(f"{key}={value}" for key, value in self.env)])


@dataclass(frozen=True)
class Measured:
    """One process, once. Seconds are of the clock on the wall, None where it did not get there."""

    entrant: str
    round: int
    load: float  # of the machine, over the minute before
    others: float  # processors that others kept busy meanwhile, on average
    wall: float  # from the command to its end
    to_first_step: float | None = None  # from the command until the first step was taken
    epochs: tuple[float, ...] = ()  # seconds of each
    loss: float | None = None  # nats per image, mean over the last epoch
    peak_mib: float | None = None  # its largest resident set
    failed: str | None = None  # why


def in_turn(entrants: Sequence[Each], rounds: int) -> Iterator[tuple[int, Each]]:
    """Everyone once a round, each round beginning with another: whatever drifts meets all alike.

    >>> [who for _, who in in_turn("abc", 2)]
    ['a', 'b', 'c', 'b', 'c', 'a']
    """
    for number in range(rounds):
        first = number % len(entrants)
        yield from ((number, who) for who in (*entrants[first:], *entrants[:first]))


@contextmanager
def busy_process() -> Iterator[None]:
    """One other process that never rests."""
    spins = "import os\nme = os.getppid()\nwhile os.getppid() == me: sum(range(10**5))"
    spinning = subprocess.Popen([sys.executable, "-c", spins])  # it ends when this process does
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()


def measure(entrant: Entrant, case: Case, number: int, limit: float) -> Measured:
    """Let an entrant do a case in a process of its own.

    Args:
        entrant: Who.
        case: What.
        number: Of the round, which is the seed as well.
        limit: Seconds after which the process is killed.
    """
    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        out, said = Path(folder, "clock.json"), Path(folder, "said.txt")
        command = CONTESTANTS[entrant.contestant].command(case.in_round(number), out)
        with said.open("w") as file:
            began, busy = time.monotonic(), _busy_seconds()
            process = subprocess.Popen(
                command, cwd=ROOT, env=_environment(entrant.env), stdout=file, stderr=file
            )
            killing = Timer(limit, process.kill)
            killing.start()
            try:
                _, status, used = os.wait4(process.pid, 0)
            finally:
                killing.cancel()
            wall = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
        others = (_busy_seconds() - busy - used.ru_utime - used.ru_stime) / wall
        figures = (load, max(others, 0.0), wall)
        if process.returncode != 0:
            last = (said.read_text().strip() or "no word").splitlines()[-1]
            why = f"more than {limit:g} s" if process.returncode == -9 else last
            return Measured(entrant.name, number, *figures, failed=why)
        clock = json.loads(out.read_text()) if out.exists() else {}
    first = clock.get("first_step")
    return Measured(
        entrant.name,
        number,
        *figures,
        to_first_step=first and first - began,
        epochs=tuple(clock.get("seconds", ())),
        loss=clock.get("loss"),
        peak_mib=clock.get("peak_mib"),
    )


def _environment(own: Sequence[tuple[str, str]]) -> Mapping[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(_THREADS)}
    path = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "src"), kept.get("PYTHONPATH")]))
    said = {"VAE_LAB_TRUST": "benchmarks", "VAE_LAB_DATA": str(data_root()), "PYTHONPATH": path}
    return {**kept, **said, **dict(own)}


def _busy_seconds() -> float:
    """Of all processors together since the machine started."""
    user, nice, system, *_ = Path("/proc/stat").read_text().split()[1:8]
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")
