"""The speed-run: what is a record, what is none, and that RECORDS.md says what its files say."""

import json
import re
from argparse import Namespace
from collections.abc import Callable
from copy import deepcopy
from math import sqrt
from pathlib import Path
from statistics import NormalDist, stdev
from typing import Any

import lightning as L
import pytest
from benchmarks.speedrun import __main__ as speedrun
from benchmarks.speedrun import records as files
from benchmarks.speedrun.rules import RATIO, ROUNDING, SIGMAS, drift, raced, reached
from conftest import ROOT
from parts import datamodule, run, trainer, training

from vae_lab import InputError
from vae_lab.config import build
from vae_lab.config.compose import compose_config
from vae_lab.data import Digits
from vae_lab.evaluation.measure import Measure
from vae_lab.support import Support

BASELINE = [87.5, 87.55, 87.6, 87.65, 87.7, 87.75]
SIGMA = stdev(BASELINE)


def evaluation(seed: int, nll: float = 87.5, seconds: float = 100.0) -> dict[str, Any]:
    return deepcopy(files.ASKED) | {
        "estimates": {"nll": {"value": nll, "standard_error": 0.25, "unit": "nats"}},
        "training": {"seed": seed},
        "training_seconds": seconds,
        "training_commit": "0123456789ab",
        "parameters": 1000,
        "checkpoint": "last.ckpt",
        "epochs": 45,
        "step": 17_595,
    }


def pair(new: float, old: float, curve: float = -100.0) -> dict[str, Any]:
    return {"new": {"seconds": new, "curve": [curve]}, "old": {"seconds": old, "curve": [-100.0]}}


def store(folder: Path, nll: list[float] = BASELINE, **told: Any) -> files.Record:
    """A record in a folder of this name, read back."""
    folder.mkdir(parents=True)
    usual = {
        "experiment": "speedrun_88", "target": 88.0, "date": "2026-01-01", "command": "python",
        "machine": "2 cores of this", "environment": {"OMP_WAIT_POLICY": "ACTIVE"}, "load": 0.1,
        "baseline": "first", "against": None, "systems_only": False, "pairs": [],
    }  # fmt: skip
    (folder / "record.json").write_text(json.dumps(usual | told))
    for seed, value in enumerate(nll):
        (folder / f"seed_{seed}.json").write_text(json.dumps(evaluation(seed, value)))
    return files.read(folder)


# The arithmetic


def test_chance_alone_passes_once_in_a_thousand_times() -> None:
    assert 1 - NormalDist().cdf(SIGMAS) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("seeds", [3, 10])
def test_a_mean_must_lie_so_many_standard_errors_below_the_target(seeds: int) -> None:
    edge = 88 - SIGMAS * SIGMA / sqrt(seeds)
    below, above = (reached(88, [edge + by] * seeds, BASELINE) for by in (-1e-6, 1e-6))
    assert below.sigma == SIGMA
    assert below.holds
    assert not above.holds
    assert not reached(86.5, [edge] * seeds, BASELINE).holds


def test_seeds_that_are_all_the_same_are_no_way_round_the_target() -> None:
    assert reached(88, [88.0] * 3, [87.0] * 6).holds
    assert not reached(88, [88.1] * 3, [87.0] * 6).holds
    assert not reached(88, [float("nan")] * 3, BASELINE).holds


def test_too_few_seeds_and_other_targets_are_told() -> None:
    with pytest.raises(InputError, match="a record has 3 seeds or more, not 2"):
        reached(88, [87.0] * 2, BASELINE)
    with pytest.raises(InputError, match="a baseline has 6 seeds or more, not 5"):
        reached(88, [87.0] * 3, BASELINE[:5])
    with pytest.raises(InputError, match=r"88 or 86\.5, not 90"):
        reached(90, [87.0] * 3, BASELINE)


def test_a_new_record_is_faster_in_every_pair_and_by_enough() -> None:
    assert raced([RATIO * 10] * 4, [10] * 4).holds
    assert not raced([RATIO * 10 + 0.01] * 4, [10] * 4).holds
    assert not raced([5, 5, 5, 10], [10] * 4).holds  # as fast is not faster
    assert raced([1, 9.5, 9.6, 9.9], [10] * 4).ratio == pytest.approx(0.955)
    with pytest.raises(InputError, match="4 pairs, not 3"):
        raced([1] * 3, [2] * 3)


def test_a_curve_drifts_by_its_worst_epoch() -> None:
    assert drift([[-100, -90]], [[-100, -90]]) == 0
    assert drift([[-100], [-99]], [[-100], [-100]]) == pytest.approx(0.01)
    assert drift([[-100]], [[-100, -90]]) == drift([[]], [[]]) == float("inf")


# The files


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda e: e["measure"].update(data="digits"),
            "data is digits, where the record has mn",
        ),
        (lambda e: e["measure"].update(evaluated="0"), "evaluated is 0, where the record has 2"),
        (lambda e: e["measure"].update(conditional=True), "conditional is True"),
        (lambda e: e.update(num_draws=100), "num_draws is 100, where the record has 1000"),
        (lambda e: e.update(items=500), "items is 500, where the record has 10000"),
        (lambda e: e.update(comparable=False), "comparable is False"),
        (lambda e: e.update(step=17_000), "step is 17000, where the record has 17595"),
        (lambda e: e.update(training_commit="ba9876543210"), "training_commit is ba9876543210"),
        (lambda e: e["training"].update(seed=7), "seed is 7, where the record has 1"),
        (lambda e: e.pop("estimates"), "is damaged"),
        (lambda e: e["estimates"].clear(), "is damaged"),
        (lambda e: e["estimates"].update(nll=87.0), "is damaged"),
        (lambda e: e["estimates"]["nll"].update(value=float("nan")), "no NLL"),
        (lambda e: e.update(training_seconds=0), "no NLL, its error and seconds"),
        (lambda e: e.pop("parameters"), "is damaged"),
    ],
)
def test_what_is_no_run_of_a_record_is_told_in_one_line(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    store(tmp_path / "first")
    wrong = evaluation(1)
    change(wrong)
    (tmp_path / "first" / "seed_1.json").write_text(json.dumps(wrong))
    with pytest.raises(InputError, match=said) as told:
        files.read(tmp_path / "first")
    assert "seed_1.json" in str(told.value)
    assert "\n" not in str(told.value)


def test_no_seed_is_dropped_and_every_run_has_a_commit(tmp_path: Path) -> None:
    store(tmp_path / "first")
    (tmp_path / "first" / "seed_2.json").unlink()
    with pytest.raises(InputError, match=r"holds no seed_2\.json"):
        files.read(tmp_path / "first")
    every = [evaluation(seed) | {"training_commit": "0123456789ab-dirty"} for seed in range(6)]
    for seed, found in enumerate(every):
        (tmp_path / "first" / f"seed_{seed}.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match="0123456789ab-dirty: commit, then run"):
        files.read(tmp_path / "first")


def test_the_first_record_is_its_own_baseline_and_later_ones_race(tmp_path: Path) -> None:
    first = store(tmp_path / "first")
    assert files.judge(first, {}).holds
    fast = {"against": "first", "pairs": [pair(90, 100)] * 4}
    later = store(tmp_path / "later", BASELINE[:3], **fast)
    assert files.judge(later, {"first": first}).holds
    slow = store(tmp_path / "slow", BASELINE[:3], against="first", pairs=[pair(99, 100)] * 4)
    assert not files.judge(slow, {"first": first}).holds
    missed = store(tmp_path / "missed", [87.9] * 3, **fast)
    assert not files.judge(missed, {"first": first}).holds
    with pytest.raises(InputError, match="unknown record 'first'"):
        files.judge(later, {})
    other = store(tmp_path / "other", BASELINE[:3], target=86.5, **fast)
    with pytest.raises(InputError, match="first is a record of 88 nats"):
        files.judge(other, {"first": first})
    few = store(tmp_path / "few", BASELINE[:3], baseline="few")
    with pytest.raises(InputError, match="a baseline has 6 seeds"):
        files.judge(few, {"first": first})


def test_a_change_of_systems_alone_keeps_the_curve_instead(tmp_path: Path) -> None:
    first, missed = store(tmp_path / "first"), [88.5] * 3
    for name, by, holds in (("same", 0.5 * ROUNDING, True), ("moved", 2 * ROUNDING, False)):
        pairs = [pair(90, 100)] * 3 + [pair(90, 100, curve=-100 * (1 + by))]
        told = {"systems_only": True, "against": "first", "pairs": pairs}
        record = store(tmp_path / name, missed, **told)
        assert files.judge(record, {"first": first}).holds is holds
    alone = store(tmp_path / "alone", missed, systems_only=True)
    with pytest.raises(InputError, match="say --against NAME"):
        files.judge(alone, {"first": first})


def test_the_document_is_written_from_the_files(tmp_path: Path) -> None:
    store(tmp_path / "first")
    store(tmp_path / "later", BASELINE[:3], date="2026-01-02", against="first",
          pairs=[pair(90, 100)] * 4)  # fmt: skip
    records = files.read_all(tmp_path)
    assert list(records) == ["first", "later"]
    document = files.updated(f"Rules.\n{files.BEGIN}old\n{files.END}The end.\n", records)
    assert document.startswith("Rules.\n")
    assert document.endswith("The end.\n")
    assert "old\n" not in document.replace("new / old", "")
    assert (
        "| 88 | `later` | 2 cores of this | 100.0 | `first`, 100.0 s; in turn 0.900 |" in document
    )
    assert "    OMP_WAIT_POLICY=ACTIVE python\n" in document
    assert document.count("| 87.500 +- 0.250 |") == 2
    assert files.updated(document, records) == document


def test_our_document_says_what_its_files_say() -> None:
    text = files.DOCUMENT.read_text()
    assert text == files.updated(text, files.read_all())
    for name, test in re.findall(r"`(tests/\S+)::(\w+)`", text):
        assert f"def {test}(" in (ROOT / name).read_text()


@pytest.mark.slow
def test_the_data_asked_for_are_those_of_the_config(real_data: Path) -> None:
    cfg = compose_config("train", ["experiment=speedrun_88", f"data.root={real_data}"])
    assert Measure.of(build.data(cfg), build.model(cfg.model)).is_told_by(files.ASKED["measure"])


# The race, with runs that are made up


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """What a command line says; training and evaluation only write what they would."""
    trained: list[str] = []

    def train(checkout: Path, overrides: list[str], place: Path, on_gpu: bool) -> dict[str, Any]:
        place.mkdir(parents=True)
        trained.append(f"{place.name} by {checkout.name}: {' '.join(overrides)}")
        return {"seconds": 90.0 if place.name.startswith("new") else 100.0, "curve": [-100.0]}

    def evaluate(place: Path, overrides: list[str]) -> dict[str, Any]:
        found = evaluation(int(place.name[-1]), BASELINE[int(place.name[-1])])
        (place / "evaluation.json").write_text(json.dumps(found))
        return found

    for name, stand_in in {
        "_train": train, "_evaluate": evaluate, "_pinned": lambda asked: "2 cores of this",
        "_git": lambda *arguments: "", "RECORDS": tmp_path / "records",
    }.items():  # fmt: skip
        monkeypatch.setattr(speedrun, name, stand_in)
    return Namespace(
        experiment="speedrun_88", name="first", overrides=[], target=88.0, seeds=6, against=None,
        baseline=None, systems_only=False, gpu=None, into=tmp_path / "runs", trained=trained,
    )  # fmt: skip


def test_a_race_keeps_what_is_a_record(asked: Namespace, tmp_path: Path) -> None:
    speedrun.race(asked, {})
    assert len(asked.trained) == 6
    records = files.read_all(tmp_path / "records")
    asked.trained.clear()
    later = {"name": "later", "experiment": "mnist_notebook", "against": "first", "seeds": 3}
    speedrun.race(Namespace(**{**vars(asked), **later, "into": tmp_path / "more"}), records)
    assert [line.partition(" ")[0] for line in asked.trained] == [
        f"{whose}_{turn}" for turn in range(4) for whose in ("new", "old")
    ]
    assert re.fullmatch(
        r"old_3 by checkout_0123456789ab_\d+: experiment=speedrun_88 seed=3", asked.trained[-1]
    )
    found = files.read_all(tmp_path / "records")["later"]
    assert len(found.evaluations) == 3  # the fourth ran for its time alone
    assert found.told["baseline"] == "first"


def test_a_trial_leaves_no_record(asked: Namespace, tmp_path: Path) -> None:
    asked.overrides, asked.seeds = ["trainer.max_epochs=1", "evaluate.num_draws=10"], 1
    speedrun.race(asked, {})
    assert asked.trained[0].endswith("experiment=speedrun_88 trainer.max_epochs=1 seed=0")
    assert not (tmp_path / "records").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": 3}, "3 seeds are too few, since it is its own baseline: say --seeds 6"),
        ({"seeds": 2, "baseline": "old"}, "2 seeds are too few: say --seeds 3"),
        ({"baseline": "odl"}, "unknown record 'odl'. Did you mean 'old'"),
        ({"against": "odl"}, "unknown record 'odl'"),
        ({"experiment": "speedrun"}, "unknown experiment 'speedrun'. Did you mean 'speedrun_88'"),
        ({"name": "old"}, "a record is named old already"),
        ({"target": 87.0}, r"--target is one of 88, 86\.5"),
        ({}, "this class has a record on this machine: say --against old"),
        ({"target": 86.5, "systems_only": True}, "say --against NAME"),
        ({"target": 86.5, "into": ROOT}, "is there already"),
    ],
)
def test_what_could_be_no_record_is_refused_before_any_training(
    asked: Namespace, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    old = store(tmp_path / "old", baseline="old")
    with pytest.raises(InputError, match=said):
        speedrun.race(Namespace(**{**vars(asked), **change}), {"old": old})
    assert asked.trained == []


# What the rules rest on


def test_the_clock_leaves_out_a_warm_up_and_nothing_else() -> None:
    class Clock(L.Callback):
        """Says what it is, instead of time.monotonic, and goes on by hand."""

        now = 0.0

        def on_fit_start(self, *args: Any) -> None:
            Clock.now += 1

        def on_train_batch_start(self, *args: Any) -> None:
            Clock.now += 10

        def on_validation_epoch_start(self, *args: Any) -> None:
            Clock.now += 100

    data = datamodule(Digits(), Support.BINARY, limit=32)
    module = training()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vae_lab.training.module.time.monotonic", lambda: Clock.now)
        trainer(Clock()).fit(module, datamodule=data)
        assert module.record_now()["seconds"] == 110


def test_without_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    small = ["model.encoder.widths=[8]", "model.decoder.widths=[8]", "data.limit=32"]
    found = run(tmp_path / "run", *small, "+trainer.limit_val_batches=0", "test=false")
    assert not any(name.startswith("val/") for name in found.metrics)
    assert found.best is None
    assert [f.name for f in (found.folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert found.load().record["checkpoint"] == "last.ckpt"
