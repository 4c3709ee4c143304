"""Any runs as rows: those that differ in their seed alone are one, ranked within a measure."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vae_lab.evaluation.measure import Measure
from vae_lab.sweeps.differences import columns
from vae_lab.sweeps.runs import EVALUATED, Job, Result

METRICS = (
    "best", "test/elbo", "test/rate", "test/distortion", "test/bits_per_dim", "test/active_units",
)  # fmt: skip
"""What is told of a run: `best` is the monitored validation metric that selected the checkpoint.

Beside them stand the estimates of its evaluation, where all runs have one.
"""


@dataclass
class Row:
    """The runs that differ in their seed alone; those without a result have a row of their own."""

    choices: dict[str, Any]  # by dotted path
    example: Result | None
    by_seed: dict[str, Result] = field(default_factory=dict)
    repeated: int = 0  # runs that another of the same seed, later, stands for
    failed: int = 0
    unfinished: int = 0
    is_best: bool = False

    @property
    def measure(self) -> Measure | None:
        """What its metrics are comparable with; None of jobs without a result."""
        return None if self.example is None else self.example.measure

    @property
    def seeds(self) -> int:
        """How many distinct seeds have come to their end."""
        return len(self.by_seed)

    @property
    def values(self) -> dict[str, list[float]]:
        """By metric, one a seed that has it."""
        told = [{"best": r.best, **r.metrics} for _, r in sorted(self.by_seed.items())]
        names = dict.fromkeys([*METRICS, *(n for t in told for n in t if n.startswith(EVALUATED))])
        found = {n: [v for t in told if (v := t.get(n)) is not None] for n in names}
        return {name: values for name, values in found.items() if values}

    def mean(self, metric: str) -> float | None:
        """Over the seeds; None where no run has it."""
        return statistics.fmean(self.values[metric]) if metric in self.values else None

    def sd(self, metric: str) -> float | None:
        """The standard deviation over the seeds (n - 1); None of fewer than two."""
        values = self.values.get(metric, [])
        return statistics.stdev(values) if len(values) > 1 else None


def metrics(table: Sequence[Row]) -> list[str]:
    """The names of all that is told of some row, in the order of their columns."""
    return list(dict.fromkeys([*METRICS, *(name for row in table for name in row.values)]))


def rows(found: Sequence[Job]) -> list[Row]:
    """One row per configuration, the best first within each measure, and marked.

    Those of one `Measure` lie together, and in it those whose `best` may be ranked.
    """
    differ = columns(found)
    table: dict[tuple[Any, ...], Row] = {}
    for at, job in enumerate(found):
        choices = {path: values.get(at, "") for path, values in differ.items()}
        comparable = None if job.result is None else job.result.ranked_with
        row = table.setdefault((*choices.values(), comparable), Row(choices, job.result))
        if job.result is not None:
            row.repeated += job.seed in row.by_seed
            row.by_seed[job.seed] = job.result
        elif job.problem:
            row.failed += 1
        else:
            row.unfinished += 1
    told = []
    for block in blocks(list(table.values())):
        told += sorted(block, key=_best, reverse=True)
        ranked = [row for row in block if row.example and "best" in row.values]
        if len(ranked) > 1:
            max(ranked, key=_best).is_best = True
    return told


def blocks(table: Sequence[Row]) -> list[list[Row]]:
    """The rows whose `best` may be ranked together; at the end those without a result."""
    found: dict[Any, list[Row]] = {}
    for row in table:
        key = ("",) if row.example is None else tuple(map(str, row.example.ranked_with))
        found.setdefault(key, []).append(row)
    return [found[key] for key in sorted(found, key=lambda key: (key == ("",), key))]


def _best(row: Row) -> float:
    best = row.mean("best")
    return float("-inf") if best is None or best != best else best
