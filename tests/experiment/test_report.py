"""What a run says: what selects, once where it lies, and what a table does not show."""

import json
from functools import partial
from pathlib import Path

import pytest
from conftest import QUICK
from parts import training

from vae_lab import train
from vae_lab.experiment.report import remarks
from vae_lab.objectives import ELBO, IWAE, Constant

USED = {"test/rate": 5.0, "test/active_units": 3.0}


def said_by(folder: Path, capsys: pytest.CaptureFixture[str], *overrides: str) -> str:
    train([*QUICK, "data=digits", "data.limit=64", *overrides, f"hydra.run.dir={folder}"])
    return capsys.readouterr().out


def test_what_selects_is_said_where_it_is_not_the_elbo(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(tmp_path / "a", capsys, "objective.beta.value=0.1")
    assert "ELBO: beta 0.1, no bound. val/objective selects (monitor=objective)" in said
    assert "best val/objective (beta 0.1, no bound), nats" in said
    assert "test/objective (beta 0.1, no bound), nats" in said
    said = said_by(tmp_path / "b", capsys, "objective.beta.value=0.1", "monitor=elbo")
    assert "ELBO: beta 0.1, no bound. val/elbo selects (monitor=elbo)" in said
    assert "best val/elbo, nats" in said


def test_a_bound_of_several_draws_says_how_many_wherever_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(tmp_path / "run", capsys, "objective=iwae", "estimator.num_draws=5")
    words = "importance-weighted bound, 5 draws"
    assert said.replace("\n", " ").count(words) >= 2  # at the start, and in the table
    assert json.loads((tmp_path / "run" / "result.json").read_text())["objective"] == words


def test_the_test_elbo_has_its_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(tmp_path / "run", capsys)
    found = json.loads((tmp_path / "run" / "result.json").read_text())["metrics"]
    value, error = found["test/elbo"], found["test/elbo_standard_error"]
    assert 0 < error < 5
    assert f"{value:.2f} +- {error:.2f}" in said


def test_what_has_no_test_items_is_not_to_be_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "Score it" in said_by(tmp_path / "a", capsys)
    said = said_by(tmp_path / "b", capsys, "data.test_size=0")
    assert "Score it" not in said
    assert said.count(str(tmp_path / "b")) == 2


def test_the_folder_is_named_once_at_the_start_and_once_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = said_by(tmp_path / "run", capsys)
    start, end = said.split("━", 1)
    assert start.count(str(tmp_path / "run")) == end.count(str(tmp_path / "run")) == 1


def test_a_long_name_is_not_cut_at_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "conv_vae, discretized_logistic, " * 4 + "seed=2"
    assert len(name) > 80
    said = said_by(tmp_path / "run", capsys, f"name='{name}'")
    assert said.splitlines().count(name) == 1  # the title; at the start more follows on its line


def test_a_best_epoch_in_the_first_tenth_is_remarked_on() -> None:
    weighted = training(partial(ELBO, beta=Constant(0.1)))
    assert weighted.monitor == "val/objective"
    (line,) = remarks(weighted, 2, 20, USED)
    assert line.startswith("The best epoch was 2 of 20: by val/objective")
    assert "early_stopping=patience" in line
    weighted.monitor = "val/elbo"
    (line,) = remarks(weighted, 2, 20, USED)
    assert "What helps: monitor=objective" in line
    for best_epoch, epochs in ((3, 20), (1, 9), (None, 20)):
        assert remarks(weighted, best_epoch, epochs, USED) == []


@pytest.mark.parametrize(
    "metrics",
    [
        {"test/rate": 0.03, "test/active_units": 2.0},
        {"val/rate": 0.03, "val/active_units": 0.0},
        {"train/rate": 0.03},
    ],
    ids=str,
)
def test_a_collapse_is_called_so_with_what_helps(metrics: dict[str, float]) -> None:
    (line,) = remarks(training(), 20, 20, metrics)
    assert line.startswith("Collapsed: ")
    assert "objective/beta=linear_warmup" in line
    assert "objective=free_bits" in line
    assert remarks(training(), 20, 20, USED) == []


def test_a_rate_that_no_mean_shows_is_no_collapse() -> None:
    (line,) = remarks(training(), 20, 20, {"test/rate": 5.0, "test/active_units": 0.0})
    assert line.startswith("No unit's mean varies with x (0 active), though the rate is 5 nats")


def test_a_beta_is_advised_where_there_is_one() -> None:
    (line,) = remarks(training(IWAE), 20, 20, {"test/rate": 0.03})
    assert line.startswith("Collapsed: ")
    assert "beta" not in line


def test_a_run_that_collapses_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = said_by(
        tmp_path / "run", capsys, "objective.beta.value=1000", "optimizer.lr=0.01",
        "trainer.max_epochs=40",
    )  # fmt: skip
    assert said.count("Collapsed: ") == 1


@pytest.mark.parametrize(
    ("objective", "batches", "told"),
    [("free_bits", 2, True), ("free_bits", 1, False), ("elbo", 2, False)],
)
def test_an_objective_that_reads_its_batch_says_where_that_is_not_the_global_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], objective: str, batches: int, told: bool
) -> None:
    several = ["data.batch_size=16", f"trainer.accumulate_grad_batches={batches}"]
    said = said_by(tmp_path / "run", capsys, f"objective={objective}", *several)
    assert ("compares data: within each 16, not the global batch." in said) is told
