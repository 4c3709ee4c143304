from functools import partial

import pytest
import torch

from vae_lab.config.allowed import check_parts
from vae_lab.errors import InputError
from vae_lab.model.conditioning import Concat, NoConditioning
from vae_lab.model.networks import MLP, ConvDecoder, ConvEncoder

IMAGES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 13, 21)]
DOWN = [partial(MLP, widths=[16]), partial(ConvEncoder, channels=[4, 8], widths=[16])]
UP = [partial(MLP, widths=[16]), partial(ConvDecoder, channels=[8, 4], widths=[16])]


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
    for network, shape in ((DOWN[1]((1, 8, 8), (6,)), (1, 8, 8)), (UP[1]((6,), (1, 8, 8)), (6,))):
        value = torch.rand(2, 3, *shape)
        torch.testing.assert_close(network(value)[1, 2], network(value[1, 2]))


def test_the_notebook_encoder_is_conv_with_options() -> None:
    options = {"kernel": 5, "stride": 1, "padding": 1, "max_pool": 2}
    encoder = ConvEncoder((1, 28, 28), (60,), channels=[16, 32], widths=[128], **options)
    sizes = [tuple(p.shape) for p in encoder.parameters() if p.dim() > 1]
    assert sizes == [(16, 1, 5, 5), (32, 16, 5, 5), (128, 32 * 5 * 5), (60, 128)]


def test_stages_are_a_sequential() -> None:
    for network in (DOWN[1]((1, 8, 8), (6,)), UP[1]((6,), (1, 8, 8))):
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
