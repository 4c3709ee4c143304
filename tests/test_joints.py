"""The joints carry what the first VAE does not need: each toy part here uses one, and trains."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from parts import batch, datamodule, run, trainer, training
from torch import Tensor, nn
from torch.distributions import (
    Distribution,
    Independent,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    TransformedDistribution,
)
from torch.distributions.transforms import SigmoidTransform
from torch.func import functional_call
from torch.nn.functional import logsigmoid

from vae_lab import train
from vae_lab.callbacks import Figures, Latents
from vae_lab.data import Digits
from vae_lab.estimators import Pathwise, sampled
from vae_lab.evaluation.evidence import bytes_per_draw, evidence
from vae_lab.evaluation.metrics import BoundMetrics, LatentUnits
from vae_lab.model import LatentVariableModel
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.family import ElementwiseFamily, Family
from vae_lab.model.likelihoods import Bernoulli
from vae_lab.model.priors import Prior, StandardNormal, VampPrior
from vae_lab.objectives import ELBO, Constant, Objective, elbo
from vae_lab.support import Support
from vae_lab.trace import Batch, Draw, Latent, Trace, centre
from vae_lab.training.module import VAEModule
from vae_lab.training.step import step

EPOCH = torch.tensor(0.0)


def fit(module: VAEModule, folder: Path, *callbacks: Any) -> dict[str, float]:
    """One epoch with validation, figures and latents; what was logged."""
    data = datamodule(Digits(), Support.BINARY, batch_size=32, val_size=64, limit=64)
    fitted = trainer(
        Figures(str(folder)), Latents(), *callbacks, enable_checkpointing=bool(callbacks)
    )
    fitted.fit(module, datamodule=data)
    assert (folder / "samples.png").is_file()
    assert (folder / "reconstructions.png").is_file()
    return {name: float(value) for name, value in fitted.logged_metrics.items()}


def check_evidence(model: LatentVariableModel, units: int) -> None:
    """The evaluation reads the model as it reads the first VAE, in chunks and whole."""
    (found,) = evidence(model.eval(), [batch((1, 8, 8))], 20, 1e-6, seed=0)
    torch.testing.assert_close(found.elbo, -found.distortion - found.rate, rtol=1e-4, atol=1e-3)
    assert (found.log_px >= found.elbo - 1).all()
    assert found.codes.shape == (5, units)


# Several latent layers


class Ladder(LatentVariableModel):
    """Three layers, each conditioned on the draw above it, and on the data."""

    reads_labels = False

    def __init__(self, x_shape: tuple[int, ...], sizes: tuple[int, ...] = (2, 3, 4)) -> None:
        super().__init__(x_shape, None)
        self.sizes = sizes
        above = (0, *sizes[:-1])
        pixels = math.prod(x_shape)
        self.q = nn.ModuleList(
            nn.Linear(pixels + a, 2 * d) for a, d in zip(above, sizes, strict=True)
        )
        self.p = nn.ModuleList(nn.Linear(a + 1, 2 * d) for a, d in zip(above, sizes, strict=True))
        self.likelihood = Bernoulli(x_shape)
        self.decoder = nn.Linear(sizes[-1], pixels)

    num_units = property(lambda self: sum(self.sizes))
    layer_sizes = property(lambda self: self.sizes)

    def descend(self, inputs: Tensor | None, choose: Callable[..., Tensor], n: int) -> Distribution:
        """Top-down: `choose(q, p)` gives each layer's value; inputs (B, D) are None for samples."""
        z = torch.zeros(n, 0)
        for q_layer, p_layer in zip(self.q, self.p, strict=True):
            rows = inputs if inputs is None else inputs.expand(*z.shape[:-1], -1)
            q = None if rows is None else _normal(q_layer(torch.cat([rows, z], -1)))
            z = choose(q, _normal(p_layer(torch.cat([z, torch.ones(*z.shape[:-1], 1)], -1))))
        return self.likelihood(self.decoder(z).unflatten(-1, self.x_shape))

    def given(self, batch: Batch) -> Callable[[Draw], Trace]:
        inputs = batch.x.flatten(1)

        def trace(draw: Draw) -> Trace:
            latents: list[Latent] = []

            def choose(q: Distribution, p: Distribution) -> Tensor:
                latents.append(draw(q, p))
                return latents[-1].z

            p_x = self.descend(inputs, choose, len(inputs))
            return Trace(batch.x, batch.y, p_x, tuple(latents))

        return trace

    def sample(self, n: int, y: Tensor | None) -> Distribution:
        return self.descend(None, lambda q, p: p.sample(), n)

    def reconstruct(self, batch: Batch) -> Distribution:
        return self.descend(batch.x.flatten(1), lambda q, p: centre(q), len(batch.x))


def _normal(params: Tensor) -> Distribution:
    mu, log_sigma = params.chunk(2, -1)
    return diagonal_normal(mu, log_sigma.exp(), 1)


def test_a_ladder_of_three_layers(tmp_path: Path) -> None:
    model = Ladder((1, 8, 8))
    trace = model(batch((1, 8, 8)), sampled(6))
    assert [latent.q.batch_shape for latent in trace.latents] == [(5,), (6, 5), (6, 5)]
    assert trace.kl.shape == (3, 6, 5)
    for latent, kl in zip(trace.latents, trace.kl, strict=True):
        assert latent.kl_per_unit is not None
        torch.testing.assert_close(latent.kl_per_unit.sum(-1), kl)
    module = training()
    module.model, module.units = model, LatentUnits(model.num_units)
    module.bounds = nn.ModuleDict({name: BoundMetrics(3) for name in module.bounds})
    logged = fit(module, tmp_path)
    assert logged["latent/kl_mean"] * 9 == pytest.approx(logged["val/rate"], rel=1e-4)
    rates = [logged[f"val/rate_{layer}"] for layer in (1, 2, 3)]
    assert sum(rates) == pytest.approx(logged["val/rate"], rel=1e-4)
    check_evidence(model, 9)


# A discrete latent


class OneHots(Family):
    """M categorical variables of K values each, as one-hot rows: z is (M, K)."""

    @property
    def param_shape(self) -> tuple[int, ...]:
        return self.event_shape

    def distribution(self, params: Tensor) -> Distribution:
        base = OneHotCategoricalStraightThrough(logits=params, validate_args=False)
        return Independent(base, 1, validate_args=False)


class UniformOneHots(Prior):
    reads_labels = False

    def forward(self, y: Tensor | None) -> Distribution:
        return Independent(OneHotCategorical(logits=torch.zeros(self.z_shape)), 1)


def test_a_categorical_latent(tmp_path: Path) -> None:
    module = training(z_shape=(4, 3), posterior=OneHots, prior=UniformOneHots)
    latent = module.model(batch((1, 8, 8)), sampled(2)).latents[0]
    assert latent.has_closed_form_kl
    assert latent.kl_per_unit is None  # its units are not the values of z
    code = centre(latent.q)
    assert set(code.unique().tolist()) == {0.0, 1.0}
    assert (code.sum(-1) == 1).all()
    logged = fit(module, tmp_path)
    assert 0 <= logged["val/rate"] <= 4 * math.log(3)
    assert "latent/kl_mean" not in logged
    check_evidence(module.model, 12)
    data = batch((1, 8, 8))
    (found,) = evidence(module.model, [data], 2, 1e-6, seed=0)
    q = module.model(data, sampled(1)).latents[0].q
    torch.testing.assert_close(found.means, q.mean.flatten(1).double())
    torch.testing.assert_close(found.codes, q.mode.flatten(1).double())


# A posterior without a mean in closed form


class Squashed(ElementwiseFamily):
    """A logistic-normal: no mean, variance or KL in closed form."""

    params_per_value = 2

    def distribution(self, params: Tensor) -> Distribution:
        mu, log_sigma = self.split(params)
        return TransformedDistribution(
            diagonal_normal(mu, log_sigma.exp(), len(self.event_shape)), [SigmoidTransform()]
        )


def test_a_posterior_without_a_closed_form_mean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    q = Squashed((3,))(torch.zeros(2000, 6))
    error = q.sample((2000,)).std(0) / math.sqrt(64)
    assert ((centre(q) - 0.5).abs() < 5 * error).all()
    module = training(posterior=Squashed)
    where: list[bool] = []
    whole = TransformedDistribution.sample
    monkeypatch.setattr(
        TransformedDistribution, "sample",
        lambda self, *shape: (where.append(torch.is_grad_enabled()), whole(self, *shape))[1],
    )  # fmt: skip
    logged = fit(module, tmp_path)
    assert where
    assert not any(where)  # never in a training step
    assert math.isfinite(logged["val/active_units"])
    assert "latent/posterior_stddev" not in logged
    check_evidence(module.model, 4)


# A prior that starts from data, and is encoded


def test_a_prior_of_500_encoded_components(tmp_path: Path) -> None:
    module = training(prior=partial(VampPrior, components=500))
    data = datamodule(Digits(), Support.BINARY)
    module.model.initialise(lambda n: next(data.batches("train", n, torch.device("cpu"))))
    before = module.model.prior.logits.detach().clone()
    fit(module, tmp_path)
    assert not torch.equal(module.model.prior.logits, before)  # it learns
    model, encoded = module.model, []
    model.encoder.register_forward_hook(lambda m, given, out: encoded.append(len(given[0])))
    per_draw = bytes_per_draw(model)
    assert per_draw > 500 * 4 * 4  # every component is compared with every draw
    encoded.clear()
    list(evidence(model, [batch((1, 8, 8))], 50, 1e-6, seed=0))
    assert encoded.count(500) == 2  # once to count bytes, once for the batch: not once a chunk


def test_a_run_lets_its_prior_start_from_data_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Batch] = []
    monkeypatch.setattr(StandardNormal, "initialise", lambda self, take: given.append(take(7)))
    first = run(tmp_path / "first", "data.limit=32")
    assert given[0].x.shape == (7, 1, 8, 8)
    assert set(given[0].x.unique().tolist()) == {0.0, 1.0}  # prepared as for training
    run(tmp_path / "other", "data.limit=32", f"init_from={first.folder}")
    (first.folder / "result.json").unlink()
    train([f"resume={first.folder}"], quiet=True)
    assert len(given) == 1


# An objective with parameters of its own


class WithDiscriminator(ELBO):
    """The ELBO, a discriminator's reward for decoder means, and the discriminator's own terms."""

    def __init__(self, context: Context, weight: float = 1.0) -> None:
        super().__init__(context, Constant())
        self.weight = weight
        self.judge = nn.Linear(math.prod(context.x_shape), 1)

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.parameters()), "lr": 0.5}]

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        made = trace.p_x.mean
        frozen = {name: p.detach() for name, p in self.judge.named_parameters()}
        fooled = functional_call(self.judge, frozen, (made.flatten(2),))
        told = logsigmoid(self.judge(trace.x.flatten(1)))
        caught = logsigmoid(-self.judge(made.detach().flatten(2)))
        return (
            super().values(trace, epoch)
            + (self.weight * logsigmoid(fooled) + told + caught)[..., 0]
        )


def test_an_objective_with_a_discriminator(tmp_path: Path) -> None:
    module = training(WithDiscriminator)
    (usual, own) = module.configure_optimizers().param_groups  # type: ignore[union-attr]
    assert own["params"] == list(module.objective.parameters())
    assert (usual["lr"], own["lr"]) == (1e-2, 0.5)
    before = module.objective.judge.weight.detach().clone()
    fit(module, tmp_path, ModelCheckpoint(tmp_path, filename="kept"))
    assert not torch.equal(module.objective.judge.weight, before)
    kept = torch.load(tmp_path / "kept.ckpt", weights_only=True)
    assert "objective.judge.weight" in kept["state_dict"]  # saved, and no part of the model
    assert len(kept["optimizer_states"][0]["param_groups"]) == 2


def test_one_loss_of_two_players_is_two_losses() -> None:
    """The adversary's gradient is its own terms' alone, the model's the other terms'."""
    module, data = training(WithDiscriminator), batch((1, 8, 8))
    objective, model = module.objective, module.model
    torch.manual_seed(1)
    outcome = step(model, objective, module.estimator, data, EPOCH)
    outcome.surrogate.mean().backward()
    together = [p.grad.clone() for p in (*model.parameters(), *objective.parameters())]
    module.zero_grad()
    torch.manual_seed(1)
    trace = model(data, module.estimator.draw)
    made = trace.p_x.mean
    (elbo(trace).mean() + logsigmoid(objective.judge(made.flatten(2))).mean()).backward()
    alone = [p.grad.clone() for p in model.parameters()]
    module.zero_grad()
    told = logsigmoid(objective.judge(data.x.flatten(1))).mean()
    (told + logsigmoid(-objective.judge(made.detach().flatten(2))).mean()).backward()
    alone += [p.grad.clone() for p in objective.parameters()]
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_what_is_logged_is_the_objective_never_the_surrogate(tmp_path: Path) -> None:
    class Shifted(Pathwise):
        def surrogate(self, objective: Objective, values: Tensor, trace: Trace) -> Tensor:
            return super().surrogate(objective, values, trace) + 1000

    plain, shifted = training(), training()
    shifted.estimator = Shifted()
    assert fit(shifted, tmp_path / "a") == fit(plain, tmp_path / "b")


# The step


def test_a_step_is_pure() -> None:
    module, data = training(), batch((1, 8, 8))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    outcomes = []
    for _ in range(2):
        torch.manual_seed(3)
        outcomes.append(step(module.model, module.objective, module.estimator, data, EPOCH))
    assert torch.equal(outcomes[0].surrogate, outcomes[1].surrogate)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not module.bounds["of_train"].update_called


def test_a_step_maps_over_copies_of_a_model() -> None:
    modules = [training(seed=seed) for seed in (0, 1)]
    data = batch((1, 8, 8))
    stacked, _ = torch.func.stack_module_state([module.model for module in modules])  # type: ignore[arg-type]

    class Step(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = modules[0].model

        def forward(self) -> Tensor:
            return step(
                self.model, modules[0].objective, modules[0].estimator, data, EPOCH
            ).objective

    def one(weights: dict[str, Tensor]) -> Tensor:
        return functional_call(Step(), {f"model.{k}": v for k, v in weights.items()}, ())

    found = torch.vmap(one, randomness="same")(stacked)
    for row, module in zip(found, modules, strict=True):
        torch.manual_seed(0)
        alone = elbo(module.model(data, sampled(4000)))
        assert (row - alone).abs().max() < 3  # the same bound, of one draw
    assert not torch.allclose(found[0], found[1])
