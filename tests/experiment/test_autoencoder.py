"""A model without an ELBO: trained, told, scored and used, and nothing says it has one."""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from conftest import QUICK
from rich.console import Console

from vae_lab import InputError, load, train
from vae_lab.commands.evaluate import evaluate_task
from vae_lab.config.compose import compose_config
from vae_lab.config.restore import load_weights
from vae_lab.data import Digits
from vae_lab.evaluation.curves import curves
from vae_lab.sweeps.table import write_table


def test_the_preset_names_its_objective_and_the_command_line_wins() -> None:
    preset = compose_config("train", ["model=autoencoder"])
    assert preset.objective._target_.endswith("Reconstruction")
    assert preset.model.posterior._target_.endswith("PointMass")
    asked = compose_config("train", ["model=autoencoder", "objective=elbo", "model/encoder=conv"])
    assert asked.objective._target_.endswith("ELBO")
    assert asked.model.encoder._target_.endswith("ConvEncoder")
    assert compose_config("train", []).objective._target_.endswith("ELBO")


def test_metrics_that_do_not_exist_are_not_logged(autoencoder_run: Path) -> None:
    result = json.loads((autoencoder_run / "result.json").read_text())
    metrics = result["metrics"]
    assert result["monitor"] == "val/objective"
    assert {name.partition("/")[2] for name in metrics if name.startswith("test/")} == {
        "distortion", "objective", "active_units",
    }  # fmt: skip
    assert metrics["test/objective"] == -metrics["test/distortion"]
    assert all(math.isfinite(value) for value in metrics.values())
    assert (autoencoder_run / "figures" / "curves.png").is_file()
    write_table(autoencoder_run, Console(quiet=True))
    assert "reconstruction alone, no bound" in (autoencoder_run / "table.csv").read_text()


def test_a_panel_without_values_says_so() -> None:
    figure = curves({1: {"val/distortion": 3.0}, 2: {"val/distortion": 2.0}}, [])
    said = {axes.get_title(): [text.get_text() for text in axes.texts] for axes in figure.axes}
    assert said["ELBO, nats"] == said["rate KL(q || p), nats"] == ["there is none"]
    assert said["distortion, nats"] == []


def test_a_run_says_so_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = [*QUICK, "model=autoencoder", "data.limit=40", "data.val_size=0", "model.z_shape=[4]"]
    run = train([*asked, f"hydra.run.dir={tmp_path}"])
    told = " ".join(capsys.readouterr().out.split())
    assert "The posterior is a point mass: there is no ELBO, no rate and no NLL" in told
    assert "Monte Carlo" not in told
    assert "train/objective of the last epoch" in told
    longer = train([f"resume={tmp_path}", "trainer.max_epochs=2"], quiet=True)
    assert longer.metrics["train/objective"] > run.metrics["train/objective"]


def test_it_is_scored_by_what_it_has(
    autoencoder_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [
        f"run={autoencoder_run}",
        f"evaluate.out={tmp_path}",
        "evaluate.progress=false",
        "evaluate.frechet=false",
    ]
    evaluate_task(compose_config("evaluate", settings))
    report = json.loads((tmp_path / "evaluation.json").read_text())
    found = set(report["estimates"])
    assert found >= {"distortion", "reconstruction_error", "active_units"}
    assert not {name for name in found if name.startswith(("negative_elbo", "nll", "rate", "bits"))}
    assert (report["comparable"], report["num_draws"]) == (False, 1)
    assert "Note: the posterior is a point mass: there is no ELBO" in capsys.readouterr().out
    error = report["estimates"]["reconstruction_error"]
    assert 0 < error["value"] < 0.25  # what grey everywhere has, of binary pixels
    assert 0 < error["standard_error"] < 0.02


def test_it_is_used_as_any_other_but_has_no_log_prob(autoencoder_run: Path) -> None:
    model, x = load(autoencoder_run), Digits().read()[0].pixels[:4]
    codes = model.encode(x, seed=0).mean
    torch.testing.assert_close(model.decode(codes), model.reconstruct(x, seed=0))
    assert model.sample(3, seed=0).shape == (3, 1, 8, 8)
    with pytest.raises(InputError, match="a point mass, which has no density: this model has no"):
        model.log_prob(x)


def test_its_weights_begin_another(autoencoder_run: Path, tmp_path: Path) -> None:
    shutil.copytree(autoencoder_run, tmp_path / "copy")
    other = load(tmp_path / "copy").model
    before = {name: value.clone() for name, value in other.state_dict().items()}
    torch.nn.init.zeros_(next(other.parameters()))
    load_weights(other, str(tmp_path / "copy"))
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())
