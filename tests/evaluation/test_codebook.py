"""How many codes are used, how evenly, and what a fitted prior makes of the bound."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from conftest import QUICK, SMALL
from parts import batch, exact_trace, vae

from vae_lab import InputError, fit_prior, load, train
from vae_lab.commands.evaluate import evaluate_task
from vae_lab.commands.export import export_task
from vae_lab.commands.fit_prior import FittedPrior
from vae_lab.config.compose import compose_config
from vae_lab.estimators import sampled
from vae_lab.evaluation.codebook import CodeUse, code_use
from vae_lab.evaluation.fitted import bound_under
from vae_lab.model.posteriors import FiniteScalar, PointMass
from vae_lab.model.priors import ClassMeans, StandardNormal, UniformCodes
from vae_lab.model.priors.standardized import Standardized
from vae_lab.objectives import elbo
from vae_lab.trace import Trace

AUTOREGRESSIVE = [
    "model/prior=autoregressive", "model.prior.width=32", "fit_prior.epochs=6",
    "fit_prior.batch_size=64",
]  # fmt: skip
FEW_CODES = ["model.posterior.codes=16", "model.z_shape=[8,6]"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VQ-VAE of digits."""
    folder = tmp_path_factory.mktemp("vq") / "run"
    epochs = "trainer.max_epochs=6"
    train([*QUICK, *SMALL, "model=vq_vae", *FEW_CODES, epochs, f"hydra.run.dir={folder}"],
          quiet=True)  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def fitted(run: Path, tmp_path_factory: pytest.TempPathFactory) -> FittedPrior:
    folder = tmp_path_factory.mktemp("fitted") / "run"
    shutil.copytree(run, folder)
    return fit_prior(folder, AUTOREGRESSIVE, quiet=True)


def trace_of(indices: torch.Tensor) -> Trace:
    """Of a grid of four codes, (B, M)."""
    model = vae(posterior=lambda shape: FiniteScalar(shape, [4]), prior=UniformCodes,
                z_shape=(1, indices.shape[1]))  # fmt: skip
    trace: Trace = model(batch((1, 8, 8), len(indices)), sampled(1))
    (latent,) = trace.latents
    q = model.posterior(model.posterior.codes_of(indices).atanh())
    return replace(trace, latents=(replace(latent, q=type(q)(q.output, q.code, indices)),))


def metric_of(trace: Trace) -> CodeUse:
    grid = vae(posterior=lambda s: FiniteScalar(s, [4]), prior=UniformCodes, z_shape=(1, 2))
    metric = CodeUse(grid.context())
    metric.update(trace)
    return metric


def test_use_and_perplexity_of_known_codes() -> None:
    even = metric_of(trace_of(torch.tensor([[0, 1], [2, 3]]))).compute()
    assert {name: float(value) for name, value in even.items()} == pytest.approx(
        {"codebook_use": 1.0, "codebook_perplexity": 4.0}
    )
    metric = metric_of(trace_of(torch.tensor([[1, 1], [1, 1]])))
    assert float(metric.compute()["codebook_perplexity"]) == pytest.approx(1)
    assert float(metric.compute()["codebook_use"]) == pytest.approx(0.25)
    metric.update(trace_of(torch.tensor([[0, 0], [0, 0]])))  # both batches count
    assert float(metric.compute()["codebook_perplexity"]) == pytest.approx(2)


def test_other_latents_have_no_codebook() -> None:
    metric = CodeUse(vae().context())
    metric.update(exact_trace()[0])
    assert metric.compute() == {}
    assert code_use(vae(), torch.zeros(3, 4)) == {}


def test_a_perplexity_of_centres_and_its_error() -> None:
    model = vae(posterior=lambda s: FiniteScalar(s, [4]), prior=UniformCodes, z_shape=(1, 3))
    p = torch.tensor([0.7, 0.1, 0.1, 0.1])
    exact = float(torch.special.entr(p).sum().exp())
    found = []
    for _ in range(200):
        indices = torch.multinomial(p.expand(500, 4), 3, replacement=True)
        found.append(code_use(model, model.posterior.codes_of(indices).flatten(1).double()))
    values, errors = (
        torch.tensor([getattr(each["codebook_perplexity"], name) for each in found])
        for name in ("value", "standard_error")
    )
    assert abs(float(values.mean()) - exact) < 5 * float(values.std()) / math.sqrt(200) + 0.01
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.2)
    assert found[0]["codebook_use"].value == 1
    assert found[0]["codebook_perplexity"].unit == "of 4"


# A run, and the prior fitted to it


def test_a_run_reports_its_codebook(run: Path) -> None:
    metrics = json.loads((run / "result.json").read_text())["metrics"]
    for split in ("val", "test"):
        assert 0.5 < metrics[f"{split}/codebook_use"] <= 1
        assert 1 < metrics[f"{split}/codebook_perplexity"] <= 16
        assert metrics[f"{split}/rate"] == pytest.approx(6 * math.log(16), rel=1e-5)
        assert metrics[f"{split}/objective"] < metrics[f"{split}/elbo"] < 0


def test_the_prior_that_is_fitted_explains_codes_better(fitted: FittedPrior) -> None:
    own, learned = fitted.nll.values()
    assert own.value == pytest.approx(6 * math.log(16), rel=1e-5)
    assert learned.value < own.value - 1
    assert (fitted.path.parent / "evaluation" / "samples_prior.png").is_file()


def test_load_samples_from_it(fitted: FittedPrior, run: Path) -> None:
    model = fitted.load()
    assert not torch.equal(model.sample(8, seed=0), model.sample(8, seed=0, fitted=False))
    assert torch.equal(model.sample(8, seed=0, fitted=False), load(run).sample(8, seed=0))
    prior = model.fitted_prior
    assert prior is not None
    z = prior(None).sample((50,))
    assert prior(None).support.check(z).all()  # type: ignore[union-attr]


def test_evaluation_tells_the_bound_under_each_prior(fitted: FittedPrior, tmp_path: Path) -> None:
    settings = [f"run={fitted.path.parent}", f"evaluate.out={tmp_path}", "evaluate.progress=false",
                "evaluate.frechet=false"]  # fmt: skip
    with mock.patch("vae_lab.commands.evaluate.plot_all", return_value={}):
        evaluate_task(compose_config("evaluate", settings))
    report = json.loads((tmp_path / "evaluation.json").read_text())
    value = {name: each["value"] for name, each in report["estimates"].items()}
    assert report["num_draws"] == 1
    assert value["nll"] == pytest.approx(value["negative_elbo"], abs=1e-3)
    assert value["rate"] == pytest.approx(6 * math.log(16), rel=1e-5)
    gained = value["rate"] - value["rate_fitted_prior"]
    assert gained > 1
    assert value["negative_elbo_fitted_prior"] == pytest.approx(
        value["negative_elbo"] - gained, abs=1e-3
    )
    assert value["bits_per_dim_elbo_fitted_prior"] == pytest.approx(
        value["negative_elbo_fitted_prior"] / (64 * math.log(2)), rel=1e-5
    )
    own, learned = (each.value for each in fitted.nll.values())
    assert gained == pytest.approx(own - learned, abs=2)  # of other items
    assert value["codebook_perplexity"] <= 16 * value["codebook_use"]
    assert any("the NLL is the -ELBO" in note for note in report["notes"])
    assert any(note.startswith("elbo_fitted_prior: ") for note in report["notes"])


def test_under_a_prior_like_the_models_own_the_bound_is_its_own() -> None:
    model, data = vae(), [batch((1, 8, 8), 200), batch((1, 8, 8), 100)]
    like = Standardized(StandardNormal(model.context()))
    found = bound_under(like, model, data, dequantized=False, seed=0)
    own = torch.cat([elbo(model(part, sampled(200))) for part in data]).detach()
    bound = found["negative_elbo_fitted_prior"]
    assert bound.standard_error is not None
    assert abs(bound.value + float(own.mean())) < 5 * bound.standard_error
    by_class = Standardized(ClassMeans(model.context()))
    assert bound_under(by_class, model, data, dequantized=False, seed=0) == {}  # of log p(x|y)
    point = vae(posterior=PointMass)
    assert bound_under(like, point, data, dequantized=False, seed=0) == {}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model/prior=mixture"], "the codes are discrete, this prior is not: say model/prior=aut"),
        (["model/prior=uniform_codes"], "UniformCodes has nothing to fit: say model/prior=autoreg"),
        (["model/prior=uniform_categorical"], r"nothing to fit: say model/prior=autoregressive"),
    ],
)
def test_priors_that_are_no_use_to_codes_are_refused(
    run: Path, overrides: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        fit_prior(run, overrides, quiet=True)
    assert not (run / "prior.ckpt").exists()


def test_codes_of_continuous_models_are_no_use_to_it(digits_run: Path) -> None:
    with pytest.raises(
        InputError, match=r"over codes, and z is none\): say model/prior=mixture or"
    ):
        fit_prior(digits_run, ["model/prior=autoregressive"], quiet=True)


def test_it_is_fitted_to_one_hot_rows_too(tmp_path: Path) -> None:
    train([*QUICK, *SMALL, "model=categorical_vae", "model.z_shape=[5,4]", "data.limit=400",
           "estimator=straight_through", f"hydra.run.dir={tmp_path}"], quiet=True)  # fmt: skip
    own, learned = fit_prior(tmp_path, AUTOREGRESSIVE, quiet=True).nll.values()
    assert own.value == pytest.approx(5 * math.log(4), rel=1e-5)
    assert learned.value < own.value
    assert load(tmp_path).sample(3).shape == (3, 1, 8, 8)


def test_a_run_goes_on_with_the_codebook_it_had(tmp_path: Path) -> None:
    asked = [*QUICK, *SMALL, "model=vq_vae", *FEW_CODES, "data.limit=300", "scheduler=none"]
    whole, half = tmp_path / "whole", tmp_path / "half"
    train([*asked, "trainer.max_epochs=2", f"hydra.run.dir={whole}"], quiet=True)
    train([*asked, f"hydra.run.dir={half}"], quiet=True)
    train([f"resume={half}", "trainer.max_epochs=2"], quiet=True)
    expected, found = (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (whole, half)
    )
    assert {f"model.posterior.{name}" for name in ("codebook", "uses", "sums")} < found.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def test_a_prior_that_draws_in_steps_is_no_program(
    tmp_path: Path, fitted: FittedPrior, capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["model/prior=autoregressive", "model.prior.width=32", "data.limit=64"]
    train([*QUICK, *SMALL, "model=vq_vae", *FEW_CODES, *own, f"hydra.run.dir={tmp_path}"],
          quiet=True)  # fmt: skip
    with pytest.raises(InputError, match=r"value by value, .*export\.formats=\[safetensors\]"):
        export_task(compose_config("export", [f"run={tmp_path}", "export.formats=[torch]"]))
    export_task(compose_config("export", [f"run={tmp_path}", "export.formats=[safetensors]"]))
    again = load(tmp_path / "export")
    assert torch.equal(again.sample(3, seed=0), load(tmp_path).sample(3, seed=0))
    assert "prior.ckpt" not in capsys.readouterr().out
    asked = [f"run={fitted.path.parent}", f"export.out={tmp_path / 'other'}",
             "export.formats=[safetensors]"]  # fmt: skip
    export_task(compose_config("export", asked))
    assert "Not the prior fitted afterwards, prior.ckpt" in capsys.readouterr().out
