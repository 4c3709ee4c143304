"""How time grows: a log-log plot for each axis."""

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
import numpy as np

from benchmarks.report import contests
from benchmarks.suite import Benchmark


def draw(benchmark: Benchmark, found: dict[str, Any], path: Path) -> None:
    """Seconds an epoch against what grows, each with the slope of its last two points."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    assert benchmark.axis is not None
    lines: dict[str, list[tuple[float, float]]] = {}
    for contest, measured in contests(found):
        for name, its in measured.items():
            taken = [seconds for one in its if (seconds := benchmark.seconds(one)) is not None]
            if taken:
                at = getattr(contest.case, benchmark.axis)
                lines.setdefault(name, []).append((at, median(taken)))
    figure, axes = pyplot.subplots(figsize=(4.5, 3), dpi=72, layout="constrained")
    for name, points in lines.items():
        x, y = np.array(points).T
        slopes = np.diff(np.log(y)) / np.diff(np.log(x))
        axes.loglog(x, y, "o-", label=name + "".join(f", slope {s:.2f}" for s in slopes[-1:]))
    axes.set(xlabel=benchmark.axis, ylabel="seconds an epoch")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)
