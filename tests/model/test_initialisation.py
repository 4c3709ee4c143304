"""First weights: He's for the activation at hand, which keep the second moment at any depth."""

import math
from collections.abc import Callable
from statistics import NormalDist

import pytest
import torch
from scipy.integrate import quad
from torch import nn

from vae_lab.config import build
from vae_lab.config.allowed import check_parts
from vae_lab.config.compose import compose_config
from vae_lab.errors import InputError
from vae_lab.model.networks import MLP, ConvDecoder, ConvEncoder, ResNetDecoder, ResNetEncoder
from vae_lab.model.networks.base import ACTIVATIONS, make_activation
from vae_lab.model.networks.initialisation import LAST, gain_of, he_normal

PHI = NormalDist().cdf
CLOSED_FORMS = {  # E f(u)^2, u ~ N(0, 1)
    "relu": 0.5,
    "leaky_relu": (1 + 0.01**2) / 2,
    "gelu": 1 / 3 + 1 / (2 * math.pi * math.sqrt(3)),
    "elu": 1 + math.exp(2) * PHI(-2) - 2 * math.exp(0.5) * PHI(-1),
}
SEEDS = 4


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gains(name: str) -> None:
    f = make_activation(name)

    def integrand(u: float) -> float:
        density = math.exp(-u * u / 2) / math.sqrt(2 * math.pi)
        return float(f(torch.tensor(u, dtype=torch.float64))) ** 2 * density

    known = CLOSED_FORMS.get(name) or quad(integrand, -10, 0)[0] + quad(integrand, 0, 10)[0]
    assert gain_of(f) == pytest.approx(known**-0.5, rel=1e-6)


def second_moment(network: nn.Module, *shape: int) -> float:
    with torch.no_grad():
        return float(network(torch.randn(256, *shape)).square().mean())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_ten_layers_keep_the_second_moment_where_torch_loses_it(name: str) -> None:
    found = {
        init: sum(
            second_moment(MLP((256,), (256,), [256] * 9, name, init), 256) for _ in range(SEEDS)
        )
        / SEEDS
        for init in ("he", "torch")
    }
    assert 0.5 < found["he"] / LAST**2 < 2
    assert found["torch"] < 0.25


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(32, 32, 5, padding=2),
        nn.ConvTranspose2d(32, 32, 4, 2, 1),
        nn.ConvTranspose2d(32, 32, 3, 2, 1),
        nn.ConvTranspose2d(32, 8, 5, 1, 2),
        nn.ConvTranspose2d(32, 8, (4, 2), (2, 1)),
    ],
    ids=str,
)
def test_a_convolution_counts_what_each_pixel_sees(layer: nn.Module) -> None:
    seen = []
    for _ in range(SEEDS):
        he_normal(layer)
        with torch.no_grad():
            out = layer(torch.randn(16, 32, 24, 24))
        seen.append(out[..., 4:-4, 4:-4].square().mean())  # the edges see zeros too
    assert float(torch.stack(seen).mean()) == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_convolutional_networks_keep_it_too(name: str) -> None:
    """Up to what the edges see of zeros."""
    down = ConvEncoder((1, 16, 16), (64,), [16, 32], [128], kernel=3, padding=1, activation=name)
    up = ConvDecoder((64,), (3, 16, 16), [64, 32], [128], activation=name)
    assert 0.5 < second_moment(down, 1, 16, 16) / LAST**2 < 2
    assert 0.4 < second_moment(up, 64) / LAST**2 < 2
    down = ResNetEncoder((1, 16, 16), (64,), [16, 32], 2, [128], activation=name)
    up = ResNetDecoder((64,), (3, 16, 16), [64, 32], 2, [128], activation=name)
    assert 0.4 < second_moment(down, 1, 16, 16) / LAST**2 < 2
    assert 0.4 < second_moment(up, 64) / LAST**2 < 2


def test_biases_begin_at_zero_and_gains_follow_activations() -> None:
    network = nn.Sequential(
        nn.Linear(500, 500), nn.Linear(500, 500), nn.ReLU(), nn.MaxPool1d(1), nn.Linear(500, 500)
    )
    he_normal(network)
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert all((layer.bias == 0).all() for layer in layers)
    for layer, gain in zip(layers, (1, 1, math.sqrt(2)), strict=True):
        spread = float(layer.weight.detach().std()) * math.sqrt(500)
        assert spread == pytest.approx(gain, rel=4 / math.sqrt(2 * 500**2))


def test_torchs_own_weights_are_left_as_they_are() -> None:
    torch.manual_seed(1)
    network = MLP((6,), (3,), [5], init="torch")
    torch.manual_seed(1)
    for weight, other in zip(
        network.parameters(),
        (p for layer in (nn.Linear(6, 5), nn.Linear(5, 3)) for p in layer.parameters()),
        strict=True,
    ):
        assert torch.equal(weight, other)


@pytest.mark.parametrize(
    "network",
    [
        lambda init: MLP((4,), (2,), [4], init=init),
        lambda init: ConvEncoder((1, 8, 8), (2,), [4], [], init=init),
        lambda init: ConvDecoder((2,), (1, 8, 8), [4], [], init=init),
    ],
)
def test_another_name_is_refused(network: Callable[[str], nn.Module]) -> None:
    with pytest.raises(InputError, match=r"unknown init .*There are: he, torch"):
        network("xavier")


def test_the_configuration_says_which() -> None:
    cfg = compose_config("train", ["data=digits", "model.encoder.init=xavier"])
    with pytest.raises(InputError, match="model.encoder.init must be he or torch, not xavier"):
        check_parts(cfg.model, "model")


def test_a_configuration_from_before_there_was_a_choice_still_builds() -> None:
    model = compose_config("train", ["model=conv_vae", "data=cifar10"]).model
    for side in ("encoder", "decoder"):
        del model[side].init
    before, now = build.model({**model}), build.model({**model})
    before.load_state_dict(now.state_dict())
    with torch.device("meta"):  # as weights are compared with what a configuration describes
        build.model({**model})
