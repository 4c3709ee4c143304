"""Race a config to 88 nats on MNIST, by the rules of RECORDS.md: what `make speedrun` runs.

    python -m benchmarks.speedrun speedrun_88 --seeds 6             the first: its own baseline
    python -m benchmarks.speedrun faster --against speedrun_88      a later one
    python -m benchmarks.speedrun speedrun_88 trainer.max_epochs=1  a trial, which is no record
    python -m benchmarks.speedrun                                   RECORDS.md anew, nothing else

Each training and each evaluation takes minutes. A record is kept in benchmarks/records/.
"""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.speedrun.records import (
    DOCUMENT,
    RECORDS,
    Record,
    judge,
    named,
    read,
    read_all,
    updated,
)
from benchmarks.speedrun.rules import BASELINE_SEEDS, PAIRS, SEEDS, TARGETS
from vae_lab.errors import InputError, explained, one_line, unknown
from vae_lab.storage.files import atomic_file

ROOT = Path(__file__).resolve().parents[2]
READ_BY_THREADS = ("OMP_", "GOMP_", "KMP_", "MKL_", "TORCH_")
"""How the environment variables begin that decide how fast torch is."""


def main() -> None:
    """Train, evaluate, judge; write what is a record."""
    asked = _arguments()
    try:
        if asked.experiment:
            race(asked, read_all())
        records = read_all()
        with atomic_file(DOCUMENT) as part:
            part.write_text(updated(DOCUMENT.read_text(), records))
    except InputError as error:
        sys.exit(f"error: {error}")


def _arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    cores = sorted(os.sched_getaffinity(0))[:2]
    parser.add_argument("experiment", nargs="?", help="of conf/experiment/; none: only RECORDS.md")
    parser.add_argument("overrides", nargs="*", help="of train.py and evaluate.py: makes a trial")
    parser.add_argument("--name", help="of the record; else the experiment's")
    parser.add_argument("--target", type=float, default=TARGETS[0], help="nats: 88 or 86.5")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many: 0, 1, ...")
    parser.add_argument("--against", help="the old record, which is raced in turn at its commit")
    parser.add_argument("--baseline", help="the record whose seeds give sigma; else the old one's")
    parser.add_argument("--systems-only", action="store_true", help="the same loss curve, faster")
    parser.add_argument("--cores", type=int, nargs=2, default=cores, help="two, to be pinned to")
    parser.add_argument("--gpu", type=int, help="the number of a GPU, instead of two cores")
    parser.add_argument("--into", type=Path, help="a new folder for the runs; else below runs/")
    asked = parser.parse_intermixed_args()
    asked.name = asked.name or asked.experiment
    now = time.strftime("%Y-%m-%d_%H-%M-%S")
    asked.into = (asked.into or ROOT / "runs" / "speedrun" / now).resolve()
    return asked


def race(asked: Namespace, records: Mapping[str, Record]) -> None:
    """Train every seed, in turn with the old record's, then evaluate; keep what is a record.

    Raises InputError for what could be no record, before any training; and for a run that fails or
    proves to be none.
    """
    old = named(asked.against, records) if asked.against else None
    machine, trial = _pinned(asked), bool(asked.overrides)
    told: dict[str, Any] = {
        "experiment": asked.experiment,
        "target": asked.target,
        "date": time.strftime("%Y-%m-%d"),
        "command": shlex.join(["python", "-m", "benchmarks.speedrun", *sys.argv[1:]]),
        "machine": machine,
        "environment": {k: v for k, v in os.environ.items() if k.startswith(READ_BY_THREADS)},
        "load": round(os.getloadavg()[0], 2),
        "baseline": asked.baseline or (old.told["baseline"] if old else asked.name),
        "against": asked.against,
        "systems_only": asked.systems_only,
        "pairs": [],
    }
    if not trial:
        _check(asked, told, records)
    if asked.into.exists():
        raise InputError(f"{asked.into} is there already: name a new folder with --into.")
    overrides = [o for o in asked.overrides if not o.startswith("evaluate.")]
    own = [f"experiment={asked.experiment}", *overrides]
    runs = []
    with _checkout(old.commit if old else None) as elsewhere:
        for turn in range(max(asked.seeds, PAIRS if old else 0)):
            runs.append(asked.into / f"new_{turn}")
            pair = {"new": _train(ROOT, [*own, f"seed={turn}"], runs[-1], asked.gpu is not None)}
            if old and turn < PAIRS:
                theirs = [f"experiment={old.told['experiment']}", *overrides, f"seed={turn}"]
                place = asked.into / f"old_{turn}"
                pair["old"] = _train(elsewhere, theirs, place, asked.gpu is not None)
                told["pairs"].append(pair)
            _say(f"seed {turn}: " + ", ".join(f"{k} {v['seconds']:.1f} s" for k, v in pair.items()))
    kept = asked.into / "record" / asked.name
    kept.mkdir(parents=True)
    (kept / "record.json").write_text(json.dumps(told) + "\n")
    for seed, run in enumerate(runs[: asked.seeds]):
        found = _evaluate(run, [o for o in asked.overrides if o.startswith("evaluate.")])
        shutil.copy(run / "evaluation.json", kept / f"seed_{seed}.json")
        nll = found["estimates"]["nll"]
        _say(f"seed {seed}: test NLL {nll['value']:.3f} +- {nll['standard_error']:.3f} nats")
    if trial:
        return _say(f"A trial, by {' '.join(asked.overrides)}: no record. Its runs: {asked.into}")
    verdict = judge(read(kept), records)
    if not verdict.holds:
        raise InputError(f"no record: {verdict}. Its runs: {asked.into}")
    shutil.copytree(kept, RECORDS / asked.name)
    _say(f"A record: {verdict}. Commit {RECORDS / asked.name} and {DOCUMENT}.")


def _check(asked: Namespace, told: Mapping[str, Any], records: Mapping[str, Record]) -> None:
    """Raise InputError for what could be no record, however fast it is."""
    configs = {path.stem: path for path in (ROOT / "conf" / "experiment").glob("*.yaml")}
    if asked.experiment not in configs:
        raise unknown("experiment", asked.experiment, configs)
    kind = (told["target"], told["machine"])
    same = [r.name for r in records.values() if (r.told["target"], r.told["machine"]) == kind]
    if asked.name in records:
        raise InputError(f"a record is named {asked.name} already: say --name ANOTHER.")
    if asked.target not in TARGETS:
        raise InputError(f"--target is one of {', '.join(f'{t:g}' for t in TARGETS)}.")
    least = BASELINE_SEEDS if told["baseline"] == asked.name else SEEDS
    if asked.seeds < least:
        why = ", since it is its own baseline" if least > SEEDS else ""
        raise InputError(f"{asked.seeds} seeds are too few{why}: say --seeds {least}.")
    if told["baseline"] != asked.name:
        named(told["baseline"], records)
    if same and not asked.against:
        raise InputError(f"this class has a record on this machine: say --against {same[-1]}.")
    if asked.systems_only and not asked.against:
        raise InputError("a systems-only change is one of an old record: say --against NAME.")
    dirty = _git("status", "--porcelain")
    if dirty:
        raise InputError(f"a record has a commit: commit {dirty.split()[1]} and the like first.")


def _pinned(asked: Namespace) -> str:
    """Keep this process and all that it starts to two cores, or one GPU; the machine in words."""
    if asked.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = str(asked.gpu)
        query = ["nvidia-smi", f"--id={asked.gpu}", "--query-gpu=name", "--format=csv,noheader"]
        return _run(query).strip()
    if len(set(asked.cores)) != 2 or not set(asked.cores) <= os.sched_getaffinity(0):
        there = " ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise InputError(f"--cores takes two of those that are here: {there}.")
    os.sched_setaffinity(0, asked.cores)
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"2 cores of {model[1].strip() if model else 'an unknown CPU'}"


def _train(checkout: Path, overrides: Sequence[str], run: Path, on_gpu: bool) -> dict[str, Any]:
    """Train in a process of its own, by the code of `checkout`: its seconds, and its loss curve."""
    from vae_lab.storage.checkpoint import read_tensors  # which imports torch

    fixed = ["logger=csv", "test=false", "callbacks.progress=null"]
    device = f"trainer.accelerator={'gpu' if on_gpu else 'cpu'}"
    _python(checkout, "train.py", [*overrides, *fixed, device, f"hydra.run.dir={run}"])
    with (run / "csv" / "metrics.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["train/objective"]]
    last = read_tensors(run / "checkpoints" / "last.ckpt")
    return {
        "seconds": round(last["vae_lab"]["seconds"], 3),
        "curve": [round(float(row["train/objective"]), 4) for row in rows],
    }


def _evaluate(run: Path, overrides: Sequence[str]) -> dict[str, Any]:
    fixed = ["evaluate.num_draws=1000", "evaluate.frechet=false", "evaluate.progress=false"]
    _python(ROOT, "evaluate.py", [f"run={run}", *fixed, *overrides])
    found: dict[str, Any] = json.loads((run / "evaluation.json").read_text())
    return found


@contextmanager
def _checkout(commit: str | None) -> Iterator[Path]:
    """A folder with the files of a commit while the block lasts; None: those that are here."""
    if commit is None:
        yield ROOT
        return
    place = ROOT / "runs" / f"checkout_{commit}_{os.getpid()}"
    _git("worktree", "add", "--detach", str(place), commit)
    try:
        yield place
    finally:
        _git("worktree", "remove", "--force", str(place))


def _git(*arguments: str) -> str:
    return _run(["git", "-C", str(ROOT), *arguments])


def _python(checkout: Path, script: str, arguments: Sequence[str]) -> str:
    path = os.pathsep.join(filter(None, [str(checkout / "src"), os.environ.get("PYTHONPATH")]))
    return _run([sys.executable, str(checkout / script), *arguments], PYTHONPATH=path)


def _run(command: Sequence[str], **environment: str) -> str:
    """What a command prints. Raises InputError with its last words where it fails."""
    env = {**os.environ, **environment}
    with explained(lambda error: InputError(f"{command[0]} cannot be run: {one_line(error)}.")):
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        words = done.stderr.strip().splitlines() or ["it said nothing"]
        raise InputError(f"{shlex.join(command[:4])} ... has failed: {words[-1]}")
    return done.stdout


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
