"""Minutes of real data: the reference point, and what evaluation says of trained models."""

import json
from pathlib import Path

import pytest

import vae_lab
from vae_lab.commands.evaluate import evaluate_task
from vae_lab.config.compose import compose_config

pytestmark = pytest.mark.slow
PLAIN = ["logger=none", "callbacks.progress=null", "callbacks.figures=null"]


def trained(tmp_path: Path, root: Path, *overrides: str) -> vae_lab.Run:
    where = [f"data.root={root}", f"hydra.run.dir={tmp_path / 'run'}"]
    return vae_lab.train([*overrides, *PLAIN, *where], quiet=True)


def scored(run: vae_lab.Run, *overrides: str) -> dict:
    settings = [f"evaluate.{override}" for override in ("progress=false", *overrides)]
    evaluate_task(compose_config("evaluate", [f"run={run.folder}", *settings]))
    report = json.loads((run.folder / "evaluation.json").read_text())
    return {name: figure["value"] for name, figure in report["estimates"].items()}


def test_the_notebook_reaches_its_published_tenth_epoch(tmp_path: Path, real_data: Path) -> None:
    run = trained(tmp_path, real_data, "experiment=mnist_notebook")
    assert -run.metrics["train/elbo"] == pytest.approx(105.3, abs=0.6)


def test_an_mlp_on_mnist(tmp_path: Path, real_data: Path) -> None:
    run = trained(tmp_path, real_data, "data=mnist", "trainer.max_epochs=5")
    figures = scored(run, "num_draws=100", "limit=1000")
    assert figures["nll"] < figures["negative_elbo"] < 115
    assert figures["active_units"] > 8


@pytest.mark.parametrize("model", ["cvae", "cvae_film", "cvae_class_means"])
def test_conditional_models_read_their_labels(tmp_path: Path, real_data: Path, model: str) -> None:
    run = trained(tmp_path, real_data, f"model={model}", "data=mnist", "trainer.max_epochs=10")
    figures = scored(run, "num_draws=1", "limit=2000")
    assert figures["elbo_lost_by_shuffled_labels"] > 5
    assert figures["classifier_accuracy_samples"] > 0.7


def test_convolutions_on_cifar10(tmp_path: Path, real_data: Path) -> None:
    run = trained(
        tmp_path, real_data, "model=conv_vae", "data=cifar10", "data.limit=10000",
        "trainer.max_epochs=6",
    )  # fmt: skip
    assert run.metrics["val/bits_per_dim"] < 7.2  # 8 is knowing nothing
