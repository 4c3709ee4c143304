"""Who takes part: one file each, and the table of them."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from benchmarks.case import Case
from benchmarks.contestants.ours import start_command, train_command

Command = Callable[[Case, Path], list[str]]
"""What to run for a case; the path is of the file in which its clock is left."""


def _child(function: str) -> Command:
    """A process that calls a function of this package, such as "bare.train"."""

    def command(case: Case, out: Path) -> list[str]:
        return [sys.executable, "-m", "benchmarks.child", function, case.dumps(), str(out)]

    return command


def _imports(case: Case, out: Path) -> list[str]:
    return [sys.executable, "-c", "import torch, lightning"]


@dataclass(frozen=True)
class Contestant:
    """One way to do a case."""

    says: str  # what it is, for people
    command: Command
    needs: str | None = None  # a package without which it stays away

    @property
    def is_here(self) -> bool:
        """Whether what it needs is installed."""
        return self.needs is None or find_spec(self.needs) is not None


CONTESTANTS = {
    "ours": Contestant("`python train.py ... logger=csv`", train_command),
    "tutorial": Contestant(
        "torchvision, `ToTensor`, `DataLoader`, Adam, fp32: as tutorials", _child("tutorial.train")
    ),
    "bare": Contestant("a loop over images on the device, Adam", _child("bare.train")),
    "bare, fused": Contestant(
        "the same, Adam fused, convolutions channels-last", _child("bare.train_fused")
    ),
    "bare, at full speed": Contestant(
        "the same within `vae_lab.cpu.at_full_speed`", _child("bare.train_at_full_speed")
    ),
    "pythae": Contestant("pythae 0.1.2, `BaseTrainer`", _child("pythae_.train"), "pythae"),
    "ours, starting": Contestant("`python train.py data=digits logger=csv`", start_command),
    "imports": Contestant("`python -c 'import torch, lightning'`", _imports),
    "ours, scoring": Contestant("`load(RUN).log_prob(x, K)`", _child("ours.score")),
    "bare, scoring": Contestant("encode once, decode K draws, logsumexp", _child("bare.score")),
    "pythae, scoring": Contestant("pythae 0.1.2, `get_nll`", _child("pythae_.score"), "pythae"),
}
