"""The records of the speed-run as files: what one must hold, whether it holds, and RECORDS.md."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.speedrun.rules import ROUNDING, Raced, Reached, drift, raced, reached
from vae_lab.errors import InputError, explained, one_line, unknown
from vae_lab.storage.files import read_json

HERE = Path(__file__).parents[1]
RECORDS, DOCUMENT = HERE / "records", HERE / "RECORDS.md"
BEGIN, END = "<!-- written by make speedrun -->\n", "<!-- until here -->\n"

ASKED: dict[str, Any] = {
    "measure": {
        "data": "mnist",
        "split": "a35158fe6058",
        "evaluated": "2d62015b68b9",  # the items of validation and test, with their bits
        "preparation": "binarised",
        "support": "x in {0, 1}, a probability",
        "conditional": False,
    },
    "num_draws": 1000,
    "draw_seed": 0,
    "items": 10_000,
    "comparable": True,
}
"""What the evaluation.json of a record says, whatever its model."""
SHARED = ("training_commit", "parameters", "checkpoint", "step")
"""What those of all its seeds have in common: one config, stopped at one step."""


@dataclass(frozen=True)
class Record:
    """What lies in a folder of benchmarks/records/, read and checked."""

    name: str
    told: dict[str, Any]  # record.json
    evaluations: list[dict[str, Any]]  # of the seeds 0, 1, ..., as the evaluator wrote them

    @property
    def nll(self) -> list[float]:
        """The test NLL of each seed, in nats."""
        return [found["estimates"]["nll"]["value"] for found in self.evaluations]

    @property
    def seconds(self) -> list[float]:
        """What each seed's training took."""
        return [found["training_seconds"] for found in self.evaluations]

    @property
    def commit(self) -> str:
        """The commit of this repository that it was trained at."""
        return str(self.evaluations[0]["training_commit"]).partition(",")[0]


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a record."""

    reached: Reached | None  # None of a systems-only change
    raced: Raced | None  # None of the first of its class
    drift: float | None  # of a systems-only change

    @property
    def holds(self) -> bool:
        """Whether it is one."""
        found = [part.holds for part in (self.reached, self.raced) if part is not None]
        return all(found) and (self.drift is None or self.drift <= ROUNDING)

    def __str__(self) -> str:
        moved = self.drift is not None and (
            f"the loss curve moved by {self.drift:.2g} of itself (at most {ROUNDING:g})"
        )
        return "; ".join(str(part) for part in (self.reached, moved or None, self.raced) if part)


def read(folder: Path) -> Record:
    """The record in a folder.

    Raises InputError where a file is missing or damaged, and for runs that the rules do not allow:
    of other data, bits or draws, of several commits or lengths, or of files that differ from git's.
    """
    told = read_json(
        _file(folder, "record.json"), experiment=str, target=float | int, date=str, command=str,
        machine=str, environment=dict, load=float, baseline=str, against=str | None,
        systems_only=bool, pairs=list,
    )  # fmt: skip
    count = len(list(folder.glob("seed_*.json")))
    files = [_file(folder, f"seed_{seed}.json") for seed in range(count)]
    found = [
        read_json(
            file, measure=dict, estimates=dict, training=dict, training_seconds=float | int,
            training_commit=str, epochs=int, parameters=int,
        )
        for file in files
    ]  # fmt: skip
    with explained(lambda error: InputError(f"{folder}: damaged pairs ({one_line(error)}).")):
        for run in (pair[which] for pair in told["pairs"] for which in ("new", "old")):
            _check_run(run)
    for seed, (file, evaluation) in enumerate(zip(files, found, strict=True)):
        _check(file, evaluation, seed, found[0])
    return Record(folder.name, told, found)


def _file(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise InputError(f"{folder} holds no {name}: a record has record.json and all seed_N.json.")
    return folder / name


def _check_run(run: Mapping[str, Any]) -> None:
    """Raise where a run of a pair lacks its seconds, or the objective of an epoch."""
    if not (run["seconds"] > 0 and all(map(isfinite, (run["seconds"], *run["curve"])))):
        raise ValueError("a run without seconds or with an objective that is not finite")


def _check(file: Path, evaluation: Mapping[str, Any], seed: int, first: Mapping[str, Any]) -> None:
    """Raise InputError, with the first thing in which an evaluation is not what a record asks."""
    asked = {**ASKED["measure"], **ASKED, "seed": seed, **{key: first.get(key) for key in SHARED}}
    says = {**evaluation["measure"], **evaluation, "seed": evaluation["training"].get("seed")}
    for key, wanted in asked.items():
        if key != "measure" and says.get(key) != wanted:
            raise InputError(f"{file}: {key} is {says.get(key)}, where the record has {wanted}.")
    with explained(lambda error: InputError(f"{file} is damaged ({one_line(error)}): remove it.")):
        nll = evaluation["estimates"]["nll"]
        numbers = (nll["value"], nll["standard_error"], evaluation["training_seconds"])
        if not all(isfinite(number) and number > 0 for number in numbers):
            raise ValueError(f"{numbers} are no NLL, its error and seconds")
    if "-dirty" in evaluation["training_commit"] or evaluation["training_commit"] == "unknown":
        raise InputError(f"{file}: trained at {evaluation['training_commit']}: commit, then run.")


def read_all(folder: Path = RECORDS) -> dict[str, Record]:
    """Every record in a folder, by name, the oldest first. Raises InputError as `read` does."""
    found = [read(place) for place in folder.glob("*/")]
    return {r.name: r for r in sorted(found, key=lambda r: (r.told["date"], r.name))}


def named(name: str, records: Mapping[str, Record]) -> Record:
    """The record of a name. Raises InputError where there is none."""
    if name not in records:
        raise unknown("record", name, records)
    return records[name]


def judge(record: Record, others: Mapping[str, Record]) -> Verdict:
    """What the rules say of `record`, where `others` are there to be its baseline.

    Raises InputError for too few seeds or pairs, for another target, for an old record of another
    class, where that or the baseline is missing, and for a systems-only change that names none.
    """
    told, own = record.told, {**others, record.name: record}
    if told["against"] is not None:
        target = named(told["against"], others).told["target"]
        if target != told["target"]:
            raise InputError(f"{told['against']} is a record of {target:g} nats: set --target.")
    old_and_new = [[pair[which] for pair in told["pairs"]] for which in ("new", "old")]
    seconds = [[run["seconds"] for run in runs] for runs in old_and_new]
    curves = [[run["curve"] for run in runs] for runs in old_and_new]
    race = raced(*seconds) if told["against"] is not None else None
    found = reached(told["target"], record.nll, named(told["baseline"], own).nll)
    if not told["systems_only"]:
        return Verdict(found, race, None)
    if race is None:
        raise InputError("a systems-only change is one of an old record: say --against NAME.")
    return Verdict(None, race, drift(*curves))


def updated(document: str, records: Mapping[str, Record]) -> str:
    """RECORDS.md with the table and the details that belong there."""
    before, _, rest = document.partition(BEGIN)
    told = "\n".join(_markdown(records))
    return f"{before}{BEGIN}\n{told}\n{END}{rest.partition(END)[2]}"


def _markdown(records: Mapping[str, Record]) -> Iterator[str]:
    if not records:
        yield "None yet.\n"
        return
    yield "| class | record | machine | seconds, median | it beat | test NLL, nats | epochs |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for record in records.values():
        told, verdict = record.told, judge(record, records)
        if not verdict.holds:
            raise InputError(f"{record.name} is no record: {verdict}. Remove its folder.")
        beat = "the first"
        if verdict.raced is not None:
            old = records[told["against"]]
            beat = f"`{old.name}`, {median(old.seconds):.1f} s; in turn {verdict.raced.ratio:.3f}"
        below = verdict.reached and f" ({verdict.reached.sigmas:.1f} s.e. below)"
        mean = sum(record.nll) / len(record.nll)
        yield (
            f"| {told['target']:g} | `{record.name}` | {told['machine']} | "
            f"{median(record.seconds):.1f} | {beat} | {mean:.2f}{below or ', systems only'} | "
            f"{record.evaluations[0]['epochs']} |"
        )
    yield ""
    for record in records.values():
        yield from _details(record, judge(record, records))


def _details(record: Record, verdict: Verdict) -> Iterator[str]:
    told = record.told
    variables = " ".join(f"{key}={value}" for key, value in told["environment"].items())
    yield f"### `{record.name}`, {told['date']}\n"
    yield f"    {f'{variables} ' * bool(variables)}{told['command']}\n"
    yield (
        f"`experiment={told['experiment']}` at commit {record.commit}, on {told['machine']} "
        f"(load {told['load']:.1f} before), "
        f"{record.evaluations[0]['parameters']:,} parameters. Baseline `{told['baseline']}`. "
        f"The verdict: {verdict}.\n"
    )
    yield "| seed | seconds | test NLL, nats, +- s.e. over images |\n| --- | --- | --- |"
    for seed, found in enumerate(record.evaluations):
        nll = found["estimates"]["nll"]
        yield (
            f"| {seed} | {found['training_seconds']:.1f} | "
            f"{nll['value']:.3f} +- {nll['standard_error']:.3f} |"
        )
    yield ""
    if told["pairs"]:
        race = (f"{p['new']['seconds']:.1f} / {p['old']['seconds']:.1f}" for p in told["pairs"])
        yield f"In turn with `{told['against']}`, seconds new / old: {', '.join(race)}.\n"
