"""The score function, by enumeration of discrete latents; its moving baseline goes on."""

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from parts import batch, run, training
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent

from vae_lab import train
from vae_lab.estimators import ScoreFunction
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.objectives import ELBO, IWAE, Constant, Objective
from vae_lab.storage.checkpoint import read_checkpoint
from vae_lab.trace import Latent, Trace
from vae_lab.training.step import step

EPOCH = torch.tensor(0.0)
X = torch.tensor([[1.0, 0.0, 1.0]], dtype=torch.float64)
DECODER = torch.tensor([[0.3, -1.2, 0.8], [-0.5, 0.4, 1.1]], dtype=torch.float64)
PRIOR = torch.zeros(1, 2, dtype=torch.float64)
BETA = partial(ELBO, beta=Constant(0.7))


def bits_of(logits: Tensor) -> Distribution:
    return Independent(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)


def one_layer(z: Tensor, params: Tensor) -> tuple[Latent, ...]:
    """Two bits, z (S, 1, 2), side by side."""
    return (Latent(z, bits_of(params[:2].expand(1, 2)), bits_of(PRIOR)),)


def two_layers(z: Tensor, params: Tensor) -> tuple[Latent, ...]:
    """A bit, and one that depends on it."""
    top, low = z.split(1, -1)
    above = Latent(top, bits_of(params[:1].expand(1, 1)), bits_of(PRIOR[:, :1]))
    return above, Latent(low, bits_of(params[1] + params[2] * top), bits_of(0.5 * top))


@pytest.mark.parametrize("layers", [one_layer, two_layers])
@pytest.mark.parametrize(("kind", "draws"), [(BETA, 2), (IWAE, 2), (BETA, 1), (BETA, 3)])
def test_it_is_unbiased_over_all_draws_there_are(
    kind: Callable[[Context], Objective],
    draws: int,
    layers: Callable[[Tensor, Tensor], tuple[Latent, ...]],
) -> None:
    objective, estimator = kind(Context((1,), None, (2,))), ScoreFunction(draws)
    estimator.observe(torch.full((1, 5), -2.0))
    params = torch.tensor([0.4, -0.9, 0.7], dtype=torch.float64, requires_grad=True)
    values_of_z = [torch.tensor(z).double() for z in itertools.product((0.0, 1.0), repeat=2)]
    exact, estimated = torch.zeros((), dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for drawn in itertools.product(values_of_z, repeat=draws):
        z = torch.stack(drawn).unsqueeze(1)  # (S, B, Z)
        latents = layers(z, params)
        assert latents[0].has_closed_form_kl  # which stays in the graph of the values
        trace = Trace(X, None, bits_of(z @ DECODER), latents)
        chance = torch.stack([latent.q.log_prob(latent.z) for latent in latents]).sum().exp()
        values = objective.values(trace, EPOCH)
        exact = exact + chance * objective.reduce(values).sum()
        surrogate = estimator.surrogate(objective, values, trace).sum()
        (gradient,) = torch.autograd.grad(surrogate, params, retain_graph=True)
        estimated += chance.detach() * gradient
    (expected,) = torch.autograd.grad(exact, params)
    torch.testing.assert_close(estimated, expected, rtol=0, atol=1e-13)


def test_its_draws_carry_no_gradient() -> None:
    q = diagonal_normal(torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3), 1)
    assert not ScoreFunction(2).draw(q, q).z.requires_grad


def test_the_baseline_of_a_single_draw_is_the_average_so_far() -> None:
    estimator = ScoreFunction(1, decay=0.5)
    values = torch.tensor([[-4.0, -2.0]])
    q = diagonal_normal(torch.zeros(2, 1), torch.ones(2, 1), 1)

    def gain() -> Tensor:
        log_q = torch.zeros(1, 2, requires_grad=True)
        q.log_prob = lambda z: log_q  # type: ignore[method-assign]
        trace = Trace(torch.zeros(2, 1), None, q, (Latent(torch.zeros(1, 2, 1), q, q),))
        objective = BETA(Context((1,), None, (1,)))
        (found,) = torch.autograd.grad(estimator.surrogate(objective, values, trace).sum(), log_q)
        return found

    assert torch.equal(gain(), values)  # before any step there is none
    estimator.observe(values)
    assert torch.equal(gain(), values + 3)  # at once the average, not its first hundredth
    estimator.observe(values + 6)
    torch.testing.assert_close(gain(), values - (-3 * 0.25 + 3 * 0.5) / 0.75)


def test_a_step_of_training_moves_the_baseline_and_one_alone_does_not() -> None:
    module = training()
    module.estimator = ScoreFunction(1)
    step(module.model, module.objective, module.estimator, batch((1, 8, 8)), EPOCH)
    assert module.estimator.weight == 0


def test_a_run_with_a_moving_baseline_goes_on_bit_by_bit(tmp_path: Path) -> None:
    asked = ["estimator=score_function", "estimator.num_draws=1", "data.limit=100", "test=false",
             "data.val_size=0", "scheduler=none", "data.batch_size=32",
             "model.encoder.widths=[8]", "model.decoder.widths=[8]"]  # fmt: skip

    def weights(folder: Path) -> dict[str, Tensor]:
        return read_checkpoint(folder / "checkpoints" / "last.ckpt")["state_dict"]

    whole = weights(run(tmp_path / "whole", *asked, "trainer.max_epochs=2").folder)
    parts = run(tmp_path / "parts", *asked).folder
    halfway = weights(parts)
    train([f"resume={parts}", "trainer.max_epochs=2"], quiet=True)
    resumed = weights(parts)
    assert whole["estimator.total"] < 0
    assert halfway["estimator.total"] != resumed["estimator.total"]
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
