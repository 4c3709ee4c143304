"""evaluate.py: every figure with its error and its origin."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from conftest import QUICK

from vae_lab import InputError, fit_prior, train
from vae_lab.commands.evaluate import evaluate_task
from vae_lab.config.compose import compose_config
from vae_lab.evaluation.codes import Codes, code_estimates
from vae_lab.evaluation.evidence import Evidence, evidence
from vae_lab.evaluation.statistics import active_units, mean_estimate
from vae_lab.trace import Batch

Command = Callable[..., "subprocess.CompletedProcess[str]"]

CARRIED = {  # what PROTOCOLS says a figure must carry
    "measure", "preparation_seed", "num_draws", "parameters", "epochs", "training_seconds",
    "device", "ema", "commit", "items", "training", "likelihood", "latent_units", "checkpoint",
    "step", "batch_size", "memory_mib", "draws",
}  # fmt: skip


def evaluate(run: Path, out: Path, *overrides: str, drawn: bool = False) -> dict:
    """The report. Figures, which take most of the time, are `drawn` where that is asked."""
    given = [f"out={out}", "num_draws=20", "progress=false", "frechet=false", *overrides]
    settings = [f"run={run}", *(f"evaluate.{override}" for override in given)]
    without = mock.patch("vae_lab.commands.evaluate.plot_all", return_value={})
    with nullcontext() if drawn else without:
        evaluate_task(compose_config("evaluate", settings))
    return json.loads((out / "evaluation.json").read_text())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("+evaluate.foo=1", "unknown key 'evaluate.foo'"),
        ("evaluate.data_path=a", "evaluate.data_path: the run's data have no path; leave it out"),
        ("evaluate.data_root=a", "evaluate.data_root: the run's data have no root; leave it out"),
    ],
)
def test_a_key_that_would_do_nothing_is_refused(
    digits_run: Path, tmp_path: Path, override: str, said: str
) -> None:
    out = f"evaluate.out={tmp_path / 'out'}"
    with pytest.raises(InputError, match=said):
        evaluate_task(compose_config("evaluate", [f"run={digits_run}", out, override]))
    assert not (tmp_path / "out").exists()


def test_what_does_not_vary_has_no_standard_error() -> None:
    assert active_units(torch.randn(1, 4).double(), seed=0).standard_error is None
    assert active_units(torch.randn(9, 4).double(), seed=0).standard_error == 0
    for right in ([1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]):
        assert mean_estimate(torch.tensor(right), "share").standard_error is None
    assert mean_estimate(torch.tensor([1.0, 0.0, 1.0]), "share").standard_error is not None


@pytest.mark.process
def test_the_command_writes_figures_with_errors_and_origin(
    command: Command, digits_run: Path, tmp_path: Path
) -> None:
    finished = command(
        "evaluate.py", f"run={digits_run}", f"evaluate.out={tmp_path}", "evaluate.num_draws=50",
        cold=True,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    report = json.loads((tmp_path / "evaluation.json").read_text())
    assert set(report) >= CARRIED
    figures = report["estimates"]
    assert all(math.isfinite(f["value"]) for f in figures.values())
    assert all(f["standard_error"] >= 0 for f in figures.values())
    assert figures["nll"]["value"] < figures["negative_elbo"]["value"]
    total = figures["rate"]["value"] + figures["distortion"]["value"]
    assert figures["negative_elbo"]["value"] == pytest.approx(total, rel=1e-6)
    bits = figures["nll"]["value"] / (64 * math.log(2))
    assert figures["bits_per_dim_nll"]["value"] == pytest.approx(bits)
    assert report["items"] == report["of_test_items"] == 297
    assert report["epochs"] in (1, 2)
    assert (tmp_path / "evaluation" / "reconstructions.png").is_file()
    assert "negative_elbo" in finished.stdout
    assert list(report["bound"]) == ["1", "2", "5", "10", "20", "50"]
    assert report["bound"]["50"]["value"] == pytest.approx(-figures["nll"]["value"])
    assert (tmp_path / "evaluation" / "bound.png").is_file()
    assert (tmp_path / "evaluation" / "codes.png").is_file()
    assert 0.2 < figures["probe_accuracy_knn"]["value"] <= 1  # of ten classes


def test_it_needs_the_checkpoint_alone(digits_run: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere" / "model.ckpt"
    alone.parent.mkdir()
    shutil.copy(digits_run / "checkpoints" / "best.ckpt", alone)
    report = evaluate(alone, tmp_path / "a")
    same = evaluate(digits_run, tmp_path / "b")
    assert report["estimates"] == same["estimates"]


def test_every_run_of_a_folder_is_scored_and_one_that_cannot_be_is_told_of(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [tmp_path / "sweep" / name for name in ("0", "1", "2", "3")]
    for run in runs:
        shutil.copytree(digits_run, run, ignore=shutil.ignore_patterns("evaluation*"))
    (runs[1] / "checkpoints" / "best.ckpt").write_bytes(b"cut short")
    shutil.rmtree(runs[2] / "checkpoints")  # saved nothing yet
    asked = [f"run={tmp_path / 'sweep'}", "evaluate.num_draws=1", "evaluate.progress=false"]
    with pytest.raises(InputError, match="1 of 3 runs could not be scored"):
        evaluate_task(compose_config("evaluate", [*asked, "evaluate.limit=20"]))
    assert str(runs[1]) in "".join(capsys.readouterr().err.split())
    assert [(run / "evaluation.json").is_file() for run in runs] == [True, False, False, True]
    reports = [json.loads((runs[at] / "evaluation.json").read_text()) for at in (0, 3)]
    assert reports[0]["estimates"] == reports[1]["estimates"]
    with pytest.raises(InputError, match="holds 3 runs: leave out evaluate.out"):
        evaluate_task(compose_config("evaluate", [*asked, f"evaluate.out={tmp_path}"]))


def test_a_subset_is_stated(digits_run: Path, tmp_path: Path) -> None:
    report = evaluate(digits_run, tmp_path, "limit=50")
    assert (report["items"], report["of_test_items"]) == (50, 297)


def test_a_subset_is_drawn_at_random_since_files_are_often_sorted_by_class(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def watched(model: Any, batches: Iterable[Batch], *more: Any) -> Iterator[Evidence]:
        kept = list(batches)
        seen.extend(batch.index for batch in kept)
        return evidence(model, kept, *more)

    monkeypatch.setattr("vae_lab.evaluation.score.evidence", watched)
    evaluate(digits_run, tmp_path, "limit=50", "num_draws=1")
    shown = torch.cat(seen)
    assert len(shown.unique()) == 50
    assert 100 < float(shown.double().mean()) < 197  # of 0..296: 148 +- 11, were they random


def test_a_figure_says_of_which_checkpoint_of_which_training_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = train(
        [*QUICK, "data=digits", "data.limit=64", "data.batch_size=16", "optimizer.lr=0.002",
         "seed=7", "trainer.max_epochs=2", f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    report = evaluate(trained.folder / "checkpoints" / "last.ckpt", tmp_path, "batch_size=50")
    assert (report["checkpoint"], report["epochs"], report["step"]) == ("last.ckpt", 2, 8)
    assert (report["likelihood"], report["latent_units"]) == ("Bernoulli", 32)
    assert (report["batch_size"], report["memory_mib"]) == (50, 32)
    training = report["training"]
    assert (training["seed"], training["batch_size"]) == (7, 16)
    assert training["optimizer"]["_target_"] == "torch.optim.Adam"
    assert training["optimizer"]["lr"] == 0.002
    assert training["objective"]["_target_"] == "vae_lab.objectives.ELBO"
    assert "last.ckpt of epoch 2, step 8" in capsys.readouterr().out


def test_what_is_printed_fits_a_terminal_and_says_what_the_draws_are_worth(
    conditional_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "80")
    draws = evaluate(conditional_run, tmp_path, "num_draws=40", "limit=60", "samples_per_class=5")[
        "draws"
    ]
    told = capsys.readouterr().out
    lines = [line for line in told.splitlines() if not line.startswith(("Written: ", "Note: "))]
    assert max(map(len, lines)) <= 80
    assert 1 <= draws["effective_least"] <= draws["effective_mean"] <= 40
    assert 0 < draws["rise_mean"] <= draws["rise_largest"]
    assert 0 < draws["monte_carlo_error"] < 1
    for row in ("effective draws", "rise of log p(x) from 4 draws", "Monte Carlo error of nll"):
        assert row in told


def test_weights_that_cannot_be_trusted_are_said_to_be_so(
    digits_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = torch.load(digits_run / "checkpoints" / "best.ckpt", weights_only=True)
    weights = content["state_dict"]
    last = [name for name in weights if name.startswith("model.decoder")][-2:]
    for name in last:  # a decoder that the posterior was not trained for
        weights[name] = 40 * torch.randn_like(weights[name])
    torch.save(content, tmp_path / "other.ckpt")
    report = evaluate(tmp_path / "other.ckpt", tmp_path, "limit=50")
    assert report["draws"]["items_in_doubt"] > 0
    assert len(report["draws"]["doubts"]) == 2
    told = capsys.readouterr().out
    assert "Note: " in told
    assert re.search(r"Monte Carlo error of nll, nats +│ +>= \d", told)  # few draws know no better


def test_one_draw_says_nothing_of_itself(digits_run: Path, tmp_path: Path) -> None:
    assert evaluate(digits_run, tmp_path, "num_draws=1", "limit=20")["draws"] is None


def test_evaluation_leaves_the_figures_of_the_training(tmp_path: Path) -> None:
    overrides = [o for o in QUICK if "figures" not in o]
    folder = tmp_path / "run"
    train([*overrides, "data=digits", "data.limit=40", f"hydra.run.dir={folder}"], quiet=True)
    before = {path: path.read_bytes() for path in (folder / "figures").iterdir()}
    evaluate(folder, folder, drawn=True)
    assert {path: path.read_bytes() for path in (folder / "figures").iterdir()} == before
    assert (folder / "evaluation" / "samples.png").is_file()


def test_a_limit_binds_what_learns_too(
    conditional_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    encoded = code_estimates

    def counted(model: Any, data: Any, test: Codes, most: int, seed: int) -> dict:
        seen.extend((most, len(test.values)))
        return encoded(model, data, test, most, seed)

    monkeypatch.setattr("vae_lab.evaluation.score.code_estimates", counted)
    limited = ("limit=60", "num_draws=1", "samples_per_class=5")
    notes = " ".join(evaluate(conditional_run, tmp_path, *limited)["notes"])
    assert "trained on 60 training images" in notes
    assert seen == [60, 60]


def test_the_batch_size_and_the_memory_change_nothing_but_noise(
    digits_run: Path, tmp_path: Path
) -> None:
    a = evaluate(digits_run, tmp_path / "a")["estimates"]
    b = evaluate(digits_run, tmp_path / "b", "batch_size=37", "memory_mib=0.01")["estimates"]
    assert abs(a["nll"]["value"] - b["nll"]["value"]) < 0.2
    assert a["rate"]["value"] == pytest.approx(b["rate"]["value"], rel=1e-5)  # a closed form


def test_labels_that_matter_cost_nats_when_shuffled(
    conditional_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(conditional_run, tmp_path / "run")
    fit_prior(run, ["model/prior=class_gaussian"], quiet=True)
    report = evaluate(run, tmp_path, "samples_per_class=20", "frechet=true")
    assert report["measure"]["conditional"]
    assert "q(z|x, y) was given the label" in " ".join(capsys.readouterr().out.split())
    lost = report["estimates"]["elbo_lost_by_shuffled_labels"]
    assert lost["value"] > 5 * lost["standard_error"] > 0
    for name in ("samples", "test_images"):
        assert 0 <= report["estimates"][f"classifier_accuracy_{name}"]["value"] <= 1
    assert report["estimates"]["classifier_accuracy_test_images"]["value"] > 0.95
    assert report["estimates"]["classifier_accuracy_samples"]["value"] > 0.5
    far, floor = (
        report["estimates"][f"frechet_distance_{name}"] for name in ("samples", "train_images")
    )
    assert far["value"] - floor["value"] > 2 * far["standard_error"] > 0
    assert report["estimates"]["classifier_accuracy_samples_fitted_prior"]["value"] > 0.8
    assert len(report["notes"]) == 5  # on the fitted bound, classifier, distances, prior, probes


def test_a_model_without_labels_is_compared_with_test_images_by_option(
    digits_run: Path, tmp_path: Path
) -> None:
    report = evaluate(digits_run, tmp_path, "num_draws=1", "frechet=true")
    assert report["estimates"]["frechet_distance_samples"]["unit"] == "over 64 features"
    assert "classifier_accuracy_samples" not in report["estimates"]
    few = evaluate(digits_run, tmp_path, "num_draws=1", "frechet=true", "limit=50")
    assert few["notes"] == []  # a covariance of 64 features says little of 50 images
    assert "frechet_distance_samples" not in few["estimates"]


def test_shuffling_costs_as_much_in_batches_of_one(conditional_run: Path, tmp_path: Path) -> None:
    lost = [
        evaluate(
            conditional_run, tmp_path / f"{size}", f"batch_size={size}", "num_draws=1", "limit=60"
        )["estimates"]["elbo_lost_by_shuffled_labels"]["value"]
        for size in (1, 60)
    ]  # fmt: skip
    assert lost[0] == pytest.approx(lost[1], abs=2.0)
    assert min(lost) > 2


def test_a_single_item_has_no_standard_error_and_a_damaged_prior_is_not_judged(
    digits_run: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(digits_run, tmp_path / "run")
    torch.save({"format": 1}, run / "prior.ckpt")
    report = evaluate(run, tmp_path, "limit=1")
    assert report["estimates"]["nll"]["standard_error"] is None
    (note,) = report["notes"]
    assert re.match(r"the prior that was fitted afterwards is not judged: .*is incomplete", note)
    assert "NaN" not in (tmp_path / "evaluation.json").read_text()


def test_a_users_file_may_move(tmp_path: Path, colour_file: Path) -> None:
    finished = train(
        [*QUICK, "data=tensors", f"data.path={colour_file}", f"hydra.run.dir={tmp_path / 'run'}"],
        quiet=True,
    )
    moved = colour_file.rename(tmp_path / "moved.npz")
    report = evaluate(finished.folder, tmp_path, f"data_path={moved}", drawn=True)
    assert report["measure"]["data"] == "tensors"
    assert "classifier_accuracy_samples" not in report["estimates"]


def test_grey_pixels_are_not_compared(tmp_path: Path) -> None:
    grey = train(
        [*QUICK, "model/likelihood=bernoulli_grey", "data.limit=64",
         f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    report = evaluate(grey.folder, tmp_path)
    assert not report["comparable"]
    assert "not a likelihood" in report["measure"]["support"]
    assert not {"nll", "bits_per_dim_elbo", "bits_per_dim_nll"} & set(report["estimates"])


def test_other_data_than_the_trained_are_refused(digits_run: Path, tmp_path: Path) -> None:
    content = torch.load(digits_run / "checkpoints" / "best.ckpt", weights_only=True)
    content["vae_lab"]["config"]["data"]["split_seed"] = 9
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="hash"):
        evaluate(tmp_path / "other.ckpt", tmp_path)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("num_draws=0", "num_draws must"),
        ("num_draws=x", "num_draws must"),
        ("num_draws=true", "num_draws must"),
        ("seed=abc", "seed must"),
        ("limit=0", "limit must"),
        ("limit=abc", "limit must"),
        ("memory_mib=abc", "memory_mib"),
        ("device=tpu", "device must"),
        ("device=cudax", "device must"),
    ],
)
def test_bad_settings(digits_run: Path, tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        evaluate(digits_run, tmp_path / "out", override)
    assert not (tmp_path / "out").exists()


def test_active_units_of_the_whole_test_set() -> None:
    means = torch.zeros(500, 3, dtype=torch.float64)
    means[:, 0] = torch.randn(500)
    figure = active_units(means, seed=0)
    assert figure.value == 1
    assert figure.standard_error == 0
    assert figure.unit == "of 3"


@pytest.mark.parametrize("name", ["evaluation", "evaluation.json"])
def test_what_is_in_the_way_of_the_report_names_where_else_it_may_go(
    name: str, digits_run: Path, tmp_path: Path
) -> None:
    way = tmp_path / name
    way.touch() if name == "evaluation" else way.mkdir()
    with pytest.raises(InputError, match=f"{way} cannot be written .*: set evaluate.out to"):
        evaluate(digits_run, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [way][: way.is_file()]


def test_an_nll_without_a_limit_is_said_to_be_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "osterior reaches only a part of where the prior does: the NLL is an upper bound"
    overrides = ["model/posterior=uniform", "data.limit=16", f"hydra.run.dir={tmp_path / 'run'}"]
    train([*QUICK, *overrides])
    assert f"The p{said}" in " ".join(capsys.readouterr().out.split())
    draws = evaluate(tmp_path / "run", tmp_path, "limit=5")["draws"]
    assert not draws["has_limit"]
    assert said in draws["doubts"][0]
    assert f"Note: the p{said}" in " ".join(capsys.readouterr().out.split())
