"""RESULTS.md, written from results.json: medians, ratios within a round, and their origin."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from benchmarks.case import Case
from benchmarks.contestants import CONTESTANTS
from benchmarks.measure import Measured
from benchmarks.suite import BENCHMARKS, Benchmark, Contest

Seconds = Callable[[Measured], float | None]
HEAD = """# Results

Written by `make bench` from `results.json`, which has every single figure; a run writes its own
sections anew and leaves the others.

Contestants take turns, a process each, in rounds that begin with another each time; figures are
medians over the rounds. An epoch lasts from before its first batch is fetched until its last step
is taken; validation, checkpoints and figures are apart, and the first epoch is not counted.
**ours / it** is the time of a contest's first entrant over the other's in the same round, the
median [least, most] over the rounds: below 1, ours is faster; bold is the fastest other. The loss
is the last epoch's mean in nats per image, averaged over the rounds, each of another seed; where
images are scored, minus log p(x) under a model hardly trained. Peak memory is the process's largest
resident set. *Other work* is how many processors other processes kept busy meanwhile; a busy
process that belongs to the contest counts as 1. Variables that say how threads work are taken out
of the environment, but for those that a row names.
"""


class Spread(NamedTuple):
    """Of a few numbers."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one."""
        return cls(median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.middle:.2f} [{self.least:.2f}, {self.most:.2f}]"


def ratio(ours: Sequence[Measured], its: Sequence[Measured], seconds: Seconds) -> Spread | None:
    """Ours over its, within the rounds that both came through; None where there is none."""
    other = {one.round: seconds(one) for one in its}
    pairs = [(seconds(one), other.get(one.round)) for one in ours]
    found = [mine / theirs for mine, theirs in pairs if mine and theirs]
    return Spread.of(found) if found else None


def results(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """The whole of RESULTS.md.

    Args:
        sections: By a benchmark's name what results.json has of it: the lines of its `origin`, and
            its `contests`, each with its `case`, whether it was `busy`, and what was `measured`.
    """
    who = "".join(f"- *{name}*: {one.says}\n" for name, one in CONTESTANTS.items())
    told = [
        section(name, of, sections[name]) for name, of in BENCHMARKS.items() if name in sections
    ]
    return "\n".join([HEAD, who, *told])


def section(name: str, benchmark: Benchmark, found: Mapping[str, Any]) -> str:
    """One benchmark's, with its table."""
    lines = [f"## {benchmark.says}", "", *(f"{line}  " for line in found["origin"]), ""]
    if benchmark.axis:
        lines += [f"![Seconds an epoch, log-log](figures/{name}.png)", ""]
    figures = ("seconds", "ours / it", "loss", "peak MiB", "other work")
    titles = ["case", "contestant", benchmark.unit or "", *figures]
    lines += [_row(titles), _row(["---"] * len(titles))]
    for contest, measured in contests(found):
        title = contest.describe()
        for row in rows(benchmark, contest.case, measured):
            lines.append(_row([title, *row]))
            title = ""
    return "\n".join([*lines, ""])


def contests(found: Mapping[str, Any]) -> Iterator[tuple[Contest, dict[str, list[Measured]]]]:
    """Each contest of a section, with what was measured of every entrant, by name."""
    for kept in found["contests"]:
        by_name: dict[str, list[Measured]] = {}
        for one in kept["measured"]:
            by_name.setdefault(one["entrant"], []).append(Measured(**one))
        yield Contest(Case(**kept["case"]), (), kept["busy"]), by_name


def rows(
    benchmark: Benchmark, case: Case, measured: Mapping[str, list[Measured]]
) -> Iterator[list[str]]:
    """A row for each entrant of a contest, the first being ours."""
    ours = next(iter(measured.values()))
    ratios = {name: ratio(ours, its, benchmark.seconds) for name, its in measured.items()}
    others = [found.middle for its, found in ratios.items() if found and its != ours[0].entrant]
    for name, its in measured.items():
        taken = [seconds for one in its if (seconds := benchmark.seconds(one)) is not None]
        found = ratios[name]
        if not taken or found is None:
            yield [name, "", its[0].failed or "", "", "", "", ""]
            continue
        told = "" if its is ours else f"**{found}**" if found.middle == max(others) else str(found)
        speed = f"{case.images * case.draws / median(taken):,.0f}" if benchmark.unit else ""
        losses = [one.loss for one in its if one.loss is not None]
        peaks = [one.peak_mib for one in its if one.peak_mib is not None]
        yield [
            name,
            speed,
            f"{median(taken):.2f}",
            told,
            f"{sum(losses) / len(losses):.2f}" if losses else "",
            f"{median(peaks):,.0f}" if peaks else "",
            f"{median(one.others for one in its):.2f}",
        ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
