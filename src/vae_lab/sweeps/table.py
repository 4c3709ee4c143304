"""The table over a sweep: configuration differences against figures, mean +- sd over seeds."""

import csv
import json
import statistics
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from vae_lab.config.allowed import locate
from vae_lab.config.build import instance
from vae_lab.errors import InputError
from vae_lab.loggers import WandB, log_image
from vae_lab.storage.run_folder import result, run_folders, stored_config

FIGURES = (
    "best", "test/elbo", "test/rate", "test/distortion", "test/bits_per_dim", "test/active_units",
)  # fmt: skip
"""The columns: `best` is the monitored validation figure that selected the checkpoint."""

PRINTED = ("best", "test/elbo", "test/bits_per_dim", "test/active_units")


@dataclass
class Row:
    """The jobs that differ in their seed alone."""

    choices: dict[str, str]
    measure: str  # what makes its figures comparable with others'
    values: dict[str, list[float]] = field(default_factory=dict)  # by figure, one a seed
    failed: int = 0
    is_best: bool = False

    def mean(self, figure: str) -> float:
        """Over the seeds."""
        return statistics.fmean(self.values[figure])

    def sd(self, figure: str) -> float | None:
        """The standard deviation over the seeds (n - 1); None of a single one."""
        values = self.values[figure]
        return statistics.stdev(values) if len(values) > 1 else None


def rows(sweep: Path) -> list[Row]:
    """One row per configuration, those of one measure together, the best of each marked."""
    jobs = [_job(folder) for folder in run_folders(sweep)]
    jobs += [
        json.loads(path.read_text())
        for path in sorted(sweep.rglob("failed.json"))
        if not (path.parent / "config.yaml").is_file()
    ]
    values = defaultdict(set)
    for job in jobs:
        for key, value in job["overrides"].items():
            values[key].add(value)
    varied = [
        key
        for key in values
        if key != "seed" and (len(values[key]) > 1 or any(key not in j["overrides"] for j in jobs))
    ]
    found: dict[tuple[str, ...], Row] = {}
    for job in jobs:
        choices = {key: job["overrides"].get(key, "") for key in varied}
        measure = job.get("measure", "")
        row = found.setdefault((*choices.values(), measure), Row(choices, measure))
        if "metrics" not in job:
            row.failed += 1
            continue
        figures = {"best": job["best"], **job["metrics"]}
        for name in FIGURES:
            if figures.get(name) is not None:
                row.values.setdefault(name, []).append(figures[name])
    ordered = sorted(found.values(), key=lambda row: row.measure)
    for measure in {row.measure for row in ordered if row.measure}:
        ranked = [row for row in ordered if row.measure == measure and "best" in row.values]
        if len(ranked) > 1:
            max(ranked, key=lambda row: row.mean("best")).is_best = True
    return ordered


def _job(folder: Path) -> dict[str, Any]:
    cfg, found = stored_config(folder), result(folder)
    job: dict[str, Any] = {"overrides": dict(cfg.overrides) if cfg is not None else {}}
    if found is not None:
        job |= found
        job["measure"] = ", ".join(f"{value}" for value in job["measure"].values())
    return job


def write_table(sweep: Path, console: Console) -> int:
    """Write table.csv and table.png into the sweep's folder, print them, and log them to W&B.

    How many jobs have failed or not finished.
    """
    table = rows(sweep)
    if not table:
        return 0
    header, lines = _cells(table)
    with (sweep / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *lines])
    figure = plot(table)
    FigureCanvasAgg(figure).figure.savefig(sweep / "table.png", dpi=120)
    _print(table, console)
    console.print(f"Sweep folder: {sweep}", highlight=False, markup=False, soft_wrap=True)
    _log(sweep, header, lines)
    return sum(row.failed for row in table)


def _cells(table: list[Row]) -> tuple[list[str], list[list[Any]]]:
    header = [*table[0].choices, "measure", "seeds", "failed"]
    for name in FIGURES:
        header += [name, f"{name} sd"]
    header.append("is_best")
    lines = []
    for row in table:
        seeds = max((len(values) for values in row.values.values()), default=0)
        line: list[Any] = [*row.choices.values(), row.measure, seeds, row.failed]
        for name in FIGURES:
            known = name in row.values
            line += [row.mean(name) if known else None, row.sd(name) if known else None]
        lines.append([*line, row.is_best])
    return header, lines


def _print(table: list[Row], console: Console) -> None:
    for measure in dict.fromkeys(row.measure for row in table):
        group = [row for row in table if row.measure == measure]
        shown = [name for name in PRINTED if any(name in row.values for row in group)]
        grid = Table(title=measure or "failed", title_justify="left")
        for name in [*group[0].choices, "seeds"]:
            grid.add_column(name)
        for name in shown:
            grid.add_column(name, justify="right")
        for row in group:
            seeds = max((len(values) for values in row.values.values()), default=0)
            failed = f" ({row.failed} failed)" if row.failed else ""
            cells = [_shown(row, name) for name in shown]
            best = "bold" if row.is_best else None
            grid.add_row(*row.choices.values(), f"{seeds}{failed}", *cells, style=best)
        console.print(grid)


def _shown(row: Row, name: str) -> str:
    if name not in row.values:
        return ""
    sd, digits = row.sd(name), 3 if name.endswith("bits_per_dim") else 2
    star = " *" if row.is_best and name == "best" else ""
    return f"{row.mean(name):.{digits}f}" + ("" if sd is None else f" +- {sd:.{digits}f}") + star


def plot(table: list[Row]) -> Figure:
    """One panel per measure: each seed's best monitored figure, and their mean."""
    measures = [m for m in dict.fromkeys(row.measure for row in table) if m]
    figure = Figure(figsize=(7, 1.2 + 0.5 * len(table) + 0.6 * len(measures)), layout="constrained")
    panels = figure.subplots(max(len(measures), 1), 1, squeeze=False)[:, 0]
    for panel, measure in zip(panels, measures, strict=False):
        group = [row for row in table if row.measure == measure and "best" in row.values]
        for at, row in enumerate(group):
            values = row.values["best"]
            panel.plot(values, [at] * len(values), "o", color="tab:blue", alpha=0.5)
            panel.plot([row.mean("best")], [at], "|", color="black", markersize=18)
        names = [", ".join(row.choices.values()) or "all" for row in group]
        panel.set_yticks(range(len(group)), names)
        panel.set_ylim(len(group) - 0.5, -0.5)
        panel.set_title(measure, fontsize="small", loc="left")
        panel.set_xlabel("best validation ELBO, nats: each seed, and the mean")
        panel.grid(axis="x", alpha=0.3)
    return figure


def _log(sweep: Path, header: list[str], lines: list[list[Any]]) -> None:
    """To W&B, as one more run of the sweep's group, where its jobs are logged there."""
    folders = run_folders(sweep)
    cfg = stored_config(folders[0]) if folders else None
    if cfg is None or not cfg.logger or locate(cfg.logger["_target_"]) is not WandB:
        return
    name = f"{cfg.group}: table"
    settings = {"save_dir": str(sweep), "name": name, "id": None, "tags": ["table"]}
    logger = instance(OmegaConf.merge(cfg.logger, settings), "logger")
    assert isinstance(logger, WandB)
    logger.log_table("sweep/table", columns=header, data=lines)
    log_image(logger, "media/sweep", sweep / "table.png", 0)
    logger.finish(failed=False)


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        raise SystemExit(InputError("say python -m vae_lab.sweeps.table <sweep folder>.").args[0])
    write_table(Path(sys.argv[1]).resolve(), Console())
