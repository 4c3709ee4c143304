"""Models that complete images: trained, told, scored and used as any other."""

import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from conftest import QUICK
from rich.console import Console

from vae_lab import InputError, Run, load, train
from vae_lab.commands.evaluate import evaluate_task
from vae_lab.config import build
from vae_lab.config.compose import compose_config
from vae_lab.data import Digits
from vae_lab.evaluation.measure import Measure
from vae_lab.export.formats import FORMATS, export
from vae_lab.model import Completion, CompletionNetwork, CompletionVAE
from vae_lab.storage.checkpoint import read_checkpoint
from vae_lab.sweeps.table import write_table

MODELS = ("completion_vae", "completion_network")
SMALL = ("model.guess.widths=[64]", "data.limit=300")
FIGURES = [o for o in QUICK if "figures" not in o]


def completing(folder: Path, model: str, *overrides: str, quiet: bool = True) -> Run:
    said = [*FIGURES, f"model={model}", *SMALL, *overrides, f"hydra.run.dir={folder}"]
    return train(said, quiet=quiet)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One of each model, of two epochs."""
    folder = tmp_path_factory.mktemp("completing")
    return {m: completing(folder / m, m, "trainer.max_epochs=2").folder for m in MODELS}


def test_the_experiment_is_the_protocol_and_serves_both_models() -> None:
    for choice, kind in ((["model=completion_network"], CompletionNetwork), ([], CompletionVAE)):
        for quadrants in (1, 2, 3):
            cfg = compose_config(
                "train", ["experiment=mnist_quadrants", *choice, f"model.quadrants={quadrants}"]
            )
            model = build.model(cfg.model)
            assert type(model) is kind
            assert model.likelihood.event_shape == (1, 784 - 196 * quadrants)


def test_a_run_says_what_is_given_and_what_is_no_bound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = completing(
        tmp_path / "plain", "completion_network", "model.quadrants=1", "data.limit=40", quiet=False
    )
    told = " ".join(capsys.readouterr().out.split())
    assert "Of an image its lower left quadrant is given: every number is of its other" in told
    assert "There is no latent: what is called ELBO is the log-likelihood, no bound." in told
    assert "log p(x|its lower left quadrant)" in told
    assert "Collapsed" not in told
    assert "active" not in told
    bits = run.metrics["test/bits_per_dim"]
    assert bits == pytest.approx(-run.metrics["test/elbo"] / (48 * math.log(2)), rel=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_what_a_run_leaves(runs: dict[str, Path], model: str) -> None:
    figures = {path.stem for path in (runs[model] / "figures").glob("*.png")}
    assert figures >= {"reconstructions", "completions", "curves"}
    assert "samples" not in figures
    metrics = json.loads((runs[model] / "result.json").read_text())["metrics"]
    assert all(math.isfinite(value) for value in metrics.values())
    has_latent = model == "completion_vae"
    assert ("test/active_units" in metrics) == ("latent/kl_mean" in metrics) == has_latent
    assert (metrics["test/rate"] > 0) == has_latent


@pytest.mark.parametrize("model", MODELS)
def test_it_is_scored_by_the_same_evaluator(
    runs: dict[str, Path], model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = [f"run={runs[model]}", f"evaluate.out={tmp_path}", "evaluate.progress=false",
                "evaluate.num_draws=20"]  # fmt: skip
    evaluate_task(compose_config("evaluate", settings))
    report = json.loads((tmp_path / "evaluation.json").read_text())
    found, has_latent = report["estimates"], model == "completion_vae"
    nll, bound = found["nll"]["value"], found["negative_elbo"]["value"]
    assert nll < bound if has_latent else nll == pytest.approx(bound, rel=1e-6)
    assert found["bits_per_dim_nll"]["value"] == pytest.approx(nll / (32 * math.log(2)))
    assert not {name for name in found if "samples" in name or "frechet" in name}
    assert ("active_units" in found) == ("probe_accuracy_knn" in found) == has_latent
    assert report["comparable"]
    assert report["measure"]["observed"] == "its left half"
    told = " ".join(capsys.readouterr().out.split())
    assert "of an image its left half is given: every number is of its other pixels alone" in told
    assert (tmp_path / "evaluation" / "completions.png").is_file()


@pytest.mark.parametrize("model", MODELS)
def test_it_completes_images(runs: dict[str, Path], model: str) -> None:
    trained, x = load(runs[model]), Digits().read()[0].pixels[:4]
    assert "given its left half" in repr(trained)
    bits = trained.preparation(x, torch.Generator().manual_seed(0))
    found = trained.complete(bits, 3, seed=0)
    assert found.shape == (4, 3, 1, 8, 8)
    assert torch.equal(found[..., :4], bits[:, None, ..., :4].expand(4, 3, 1, 8, 4))
    assert torch.equal(found, trained.complete(bits, 3, seed=0))
    draws = trained.complete(bits, 3, mean=False, seed=0)
    assert set(draws.unique().tolist()) == {0.0, 1.0}
    without = bits.clone()
    without[..., 4:] = 0
    assert torch.equal(trained.complete(without, 3, seed=0), found)
    assert trained.reconstruct(bits, seed=0).shape == (4, 1, 8, 8)
    assert (trained.log_prob(bits, num_draws=10, seed=0) < 0).all()
    means_differ = not torch.equal(found[:, 0], found[:, 1])
    assert means_differ == (model == "completion_vae")
    for n in (0, 1.5):
        with pytest.raises(InputError, match="n must be"):
            trained.complete(bits, n)


def test_what_it_cannot_do_is_told_in_one_line(runs: dict[str, Path], digits_run: Path) -> None:
    x = Digits().read()[0].pixels[:2]
    with pytest.raises(InputError, match="completes no images: train with model=completion_vae"):
        load(digits_run).complete(x, 2)
    for folder in runs.values():
        trained = load(folder)
        with pytest.raises(InputError, match=r"draws none without: say load\(RUN\)\.complete"):
            trained.sample(2)
        with pytest.raises(InputError, match="no latent layer that stands alone"):
            trained.encode(x)
    with pytest.raises(InputError, match=r"model\.quadrants must be 1, 2 or 3, not 4"):
        train([*QUICK, "model=completion_vae", "model.quadrants=4"], quiet=True)


@pytest.mark.parametrize("model", MODELS)
def test_it_is_exported(runs: dict[str, Path], model: str, tmp_path: Path) -> None:
    """Each file is compared with the model as it is written."""
    trained = load(runs[model])
    assert set(export(trained, tmp_path, list(FORMATS)).values())
    x = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        if isinstance(trained.model, CompletionNetwork):
            program = torch.export.load(tmp_path / "completer.pt2").module()
            torch.testing.assert_close(program(x)["x_mean"], trained.model.p_x(x).mean)
        else:
            assert isinstance(trained.model, CompletionVAE)
            program = torch.export.load(tmp_path / "prior.pt2").module()
            torch.testing.assert_close(program(x)["z_mean"], trained.model.p_z(x).mean)
    assert torch.equal(
        load(tmp_path).complete(x.round(), 2, seed=0), trained.complete(x.round(), 2, seed=0)
    )


@pytest.mark.parametrize("model", MODELS)
def test_a_run_goes_on_as_if_it_had_not_stopped(model: str, tmp_path: Path) -> None:
    asked = ["scheduler=none", "data.limit=64", "callbacks.figures=null"]
    whole = completing(tmp_path / "whole", model, *asked, "trainer.max_epochs=2")
    completing(tmp_path / "parts", model, *asked, "trainer.max_epochs=1")
    again = train([f"resume={tmp_path / 'parts'}", "trainer.max_epochs=2"], quiet=True)
    one, other = (read_checkpoint(run.folder / "checkpoints" / "last.ckpt")["state_dict"]
                  for run in (whole, again))  # fmt: skip
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.process
def test_two_processes_train_what_has_no_latent(
    command: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    finished = command(
        "train.py", *QUICK, "model=completion_network", "data.limit=64", "trainer=ddp",
        "trainer.devices=2", "trainer.accelerator=cpu", "ema=default",
        f"hydra.run.dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert isinstance(load(tmp_path / "run").model, Completion)


# What may be compared


def measure(*overrides: str) -> Measure:
    cfg = compose_config("train", ["data=digits", *overrides])
    data = build.data(cfg)
    cfg.data.x_shape = [1, 8, 8]
    return Measure.of(data, build.model(cfg.model))


def test_other_quadrants_are_other_measures() -> None:
    of_vae = [measure("model=completion_vae", f"model.quadrants={q}") for q in (1, 2, 3)]
    plain = [measure("model=completion_network", f"model.quadrants={q}") for q in (1, 2, 3)]
    assert of_vae == plain  # with the plain network's alone, and with
    assert len({*of_vae, measure("model=mlp_vae"), measure("model=cvae")}) == 5
    assert of_vae[0].words().endswith("log p(x|its lower left quadrant)")
    assert measure("model=cvae").words().endswith("log p(x|y)")


def test_a_measure_of_before_is_known_again() -> None:
    now = measure("model=mlp_vae")
    before = {name: value for name, value in asdict(now).items() if name != "observed"}
    assert now.is_told_by(before)
    assert now.is_told_by(asdict(now))
    assert not replace(now, observed="its left half").is_told_by(before)
    assert not now.is_told_by({**before, "split": "another"})


def test_a_table_pools_no_quadrants(tmp_path: Path) -> None:
    asked = ["data.limit=40", "callbacks.figures=null"]
    for quadrants in (1, 3):
        for model in MODELS:
            folder = tmp_path / f"{model}-{quadrants}"
            completing(folder, model, *asked, f"model.quadrants={quadrants}")
    write_table(tmp_path, Console(quiet=True))
    rows = (tmp_path / "table.csv").read_text().splitlines()
    assert len(rows) == 5
    assert sum("its lower left quadrant" in row for row in rows) == 2
    assert sum("all but its lower right quadrant" in row for row in rows) == 2
