"""Spatial latents: which shapes lead to which, what a shift of the image does, what is refused."""

from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK
from omegaconf import OmegaConf
from parts import CONF, batch, choices, training, vae
from torch import Tensor, nn

from vae_lab import InputError, train
from vae_lab.config import build
from vae_lab.config.allowed import check_parts
from vae_lab.config.compose import compose_config
from vae_lab.evaluation.figures import plot_all
from vae_lab.experiment.first_pass import first_pass
from vae_lab.model.conditioning import Concat, FiLM
from vae_lab.model.networks import MLP, SpatialDecoder, SpatialEncoder
from vae_lab.model.networks.blocks import ResidualBlock

DOWN = partial(SpatialEncoder, channels=[4, 8], blocks=1)
UP = partial(SpatialDecoder, channels=[4, 8], blocks=1)
SPATIAL = {"encoder": DOWN, "decoder": UP, "z_shape": (2, 4, 4)}
PAIRS = [
    ((3, 32, 32), (4, 4, 4), 3),
    ((3, 32, 32), (4, 16, 16), 1),
    ((1, 28, 28), (2, 7, 7), 2),
    ((1, 28, 28), (2, 4, 4), 3),
    ((1, 8, 8), (4, 1, 1), 3),
    ((2, 13, 21), (3, 4, 6), 2),
    ((1, 8, 8), (2, 8, 8), 0),
]
"""Of an image and of codes, with the halvings between them."""


@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
@pytest.mark.parametrize(("image", "codes", "halvings"), PAIRS)
def test_the_halvings_follow_from_the_two_shapes(
    image: tuple[int, ...], codes: tuple[int, ...], halvings: int, leading: tuple[int, ...]
) -> None:
    down, up = DOWN(image, codes), UP(codes, image)
    assert down(torch.rand(*leading, *image)).shape == (*leading, *codes)
    assert up(torch.rand(*leading, *codes)).shape == (*leading, *image)
    for network in (down, up):
        found = [m for m in network.modules() if isinstance(m, nn.Upsample) or stride(m) == 2]
        assert len(found) == halvings
    assert widths(down) == [4, 8, 8][:halvings]  # a block each; the last serves those without one
    assert widths(up) == widths(down)[::-1]


def stride(module: nn.Module) -> int:
    return module.stride[0] if isinstance(module, nn.Conv2d) else 0


def widths(network: nn.Module) -> list[int]:
    blocks = (block for block in network.modules() if isinstance(block, ResidualBlock))
    return [conv.in_channels for block in blocks if isinstance(conv := block.f[1], nn.Conv2d)]


def moved(image: Tensor, by: int) -> Tensor:
    return image.roll((by, by), (-2, -1))


def trained(network: nn.Module) -> nn.Module:
    """With no weight at 0, as blocks and biases begin."""
    for value in network.parameters():
        nn.init.normal_(value, std=0.3)
    return network.double()


@torch.no_grad()
def test_where_an_image_moves_by_a_cell_so_do_its_codes_away_from_the_border() -> None:
    encoder, x = trained(DOWN((1, 64, 64), (2, 16, 16))), torch.rand(3, 1, 64, 64).double()
    z, z_of_moved = encoder(x), encoder(moved(x, 4))
    inside = (..., slice(6, -6), slice(6, -6))
    torch.testing.assert_close(z_of_moved[inside], moved(z, 1)[inside])
    assert not torch.allclose(z_of_moved, moved(z, 1))  # at the border, where zeros stand around it
    assert not torch.allclose(encoder(moved(x, 2))[inside], z[inside])
    decoder, z = trained(UP((2, 16, 16), (1, 64, 64))), torch.randn(3, 2, 16, 16).double()
    inside = (..., slice(24, -24), slice(24, -24))
    torch.testing.assert_close(decoder(moved(z, 1))[inside], moved(decoder(z), 4)[inside])


@torch.no_grad()
def test_a_code_knows_the_pixels_near_it_alone() -> None:
    encoder, x = trained(DOWN((1, 64, 64), (2, 16, 16))), torch.rand(1, 1, 64, 64).double()
    other = x.clone()
    other[..., :8, :8] = 0
    changed = (encoder(x) - encoder(other)).abs().amax((0, 1)) > 0
    assert changed[:2, :2].all()
    assert not changed[8:].any()
    assert not changed[:, 8:].any()


@pytest.mark.parametrize("conditioning", [Concat, FiLM])
def test_labels_reach_a_spatial_latent(conditioning: type[Concat]) -> None:
    model = vae(**SPATIAL, encoder_conditioning=conditioning, decoder_conditioning=conditioning)
    for value in model.parameters():
        nn.init.normal_(value, std=0.3)
    some, ten = torch.rand(1, 1, 8, 8).expand(10, -1, -1, -1), torch.arange(10)
    z = model.q_z(some, ten).mean
    assert z.shape == (10, 2, 4, 4)
    assert len({tuple(row) for row in z.flatten(1).tolist()}) == 10
    x = model.p_x(z[:1].expand(3, 10, -1, -1, -1), ten).mean
    assert x.shape == (3, 10, 1, 8, 8)
    assert len({tuple(row) for row in x[0].flatten(1).tolist()}) == 10


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_one_side_alone_may_be_spatial(side: str) -> None:
    parts: dict[str, Any] = {"z_shape": (2, 4, 4), side: SPATIAL[side]}
    assert vae(**parts).reconstruct(batch((1, 8, 8))).mean.shape == (5, 1, 8, 8)


def refusal(group: str, name: str) -> str:
    """Why a spatial z is refused by a part; empty where a step is taken."""
    some = batch((1, 8, 8), 8)
    cfg = compose_config("train", ["data=digits", "model=spatial_vae"]).copy()
    cfg.data.x_shape, cfg.data.num_classes = [1, 8, 8], 10
    cfg.model[group] = OmegaConf.load(CONF / "model" / group / f"{name}.yaml")
    module = training()
    try:
        module.model = build.model(cfg.model)
        module.model.initialise(lambda n: some[slice(n)])
        trace = first_pass(module, some)
    except InputError as error:
        return str(error)
    return "" if trace.log_px.isfinite().all() else "not finite"


@pytest.mark.parametrize("group", ["posterior", "prior"])
def test_every_posterior_and_prior_takes_a_spatial_z_or_says_what_it_takes(group: str) -> None:
    found = {name: refusal(group, name) for name in choices(f"model/{group}")}
    for refused in filter(None, found.values()):
        assert "model" in refused  # a key that is to be set
        assert "\n" not in refused
    usual = {"posterior": "diagonal_gaussian", "prior": "standard_normal"}[group]
    assert found[usual] == ""
    assert found[{"posterior": "full_covariance", "prior": "uniform_categorical"}[group]]


def test_every_figure_is_of_a_readable_size_and_fits_what_there_is() -> None:
    figures = plot_all(vae(**SPATIAL), batch((1, 8, 8), 12))
    assert set(figures) == {"reconstructions", "samples", "interpolation", "traversals", "codes"}
    assert max(max(figure.get_size_inches()) for figure in figures.values()) < 15
    rows = figures["traversals"].axes[0].get_yticklabels()
    assert len(rows) == 10  # of 32 units


BAD: list[tuple[list[str], str]] = [
    (["model.z_shape=[32]"], "the spatial encoder keeps z as an image (c, h, w), and here z has 1 "
     "dimension: say model.z_shape=[4,4,4], for example, or choose conv, resnet or mlp for"),
    (["model.z_shape=[8,4]"], "here z has 2 dimensions"),
    (["model.z_shape=[32]", "model/encoder=mlp", "model.encoder.widths=[8]"],
     "the spatial decoder keeps z as an image"),
    (["model.z_shape=[4,3,3]"], "the spatial encoder halves 8x8 to 4x4, 2x2, 1x1, and never to "
     "3x3: say model.z_shape=[4,4,4], for example."),
    (["model.z_shape=[4,4,2]"], "never to 4x2"),
    (["model.z_shape=[4,16,16]"], "never to 16x16"),
    (["model.encoder.channels=[]"], "model.encoder.channels must be"),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "said"), BAD, ids=lambda v: str(v)[:40])
def test_what_does_not_fit_is_one_line_before_training(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    folder = f"hydra.run.dir={tmp_path / 'runs' / 'run'}"
    with pytest.raises(InputError) as caught:
        train([*QUICK, "model=spatial_vae", folder, *overrides], quiet=True)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_decoder_that_makes_nothing_of_places_is_said_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "reads as a vector: model/decoder=spatial suits it."
    short = [*QUICK, "data.limit=16", "trainer.max_epochs=1"]
    for name, chosen, flat in (("a", "mlp_vae", "MLP"), ("b", "spatial_vae", "")):
        run = ["model.z_shape=[4,4,4]", f"model={chosen}", f"hydra.run.dir={tmp_path / name}"]
        train([*short, *run])
        said = " ".join(capsys.readouterr().out.split())
        assert (told in said) == bool(flat)
        assert (f"the decoder, {flat}," in said) == bool(flat)


def test_channels_may_be_one_number() -> None:
    node = {"_target_": "vae_lab.model.networks.SpatialEncoder", "_partial_": True, "channels": 16}
    assert check_parts(node, "model.encoder")["channels"] == [16]


def test_the_presets_are_small_enough_for_two_cores_and_large_enough_for_8_bit_colours() -> None:
    cfg = compose_config("train", ["experiment=latent_diffusion_autoencoder"])
    assert (cfg.model.z_shape, cfg.objective.beta.value) == ([4, 4, 4], 0.1)
    assert cfg.model.likelihood["_target_"].endswith("Gaussian")
    model = build.model(cfg.model)
    assert 3e5 < sum(prod(value.shape) for value in model.parameters()) < 2e6
    assert not isinstance(model.encoder.network, MLP)  # type: ignore[attr-defined]
