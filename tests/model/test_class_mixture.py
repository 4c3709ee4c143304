"""A mixture of Gaussians per class."""

import pytest
import torch

from vae_lab import InputError
from vae_lab.model.context import Context
from vae_lab.model.priors import ClassMixture

Y, UNITS = 3, 4


def prior() -> ClassMixture:
    made = ClassMixture(Context((1, 8, 8), Y, (UNITS,)), components=5).double()
    for weight in made.parameters():
        torch.nn.init.normal_(weight)
    return made


def moments(made: ClassMixture, y: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Weights (K,), means (K, D) and covariances (K, D, D) of a class."""
    scale = made.below[y].tril(-1) + torch.diag_embed((7 * (made.log_diagonal[y] / 7).tanh()).exp())
    return made.logits[y].softmax(-1), made.mu[y], scale @ scale.mT


def test_its_density_is_the_weighted_sum_of_its_components() -> None:
    made, z = prior(), torch.randn(6, 2, UNITS, dtype=torch.float64)  # (S, B, D)
    found = made(torch.tensor([2, 0])).log_prob(z)
    for place, y in enumerate((2, 0)):
        w, mu, cov = moments(made, y)
        off = z[:, place, None] - mu  # (S, K, D)
        square = torch.einsum("skd,kde,ske->sk", off, cov.inverse(), off)
        log_each = -(square + torch.logdet(2 * torch.pi * cov)) / 2
        expected = (w.log() + log_each).logsumexp(-1)
        torch.testing.assert_close(found[:, place], expected)


def test_its_draws_are_of_the_class_that_is_asked_for() -> None:
    made, n = prior(), 40_000
    for y in range(Y):
        drawn = made(torch.full((n,), y)).sample()
        w, mu, _ = moments(made, y)
        error = drawn.std(0) / n**0.5
        assert torch.all((drawn.mean(0) - w @ mu).abs() < 5 * error)


def test_it_needs_classes_labels_and_a_vector() -> None:
    for num_classes, z_shape, said in ((None, (2,), "data with labels"), (3, (2, 3), "=.6.")):
        with pytest.raises(InputError, match=said):
            ClassMixture(Context((1, 8, 8), num_classes, z_shape), components=4)
    with pytest.raises(InputError, match="give it y"):
        prior()(None)
