from functools import partial

import pytest
import torch
from parts import DECODERS, ENCODERS

from vae_lab.config.allowed import check_parts
from vae_lab.errors import InputError
from vae_lab.model.conditioning import Concat, NoConditioning
from vae_lab.model.networks import MLP, ConvDecoder, ConvEncoder, ResNetDecoder, ResNetEncoder
from vae_lab.model.networks.blocks import ResidualBlock

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 13, 21)]
DOWN, UP = ENCODERS, DECODERS
IMAGE_NETWORKS = [
    *[(down, (1, 8, 8), (6,)) for down in DOWN[1:]],
    *[(up, (6,), (1, 8, 8)) for up in UP[1:]],
]


@pytest.mark.parametrize("leading", [(), (5,), (2, 5)])
@pytest.mark.parametrize("image", IMAGES)
def test_any_shape_to_any_shape_with_leading_dimensions(
    image: tuple[int, ...], leading: tuple[int, ...]
) -> None:
    for down in DOWN:
        assert down(image, (6,))(torch.rand(*leading, *image)).shape == (*leading, 6)
    for up in UP:
        assert up((6,), image)(torch.rand(*leading, 6)).shape == (*leading, *image)
    spatial = (2, 4, 4)
    for down in DOWN:
        assert down(image, spatial)(torch.rand(*leading, *image)).shape == (*leading, *spatial)


def test_leading_dimensions_are_only_a_batch() -> None:
    for make, shape, out_shape in IMAGE_NETWORKS:
        network, value = make(shape, out_shape), torch.rand(2, 3, *shape)
        torch.testing.assert_close(network(value)[1, 2], network(value[1, 2]))


def test_the_notebook_encoder_is_conv_with_options() -> None:
    options = {"kernel": 5, "stride": 1, "padding": 1, "max_pool": 2}
    encoder = ConvEncoder((1, 28, 28), (60,), channels=[16, 32], widths=[128], **options)
    sizes = [tuple(p.shape) for p in encoder.parameters() if p.dim() > 1]
    assert sizes == [(16, 1, 5, 5), (32, 16, 5, 5), (128, 32 * 5 * 5), (60, 128)]


@pytest.mark.parametrize("init", ["he", "torch"])
@pytest.mark.parametrize(("make", "shape", "out_shape"), IMAGE_NETWORKS[1::2])
def test_residual_blocks_begin_as_the_identity_and_learn(
    make: "partial[MLP]", shape: tuple[int, ...], out_shape: tuple[int, ...], init: str
) -> None:
    network = make(shape, out_shape, blocks=3, init=init)
    blocks = [block for block in network if isinstance(block, ResidualBlock)]
    assert len(blocks) == 6  # three at each of two resolutions
    x = torch.randn(5, blocks[0].f[1].in_channels, 4, 4)
    assert torch.equal(blocks[0](x), x)
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    for _ in range(2):
        optimizer.zero_grad()
        network(torch.rand(5, *shape)).square().sum().backward()
        optimizer.step()
    assert all((weight.grad != 0).any() for weight in network.parameters())


def test_a_residual_network_without_resolutions_is_dense() -> None:
    assert ResNetEncoder((1, 8, 8), (6,), [], 1, [16])(torch.rand(5, 1, 8, 8)).shape == (5, 6)
    assert ResNetDecoder((6,), (1, 8, 8), [], 1, [16])(torch.rand(5, 6)).shape == (5, 1, 8, 8)


def test_stages_are_a_sequential() -> None:
    for make, shape, out_shape in IMAGE_NETWORKS:
        network = make(shape, out_shape)
        assert isinstance(network, torch.nn.Sequential)
        assert len(network) >= 4


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("network", DOWN)
def test_concat_into_an_encoder(network: "partial[MLP]", image: tuple[int, ...]) -> None:
    entry = Concat(network, image, (6,), 10)
    x, y = torch.rand(1, *image).expand(10, *image), torch.arange(10)
    out = entry(x, y)
    assert out.shape == (10, 6)
    assert len({tuple(row) for row in out.tolist()}) == 10  # each label says something else


@pytest.mark.parametrize("network", UP)
def test_concat_into_a_decoder_takes_the_draws_axis(network: "partial[MLP]") -> None:
    entry = Concat(network, (6,), (1, 8, 8), 10)
    z, y = torch.rand(3, 4, 6), torch.arange(4)
    out = entry(z, y)
    assert out.shape == (3, 4, 1, 8, 8)
    torch.testing.assert_close(out[1], entry(z[1], y))


def test_planes_for_images_features_for_vectors() -> None:
    assert Concat(DOWN[0], (1, 28, 28), (6,), 10).network.in_shape == (794,)
    assert Concat(DOWN[1], (1, 28, 28), (6,), 10).network.in_shape == (11, 28, 28)


def test_no_label_ignores_the_label() -> None:
    entry = NoConditioning(DOWN[0], (1, 8, 8), (6,), None)
    x = torch.rand(4, 1, 8, 8)
    assert torch.equal(entry(x, None), entry(x, torch.arange(4)))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MLP((4,), (2,), widths=[4], activation="rellu"), "Did you mean 'relu'"),
        (lambda: ConvEncoder((4,), (2,), channels=[4], widths=[]), "images"),
        (lambda: ConvEncoder((1, 8, 8), (2,), channels=[4] * 5, widths=[]), "fewer channels"),
        (lambda: ConvDecoder((2,), (1, 8, 8), channels=[4] * 5, widths=[]), "fewer channels"),
        (lambda: ConvDecoder((2,), (8,), channels=[4], widths=[]), "images"),
        (lambda: ResNetEncoder((4,), (2,), [4], 1, []), "images"),
        (lambda: ResNetEncoder((1, 8, 8), (2,), [4] * 4, 1, []), "resnet encoder's 4 halvings"),
        (lambda: ResNetDecoder((2,), (1, 8, 8), [4] * 4, 1, []), "fewer channels"),
        (lambda: ResNetDecoder((2,), (8,), [4], 1, []), "images"),
        (lambda: Concat(DOWN[0], (1, 8, 8), (6,), None), "have none"),
        (lambda: Concat(DOWN[0], (1, 8, 8), (6,), 10)(torch.rand(2, 1, 8, 8), None), "give it y"),
    ],
)
def test_refusals(make: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("kind", "argument", "value"),
    [
        (MLP, "widths", [0]),
        (ConvEncoder, "channels", [4, -1]),
        (ConvEncoder, "kernel", 0),
        (ConvEncoder, "stride", 0),
        (ConvEncoder, "max_pool", 0),
        (ConvEncoder, "padding", -1),
        (ResNetEncoder, "blocks", 0),
        (ResNetDecoder, "channels", [0]),
    ],
)
def test_sizes_that_are_none(kind: type, argument: str, value: object) -> None:
    node = {
        "_target_": f"vae_lab.model.networks.{kind.__name__}",
        "_partial_": True,
        argument: value,
    }
    with pytest.raises(InputError, match=f"model.encoder.{argument} must be"):
        check_parts(node, "model.encoder")


def test_a_width_alone_is_one_layer() -> None:
    node = {"_target_": "vae_lab.model.networks.MLP", "_partial_": True, "widths": 300}
    assert check_parts(node, "model.encoder")["widths"] == [300]
