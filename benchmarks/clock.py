"""What a contestant notes of itself: every one is timed by this, from inside."""

import json
import re
import time
from pathlib import Path

import torch


def _now() -> float:
    """Seconds, by a clock that all processes share; whatever was asked of a GPU has been done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.monotonic()


class Clock:
    """An epoch lasts from before its first batch is fetched until its last step is taken.

    Validation, checkpoints and figures are apart.
    """

    def __init__(self) -> None:
        self.first_step: float | None = None  # when it was over
        self.seconds: list[float] = []  # of each epoch
        self._began = 0.0

    def begin_epoch(self) -> None:
        """Before the first batch is fetched."""
        self._began = _now()

    def step(self) -> None:
        """After every step."""
        if self.first_step is None:
            self.first_step = _now()

    def end_epoch(self) -> None:
        """After the last step."""
        self.seconds.append(_now() - self._began)

    def write(self, out: Path, loss: float) -> None:
        """Leave all for the parent; `loss` is the last epoch's mean, in nats per image."""
        found = {"seconds": self.seconds, "first_step": self.first_step, "loss": loss}
        out.write_text(json.dumps(found | {"peak_mib": _peak_mib()}))


def _peak_mib() -> float:
    """This process's largest resident set; what `wait4` tells has its parent's in it."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(r"VmHWM:\s*(\d+) kB", status)[0]) / 1024
