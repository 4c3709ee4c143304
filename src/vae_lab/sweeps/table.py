"""The table over a sweep: configuration differences against metrics, mean +- sd over seeds."""

import csv
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from vae_lab.config.allowed import locate
from vae_lab.config.build import instance
from vae_lab.errors import InputError
from vae_lab.evaluation.measure import Measure
from vae_lab.loggers import WandB, log_image
from vae_lab.storage.run_folder import RunFolder, runs_below

METRICS = (
    "best", "test/elbo", "test/rate", "test/distortion", "test/bits_per_dim", "test/active_units",
)  # fmt: skip
"""The columns: `best` is the monitored validation metric that selected the checkpoint."""

PRINTED = ("best", "test/elbo", "test/bits_per_dim", "test/active_units")


@dataclass
class Row:
    """The jobs that differ in their seed alone."""

    choices: dict[str, str]
    measure: Measure | None  # what its metrics are comparable with; None of jobs that failed
    values: dict[str, list[float]] = field(default_factory=dict)  # by metric, one a seed
    failed: int = 0
    is_best: bool = False

    @property
    def seeds(self) -> int:
        """How many jobs have come to their end."""
        return max((len(values) for values in self.values.values()), default=0)

    def mean(self, metric: str) -> float | None:
        """Over the seeds; None where no job has it."""
        return statistics.fmean(self.values[metric]) if metric in self.values else None

    def sd(self, metric: str) -> float | None:
        """The standard deviation over the seeds (n - 1); None of fewer than two."""
        values = self.values.get(metric, [])
        return statistics.stdev(values) if len(values) > 1 else None


def rows(sweep: Path) -> list[Row]:
    """One row per configuration, those of one measure together, the best of each marked."""
    jobs = [(_overrides(folder), folder.result()) for folder in _jobs(sweep)]
    keys = dict.fromkeys(key for overrides, _ in jobs for key in overrides if key != "seed")
    varied = [key for key in keys if len({overrides.get(key) for overrides, _ in jobs}) > 1]
    found: dict[tuple[Any, ...], Row] = {}
    for overrides, result in jobs:
        choices = {key: overrides.get(key, "") for key in varied}
        measure = Measure(**result["measure"]) if result is not None else None
        row = found.setdefault((*choices.values(), measure), Row(choices, measure))
        if result is None:
            row.failed += 1
            continue
        metrics = {"best": result["best"], **result["metrics"]}
        for name in METRICS:
            if metrics.get(name) is not None:
                row.values.setdefault(name, []).append(metrics[name])
    table = sorted(found.values(), key=lambda row: _title(row.measure))
    for ranked in _by_measure([row for row in table if "best" in row.values]).values():
        if len(ranked) > 1:
            max(ranked, key=lambda row: statistics.fmean(row.values["best"])).is_best = True
    return table


def _jobs(sweep: Path) -> list[RunFolder]:
    """The folders of all jobs, also of those that failed before their run began."""
    failed = [RunFolder(path.parent) for path in sorted(sweep.rglob("failed.json"))]
    return runs_below(sweep) + [folder for folder in failed if folder.config() is None]


def _overrides(folder: RunFolder) -> dict[str, str]:
    return (folder.config() or folder.failure() or {})["overrides"]


def _by_measure(table: list[Row]) -> dict[Measure | None, list[Row]]:
    groups: dict[Measure | None, list[Row]] = {}
    for row in table:
        groups.setdefault(row.measure, []).append(row)
    return groups


def _title(measure: Measure | None) -> str:
    return "" if measure is None else str(measure)


def write_table(sweep: Path, console: Console) -> int:
    """Write table.csv and table.png into the sweep's folder, print them, and log them to W&B.

    Returns how many jobs have failed or not finished.
    """
    table = rows(sweep)
    if not table:
        return 0
    header, lines = _cells(table)
    with (sweep / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    plot(table).savefig(sweep / "table.png", dpi=120)
    _print(table, console)
    console.print(f"Sweep folder: {sweep}", highlight=False, markup=False, soft_wrap=True)
    _log(sweep, header, lines)
    return sum(row.failed for row in table)


def _cells(table: list[Row]) -> tuple[list[str], list[list[Any]]]:
    pairs = [text for name in METRICS for text in (name, f"{name} sd")]
    header = [*table[0].choices, "measure", "seeds", "failed", *pairs, "is_best"]
    lines = [
        [
            *row.choices.values(), _title(row.measure), row.seeds, row.failed,
            *(value for name in METRICS for value in (row.mean(name), row.sd(name))), row.is_best,
        ]
        for row in table
    ]  # fmt: skip
    return header, lines


def _print(table: list[Row], console: Console) -> None:
    for measure, group in _by_measure(table).items():
        shown = [name for name in PRINTED if any(name in row.values for row in group)]
        grid = Table(title=_title(measure) or "failed", title_justify="left")
        for name in [*group[0].choices, "seeds"]:
            grid.add_column(name)
        for name in shown:
            grid.add_column(name, justify="right")
        for row in group:
            failed = f" ({row.failed} failed)" if row.failed else ""
            cells = [_shown(row, name) for name in shown]
            best = "bold" if row.is_best else None
            grid.add_row(*row.choices.values(), f"{row.seeds}{failed}", *cells, style=best)
        console.print(grid)


def _shown(row: Row, name: str) -> str:
    mean, sd, digits = row.mean(name), row.sd(name), 3 if name.endswith("bits_per_dim") else 2
    if mean is None:
        return ""
    star = " *" if row.is_best and name == "best" else ""
    return f"{mean:.{digits}f}" + ("" if sd is None else f" +- {sd:.{digits}f}") + star


def plot(table: list[Row]) -> Figure:
    """One panel per measure: each seed's best monitored metric, and their mean."""
    groups = [(measure, group) for measure, group in _by_measure(table).items() if measure]
    figure = Figure(figsize=(7, 1.2 + 0.5 * len(table) + 0.6 * len(groups)), layout="constrained")
    panels = figure.subplots(max(len(groups), 1), 1, squeeze=False)[:, 0]
    for panel, (measure, group) in zip(panels, groups, strict=False):
        ranked = [row for row in group if "best" in row.values]
        for at, row in enumerate(ranked):
            values = row.values["best"]
            panel.plot(values, [at] * len(values), "o", color="tab:blue", alpha=0.5)
            panel.plot([statistics.fmean(values)], [at], "|", color="black", markersize=18)
        names = [", ".join(row.choices.values()) or "all" for row in ranked]
        panel.set_yticks(range(len(ranked)), names)
        panel.set_ylim(len(ranked) - 0.5, -0.5)
        panel.set_title(str(measure), fontsize="small", loc="left")
        panel.set_xlabel("best validation ELBO, nats: each seed, and the mean")
        panel.grid(axis="x", alpha=0.3)
    return figure


def _log(sweep: Path, header: list[str], lines: list[list[Any]]) -> None:
    """Log to W&B, as one more run of the sweep's group, where its jobs are logged there."""
    folders = runs_below(sweep)
    config = folders[0].config() if folders else None
    if config is None or not config["logger"]:
        return
    if locate(config["logger"]["_target_"]) is not WandB:
        return
    settings = {"save_dir": str(sweep), "name": f"{config['group']}: table", "id": None}
    node = OmegaConf.create({**config["logger"], **settings, "tags": ["table"]})
    logger = instance(node, "logger")
    assert isinstance(logger, WandB)
    logger.log_table("sweep/table", columns=header, data=lines)
    log_image(logger, "media/sweep", sweep / "table.png", 0)
    logger.finish()


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit(InputError("say python -m vae_lab.sweeps.table <sweep folder>.").args[0])
    write_table(Path(sys.argv[1]).resolve(), Console())
