"""The table over any runs: `python -m vae_lab.sweeps.table <run or folder of runs> ...`."""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console

from vae_lab.config.allowed import locate
from vae_lab.config.build import instance
from vae_lab.errors import InputError, one_line, unknown
from vae_lab.loggers import WandB, log_image
from vae_lab.storage.files import atomic_file
from vae_lab.sweeps.rows import Row, metrics, rows
from vae_lab.sweeps.runs import EVALUATED, Job, jobs
from vae_lab.sweeps.show import PRINTED, plane, plot, print_best, print_table, texts
from vae_lab.terminal import say


def write_table(
    out: Path, console: Console, folders: Sequence[Path] = (), columns: Sequence[str] = ()
) -> int:
    """Print the table over all runs below `folders`, and write table.csv and table.png to `out`.

    A sweep's is logged to W&B where its jobs are. Returns how many jobs failed or cannot be read.

    Args:
        out: Where the table is written; without `folders`, the runs below are those compared.
        console: Where it is printed.
        folders: Runs, or folders of runs.
        columns: The metrics that are printed beside the best; none asks for the usual ones.

    Raises:
        InputError: Where the table cannot be written, or has no such column.
    """
    found = jobs(folders or [out])
    table = rows(found)
    if not table:
        say(console, "No run there has begun.")
        return 0
    header, lines = cells(table)
    _check_columns(columns, metrics(table))
    print_table(table, console, columns or PRINTED)
    if lacking := [name for name in columns if all(name not in row.values for row in table)]:
        say(console, f"No run has {', '.join(lacking)}.")
    for problem in dict.fromkeys(job.problem for job in found if job.problem):
        first, *more = [job.folder for job in found if job.problem == problem]
        say(console, f"failed: {first}{f' and {len(more)} more' * bool(more)}: {problem}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        with atomic_file(out / "table.csv") as part, part.open("w", newline="") as file:
            csv.writer(file).writerows([header, *lines])
        figures = {"table": plot(table), "rate_distortion": plane(table)}
        drawn = {name: figure for name, figure in figures.items() if figure}
        for name, figure in drawn.items():
            figure.savefig(out / f"{name}.png", dpi=120)
    except OSError as error:
        raise InputError(f"{out} cannot take the table: {one_line(error)}") from error
    say(console, f"Written: {' and '.join([str(out / 'table.csv'), *(f'{n}.png' for n in drawn)])}")
    if (out / "sweep.json").is_file():
        _log(out, found, header, lines)
    print_best(table, console)
    return sum(row.failed for row in table)


def _check_columns(columns: Sequence[str], known: Sequence[str]) -> None:
    for name in columns:
        if name in known:
            continue
        if name.startswith(EVALUATED) and not any(each.startswith(EVALUATED) for each in known):
            raise InputError(
                f"there is no column '{name}': the runs that have finished were not all evaluated "
                "alike (draws, items and seed). Evaluate their folder: vae-lab evaluate run=..."
            )
        raise unknown("column", name, known)


def cells(table: Sequence[Row]) -> tuple[list[str], list[list[Any]]]:
    """The whole table, its header apart: numbers in full, a column for each mean and each sd."""
    names = metrics(table)
    pairs = [text for name in names for text in (name, f"{name} sd")]
    columns = [texts([row.choices[path] for row in table], 17) for path in table[0].choices]
    header = [
        *table[0].choices, "measure", "monitor", "objective", "seeds", "failed", "unfinished",
        *pairs, "is_best",
    ]  # fmt: skip
    lines = [
        [
            *(column[at] for column in columns), str(row.measure or ""),
            *((row.example.monitor, row.example.objective) if row.example else ("", "")),
            row.seeds, row.failed, row.unfinished,
            *(value for name in names for value in (row.mean(name), row.sd(name))), row.is_best,
        ]
        for at, row in enumerate(table)
    ]  # fmt: skip
    return header, lines


def _log(sweep: Path, found: Sequence[Job], header: list[str], lines: list[list[Any]]) -> None:
    """Log a sweep's table to W&B, as one more run of its group, where its jobs are logged there."""
    config = next((job.config for job in found if job.result and job.config), {})
    if not config.get("logger") or locate(config["logger"]["_target_"]) is not WandB:
        return
    settings = {"save_dir": str(sweep), "name": f"{config['group']}: table", "id": None}
    node = OmegaConf.create({**config["logger"], **settings, "tags": ["table"]})
    logger = instance(node, "logger")
    assert isinstance(logger, WandB)
    logger.log_table("sweep/table", columns=header, data=lines)
    log_image(logger, "media/sweep", sweep / "table.png", 0)
    logger.finish()


def main() -> None:
    """The command; bad input ends in one line and status 1, runs that failed in the latter."""
    parser = argparse.ArgumentParser(
        "vae-lab table", description="Compare any runs: what differs, and mean +- sd over seeds."
    )
    parser.add_argument("folders", nargs="+", type=Path, help="runs, or folders of runs")
    parser.add_argument("--out", type=Path, help="where table.csv and table.png go")
    parser.add_argument(
        "--columns", default="", metavar="A,B",
        help="what is printed beside the best, such as test/rate or, once all runs were evaluated "
        "alike, evaluated/nll; table.csv has them all",
    )  # fmt: skip
    asked = parser.parse_args()
    try:
        for folder in asked.folders:
            if not folder.is_dir():
                raise InputError(f"no folder at {folder}: give run folders, or folders of runs.")
        out = asked.out or (asked.folders[0] if len(asked.folders) == 1 else Path())
        columns = [name for part in asked.columns.split(",") if (name := part.strip())]
        folders = [folder.resolve() for folder in asked.folders]
        if write_table(out.resolve(), Console(), folders, columns):
            sys.exit(1)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
