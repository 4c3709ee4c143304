"""A table over runs, for people: in words, in a terminal of any width, and drawn."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.figure import Figure
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from vae_lab.evaluation.measure import Measure
from vae_lab.evaluation.plane import rate_distortions
from vae_lab.sweeps.differences import short
from vae_lab.sweeps.rows import Row, blocks
from vae_lab.sweeps.runs import Result
from vae_lab.terminal import say

PRINTED = {
    "test/elbo": "test\nelbo", "test/bits_per_dim": "test\nbits/dim",
    "test/active_units": "active\nunits",
}  # fmt: skip


def texts(values: Sequence[Any], digits: int = 3) -> list[str]:
    """A column for people: as many digits as tell its numbers apart, classes by their last word."""
    numbers = {value for value in values if isinstance(value, float)}
    while len({f"{number:.{digits}g}" for number in numbers}) < len(numbers) and digits < 17:
        digits += 1
    classes = sorted({str(v) for v in values if re.fullmatch(r"\w+(\.[A-Za-z]\w*)+", str(v))})
    names = dict(zip(classes, short(classes), strict=True))
    return [
        f"{value:.{digits}g}" if isinstance(value, float) else names.get(str(value), str(value))
        for value in values
    ]


def _described(group: Sequence[Row], table: Sequence[Row]) -> list[dict[str, str]]:
    """Each row's choices for people, by short names: those in which the rows of `table` differ."""
    told: dict[str, list[str]] = {}
    for path in group[0].choices:
        values = texts([row.choices[path] for row in group])
        if len({row.choices[path] for row in table}) > 1 and any(values):
            told[path] = values
    names = short(list(told))
    return [dict(zip(names, row, strict=True)) for row in zip(*told.values(), strict=True)] or [
        {} for _ in group
    ]


def _title(example: Result | None, table: Sequence[Row]) -> str:
    """What the rows ranked with `example` have in common, in words.

    A measure is told with its hashes where another's are the same words.
    """
    if example is None:
        return "failed or unfinished"
    measure, _, objective = example.ranked_with
    return ". ".join(filter(None, [_title_of(measure, table), objective]))


def _title_of(measure: Measure, table: Sequence[Row]) -> str:
    alike = {row.measure for row in table if row.measure and row.measure.words() == measure.words()}
    return str(measure) if len(alike) > 1 else measure.words()


def _number(row: Row, name: str, between: str = " ") -> str:
    mean, sd = row.mean(name), row.sd(name)
    if mean is None:
        return ""
    digits = 3 if name.endswith("bits_per_dim") or abs(mean) < 1 else 2
    star = "* " if row.is_best and name == "best" else ""
    return f"{star}{mean:.{digits}f}" + ("" if sd is None else f"{between}+- {sd:.{digits}f}")


# Printing


def print_table(
    table: Sequence[Row], console: Console, columns: Iterable[str] = tuple(PRINTED)
) -> None:
    """Print what may be ranked, block by block; nothing is cut, however narrow the terminal.

    `columns` are the metrics that stand beside the best.
    """
    for group in blocks(table):
        example = group[0].example
        console.print(Text(f"\n{_title(example, table)}", "bold"))
        choices = _described(group, table)
        layouts = (
            _grid(group, choices, columns, *how)
            for how in ((False, " "), (False, "\n"), (True, "\n"))
        )
        wide = console.options.update(max_width=10_000)
        for grid in layouts:
            if Measurement.get(console, wide, grid).maximum <= console.width:
                break
        console.print(grid, highlight=False)


def print_best(table: Sequence[Row], console: Console) -> None:
    """Print in words which rows are the best, and which count less than they hold."""
    for row, told in zip(table, _described(table, table), strict=True):
        if row.repeated:
            say(console, f"{row.repeated} of {_sentence(told)} repeat a seed: the latest counts.")
        if row.is_best:
            seeds = f"{row.seeds} seed{'s' * (row.seeds > 1)}"
            best = _number(row, "best").removeprefix("* ")
            say(console, f"best: {_sentence(told)}: {best} ({seeds})")


def _grid(
    group: Sequence[Row], told: Sequence[dict[str, str]], columns: Iterable[str], joined: bool,
    between: str,
) -> Table:  # fmt: skip
    """Rows of one block; what is told of each `joined` in one column; `between` mean and sd."""
    wanted = dict.fromkeys(["best", *columns])
    shown = [name for name in wanted if any(name in row.values for row in group)]
    best = f"best\n{group[0].example.monitor}" if group[0].example else "best"
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ["configuration"] if joined else told[0]:
        grid.add_column(name, overflow="fold")
    grid.add_column("seeds", justify="right")
    for name in shown:
        title = best if name == "best" else PRINTED.get(name) or re.sub("[/_]", "\n", name)
        grid.add_column(title, justify="right", no_wrap=True)
    lost = any(row.failed or row.unfinished for row in group)
    if lost:
        grid.add_column("")
    for row, choices in zip(group, told, strict=True):
        ends = {"failed": row.failed, "unfinished": row.unfinished}
        grid.add_row(
            *([_sentence(choices)] if joined else choices.values()), str(row.seeds),
            *(_number(row, name, between) for name in shown),
            *([", ".join(f"{n} {how}" for how, n in ends.items() if n)] if lost else []),
            style="bold" if row.is_best else None,
        )  # fmt: skip
    return grid


def _sentence(choices: dict[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in choices.items() if value) or "all"


# Drawing


def plot(table: Sequence[Row]) -> Figure:
    """One panel for what may be ranked: each seed's best metric, their mean and deviation."""
    ranked = [[row for row in block if "best" in row.values] for block in blocks(table)]
    groups = [group for group in ranked if group]
    heights = [len(group) + 2.5 for group in groups] or [1]
    figure = Figure(figsize=(7, 0.4 * sum(heights) + 0.3), layout="constrained")
    panels = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for panel, group in zip(panels, groups, strict=False):
        for at, row in enumerate(group):
            values, mean = row.values["best"], row.mean("best")
            panel.errorbar([mean], [at], xerr=row.sd("best"), fmt="|k", capsize=4, markersize=14)
            panel.plot(values, [at] * len(values), "o", color="tab:blue", alpha=0.5)
        names = [textwrap.fill(_sentence(told), 36) for told in _described(group, table)]
        panel.set_yticks(range(len(group)), names, fontsize="small")
        panel.set_ylim(len(group) - 0.5, -0.5)
        example = group[0].example
        assert example is not None
        panel.set_title(textwrap.fill(_title(example, table), 80), fontsize="small", loc="left")
        panel.set_xlabel(f"best {example.monitor}, nats: each seed, mean and sd", fontsize="small")
        panel.grid(axis="x", alpha=0.3)
    return figure


def plane(table: Sequence[Row]) -> Figure | None:
    """Rate and distortion of the test images, means over seeds, a panel for each measure.

    Of measures under which there are two configurations or more that have both; None of none.
    """
    groups: dict[Measure, list[Row]] = {}
    for row in table:
        if row.measure and {"test/rate", "test/distortion"} <= row.values.keys():
            groups.setdefault(row.measure, []).append(row)
    panels: dict[str, dict[str, dict[str, float]]] = {}
    for measure, group in groups.items():
        if len(group) < 2:
            continue
        names = [_sentence(told) for told in _described(group, group)]
        panels[_title_of(measure, table)] = {
            name: {of: mean for of in row.values if (mean := row.mean(of)) is not None}
            for name, row in zip(names, group, strict=True)
        }
    return rate_distortions(panels) if panels else None
