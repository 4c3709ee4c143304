"""Run benchmarks and write what they found: what `make bench` runs."""

import json
import os
import shlex
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.case import ROOT, data_root
from benchmarks.contestants import CONTESTANTS
from benchmarks.machine import machine
from benchmarks.measure import busy_process, in_turn, measure
from benchmarks.plots import draw
from benchmarks.report import results
from benchmarks.suite import BENCHMARKS, Benchmark, Contest, quick

HERE = Path(__file__).parent


def _asked() -> Namespace:
    parser = ArgumentParser(prog="make bench", description=__doc__)
    names = ", ".join(BENCHMARKS)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all, unless named: {names}")
    parser.add_argument("--quick", action="store_true", help="see that it works; into runs/bench")
    parser.add_argument("--rounds", type=_count, help="of each contest")
    parser.add_argument("--images", type=_count, help="of each epoch, not the benchmark's own")
    parser.add_argument("--epochs", type=_count, help="of which the first is not counted")
    parser.add_argument("--limit", type=_count, default=300, help="seconds a process may take: 300")
    parser.add_argument("--into", type=Path, help="where to write; benchmarks/ unless --quick")
    asked = parser.parse_args()
    if unknown := [name for name in asked.names if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {unknown[0]}. There are: {names}.")
    if asked.epochs == 1:
        parser.error("--epochs must be 2 or more: the first is not counted.")
    if asked.into and asked.into.exists() and not asked.into.is_dir():
        parser.error(f"--into {asked.into} is no folder.")
    for place in ("MNIST/raw", "cifar-10-batches-py"):
        if not (data_root() / place).is_dir():
            parser.error(f"{data_root()} lacks {place}: set VAE_LAB_DATA to where the data lie.")
    return asked


def _count(value: str) -> int:
    if not value.isdigit() or int(value) == 0:
        raise ArgumentTypeError(f"{value} is no whole number of 1 or more")
    return int(value)


def _kept(file: Path) -> dict[str, Any]:
    """What earlier runs left. Ends with a line where that cannot be read."""
    try:
        return dict(json.loads(file.read_text())) if file.exists() else {}
    except ValueError as error:
        sys.exit(
            f"error: {file} is damaged ({error}): remove it, or name another folder by --into."
        )


def _run(contest: Contest, benchmark: Benchmark, limit: float) -> dict[str, Any]:
    """What results.json keeps of a contest."""
    here = [entrant for entrant in contest.entrants if CONTESTANTS[entrant.contestant].is_here]
    measured = []
    print(contest.describe(), flush=True)
    with busy_process() if contest.busy else nullcontext():
        for number, entrant in in_turn(here, benchmark.rounds):
            measured.append(one := measure(entrant, contest.case, number, limit))
            seconds = benchmark.seconds(one)
            told = one.failed if seconds is None else f"{seconds:.2f} s"
            print(f"  round {number + 1}: {one.entrant}: {told}", flush=True)
    measured.sort(key=lambda one: [entrant.name for entrant in here].index(one.entrant))
    kept = [asdict(one) for one in measured]
    return {"case": asdict(contest.case), "busy": contest.busy, "measured": kept}


def _as_asked(benchmark: Benchmark, asked: Namespace) -> Benchmark:
    benchmark = quick(benchmark) if asked.quick else benchmark
    own = {key: getattr(asked, key) for key in ("images", "epochs") if getattr(asked, key)}
    contests = tuple(replace(c, case=replace(c.case, **own)) for c in benchmark.contests)
    return replace(benchmark, contests=contests, rounds=asked.rounds or benchmark.rounds)


def main() -> None:
    """Run the benchmarks that the command line names, all if none; each is written when done."""
    asked = _asked()
    into = asked.into or (ROOT / "runs" / "bench" if asked.quick else HERE)
    absent = sorted({one.needs or "" for one in CONTESTANTS.values() if not one.is_here})
    for name in absent:
        print(f"{name} stays away: pip install -c constraints.txt -e '.[bench]' brings it.")
    if (load := os.getloadavg()[0]) > 0.5:
        print(f"The load average is {load:.1f}: figures of a machine that is not idle say little.")
    into.mkdir(parents=True, exist_ok=True)
    kept, where = into / "results.json", machine()
    _kept(kept)  # before any work
    command = "make bench" + f' ARGS="{shlex.join(sys.argv[1:])}"' * bool(sys.argv[1:])
    for name in asked.names or BENCHMARKS:
        benchmark = _as_asked(BENCHMARKS[name], asked)
        began, date = time.monotonic(), time.strftime("%Y-%m-%d %H:%M")
        found = [_run(contest, benchmark, asked.limit) for contest in benchmark.contests]
        loads = [one["load"] for contest in found for one in contest["measured"]]
        origin = [
            where,
            f"{date}, {time.monotonic() - began:.0f} s, load average before each process "
            f"{min(loads):.1f} to {max(loads):.1f}: `{command}`",
            *([f"Not installed, so not measured: {', '.join(absent)}."] if absent else []),
        ]
        sections = _kept(kept)
        sections[name] = {"origin": origin, "contests": found}
        kept.write_text(json.dumps(sections, indent=1) + "\n")
        if benchmark.axis:
            draw(benchmark, sections[name], into / "figures" / f"{name}.png")
        (into / "RESULTS.md").write_text(results(sections))
        print(f"{into / 'RESULTS.md'}: {name}")


if __name__ == "__main__":
    main()
