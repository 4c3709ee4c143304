"""FiLM: what it does to a network, where, and what it refuses."""

from functools import partial

import pytest
import torch
from torch import nn

from vae_lab.errors import InputError
from vae_lab.model.conditioning import FiLM
from vae_lab.model.networks import MLP, ConvDecoder, ConvEncoder, Network

IMAGE, CODE = (2, 8, 8), (6,)
NETWORKS = [
    (partial(MLP, widths=[16, 5]), IMAGE, CODE),
    (partial(ConvEncoder, channels=[4, 8], widths=[16]), IMAGE, CODE),
    (partial(MLP, widths=[16]), CODE, IMAGE),
    (partial(ConvDecoder, channels=[8, 4], widths=[16]), CODE, IMAGE),
]


def trained(film: FiLM) -> FiLM:
    """As after training: every scale and shift is some other number."""
    for parameter in film.after.parameters():
        nn.init.normal_(parameter)
    return film


@pytest.mark.parametrize(("network", "in_shape", "out_shape"), NETWORKS)
def test_it_starts_as_the_network_alone(
    network: "partial[Network]", in_shape: tuple[int, ...], out_shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    alone = network(in_shape, out_shape)
    torch.manual_seed(0)
    film = FiLM(network, in_shape, out_shape, 10)
    value = torch.rand(3, 4, *in_shape)
    assert torch.equal(film(value, torch.arange(4)), alone(value))


@pytest.mark.parametrize(("network", "in_shape", "out_shape"), NETWORKS)
def test_each_datum_is_told_its_own_label_in_every_draw(
    network: "partial[Network]", in_shape: tuple[int, ...], out_shape: tuple[int, ...]
) -> None:
    film = trained(FiLM(network, in_shape, out_shape, 10))
    value, y = torch.rand(3, 4, *in_shape), torch.tensor([3, 1, 4, 1])
    whole = film(value, y)
    assert whole.shape == (3, 4, *out_shape)
    for datum, label in enumerate(y):
        alone = film(value[2, datum][None], label[None])
        torch.testing.assert_close(whole[2, datum], alone[0], rtol=1e-4, atol=1e-5)
    same = value[:1, :1].expand(1, 10, *in_shape)
    assert len({tuple(row) for row in film(same, torch.arange(10))[0].flatten(1).tolist()}) == 10


def test_features_are_scaled_and_shifted_as_in_the_paper() -> None:
    film = trained(FiLM(partial(MLP, widths=[16], activation="tanh"), (3,), (2,), 10))
    (modulation,) = film.after.values()
    _, (first, _), (last, _) = film.network
    x, y = torch.rand(5, 3), torch.tensor([0, 9, 9, 4, 2])
    gamma, beta = 1 + modulation.delta_gamma[y], modulation.beta[y]
    expected = last(gamma * first(x).tanh() + beta)
    torch.testing.assert_close(film(x, y), expected)


def test_a_channel_is_one_feature_and_reshaping_makes_none() -> None:
    shapes = [
        [tuple(modulation.beta.shape) for modulation in FiLM(*network, 10).after.values()]
        for network in NETWORKS
    ]
    assert shapes == [
        [(10, 16), (10, 5)],
        [(10, 4, 1, 1), (10, 8, 1, 1), (10, 16)],
        [(10, 16)],
        [(10, 16), (10, 8, 1, 1), (10, 4, 1, 1)],
    ]


class Noisy(Network):
    """Statistics of batches, and dropout."""

    reads_images = False

    def __init__(self, in_shape: tuple[int, ...], out_shape: tuple[int, ...]) -> None:
        first = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout())
        super().__init__(in_shape, out_shape, [first, nn.Linear(4, 2)])


def test_building_it_draws_nothing_and_leaves_statistics_alone() -> None:
    torch.manual_seed(0)
    Noisy((3,), (2,))
    expected = torch.rand(1)
    torch.manual_seed(0)
    film = FiLM(partial(Noisy), (3,), (2,), 10)
    assert torch.equal(torch.rand(1), expected)
    assert all(module.training for module in film.modules())
    assert film.network.state_dict()["0.1.num_batches_tracked"] == 0
    assert torch.equal(film.network.state_dict()["0.1.running_var"], torch.ones(4))


@pytest.mark.parametrize(("network", "in_shape", "out_shape"), NETWORKS)
def test_it_can_be_built_without_memory(
    network: "partial[Network]", in_shape: tuple[int, ...], out_shape: tuple[int, ...]
) -> None:
    real = FiLM(network, in_shape, out_shape, 10).state_dict()
    with torch.device("meta"):
        claimed = FiLM(network, in_shape, out_shape, 10).state_dict()
    assert {k: v.shape for k, v in claimed.items()} == {k: v.shape for k, v in real.items()}
    assert {v.device.type for v in claimed.values()} == {"meta"}


def test_a_network_of_one_layer_has_nothing_between() -> None:
    with pytest.raises(InputError, match=r"this MLP has one layer alone: give it another"):
        FiLM(partial(MLP, widths=[]), (3,), (2,), 10)


def test_it_needs_classes_and_labels() -> None:
    network, in_shape, out_shape = NETWORKS[0]
    with pytest.raises(InputError, match="the data have none"):
        FiLM(network, in_shape, out_shape, None)
    with pytest.raises(InputError, match="give it y"):
        FiLM(network, in_shape, out_shape, 10)(torch.rand(2, *IMAGE), None)
