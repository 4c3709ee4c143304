"""One contestant at work: `python -m benchmarks.child bare.train CASE OUT`."""

import json
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.case import Case
from benchmarks.clock import Clock


def main(function: str, case: str, out: str) -> None:
    """Call a contestant's function with the case and a clock, and leave what that noted."""
    module, _, name = function.partition(".")
    clock = Clock()
    loss = getattr(import_module(f"benchmarks.contestants.{module}"), name)(
        Case(**json.loads(case)), clock
    )
    clock.write(Path(out), loss)


if __name__ == "__main__":
    main(*sys.argv[1:])
