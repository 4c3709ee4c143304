"""Straight-through draws of one-hot rows."""

import pytest
import torch
from parts import batch, training

from vae_lab import InputError
from vae_lab.estimators import StraightThrough
from vae_lab.experiment.first_pass import first_pass
from vae_lab.model.distributions.one_hots import one_hots
from vae_lab.model.posteriors import Categorical
from vae_lab.model.priors import UniformCategorical


def test_draws_are_one_hot_and_their_gradient_is_that_of_the_probabilities() -> None:
    logits = torch.randn(5, 4, 3, dtype=torch.float64, requires_grad=True)
    q = one_hots(logits)
    z = StraightThrough(6).draw(q, one_hots(torch.zeros(4, 3))).z
    assert z.shape == (6, 5, 4, 3)
    assert set(z.unique().tolist()) == {0.0, 1.0}
    assert (z.sum(-1) == 1).all()
    assert (z.detach()[0] != z.detach()[1]).any()
    weights = torch.randn(4, 3, dtype=torch.float64)
    (found,) = torch.autograd.grad((weights * z).sum((2, 3)).mean(0).sum(), logits)
    expected = torch.autograd.grad((weights * logits.softmax(-1)).sum(), logits)[0]
    torch.testing.assert_close(found, expected)  # of what is linear in z, it is the exact one


def test_it_trains_one_hots_and_refuses_what_has_a_path() -> None:
    module = training(posterior=Categorical, prior=UniformCategorical, z_shape=(4, 3))
    module.estimator = StraightThrough(2)
    assert first_pass(module, batch((1, 8, 8))).latents[0].has_closed_form_kl
    other = training()
    other.estimator = StraightThrough()
    with pytest.raises(InputError, match="have one: say estimator=pathwise"):
        first_pass(other, batch((1, 8, 8)))
