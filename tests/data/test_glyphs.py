"""Digits drawn from fonts: MNIST's shape, a function of their labels and factors."""

import pytest
import torch
from parts import datamodule
from torch import Tensor

from vae_lab.config.compose import compose_config
from vae_lab.data import Glyphs, Images
from vae_lab.data.glyphs import FONTS


@pytest.fixture(scope="module")
def glyphs() -> Images:
    return Glyphs(count=2000, seed=0).read()[0]


def factor(images: Images, name: str) -> Tensor:
    assert images.factors is not None
    return images.factors[:, Glyphs.factor_names.index(name)]


def ink(images: Images) -> Tensor:
    return images.pixels[:, 0].double() / 255  # (N, 28, 28)


def centre(images: Images) -> Tensor:
    """The centre of mass (N, 2), in pixels to the right of the image's, and above it."""
    place = torch.arange(28).double() - 13.5
    x, y = (ink(images) * place).sum((1, 2)), -(ink(images) * place[:, None]).sum((1, 2))
    return torch.stack([x, y], 1) / ink(images).sum((1, 2))[:, None]


def test_they_are_the_embedded_default_and_of_mnists_shape(glyphs: Images) -> None:
    cfg = compose_config("train")
    assert cfg.data._target_ == "vae_lab.data.Glyphs"
    assert cfg.data.x_shape == compose_config("train", ["data=mnist"]).data.x_shape == [1, 28, 28]
    assert glyphs.pixels.shape == (2000, 1, 28, 28)
    assert glyphs.pixels.dtype == torch.uint8
    assert glyphs.labels is not None
    assert glyphs.labels.unique().tolist() == list(range(10))


def test_they_are_white_on_black_as_mnists_are(glyphs: Images) -> None:
    assert 0.11 < ink(glyphs).mean() < 0.16  # MNIST: 0.131
    assert 0.7 < (glyphs.pixels == 0).double().mean() < 0.85  # 0.809
    assert (glyphs.pixels.flatten(1).amax(1) > 230).double().mean() > 0.99
    assert ink(glyphs)[:, [0, -1]].sum() + ink(glyphs)[:, :, [0, -1]].sum() < 1  # none is cut off


def test_a_seed_makes_the_same_and_another_seed_others(glyphs: Images) -> None:
    same, other = (Glyphs(2000, seed).read()[0] for seed in (0, 1))
    assert same.fingerprint() == glyphs.fingerprint() != other.fingerprint()
    assert torch.equal(factor(same, "size"), factor(glyphs, "size"))


def slopes(images: Images, effect: Tensor) -> dict[str, float]:
    """By how much `effect` (N,) rises with each factor, by least squares."""
    assert images.factors is not None
    inputs = torch.cat([images.factors.double(), torch.ones(len(effect), 1)], 1)
    found = torch.linalg.lstsq(inputs, effect[:, None]).solution[:-1, 0]
    return dict(zip(Glyphs.factor_names, found.tolist(), strict=True))


def test_they_lie_where_their_factors_say(glyphs: Images) -> None:
    for name, other, at in (("x", "y", 0), ("y", "x", 1)):
        found = slopes(glyphs, centre(glyphs)[:, at])
        assert found[name] == pytest.approx(1, abs=0.05)
        assert found[other] == pytest.approx(0, abs=0.05)


def test_each_factor_has_its_effect(glyphs: Images) -> None:
    assert glyphs.labels is not None
    eights = glyphs.subset((glyphs.labels == 8).nonzero()[:, 0])
    mass, middle = ink(eights).sum((1, 2)), centre(eights)
    weight = ink(eights) / mass[:, None, None]
    right = (torch.arange(28) - 13.5 - middle[:, :1])[:, None, :]
    up = (13.5 - torch.arange(28) - middle[:, 1:])[:, :, None]
    variance = (weight * up**2).sum((1, 2))
    lean = (weight * right * up).sum((1, 2)) / variance
    assert slopes(eights, lean)["shear"] == pytest.approx(1, abs=0.2)
    assert -0.0175 < slopes(eights, lean)["angle"] < -0.005  # a degree, were an 8 a line
    assert slopes(eights, variance.sqrt())["size"] == pytest.approx(
        0.29, abs=0.03
    )  # a line's: 12^-1/2
    assert slopes(eights, mass)["stroke"] > 50  # twice the length of its lines
    assert set(factor(glyphs, "font").tolist()) == set(range(len(FONTS)))


def test_splits_and_prepared_images_keep_their_factors() -> None:
    source = Glyphs(200, 0)
    whole, _ = source.read()
    data = datamodule(source, limit=12)
    assert data.splits["train"].factors is not None
    by_image = {
        pixels.numpy().tobytes(): f for pixels, f in zip(whole.pixels, whole.factors, strict=True)
    }
    for images in data.splits.values():
        pixels, factors = images.in_memory().pixels, images.factors
        assert factors is not None
        for image, found in zip(pixels, factors, strict=True):
            assert torch.equal(by_image[image.numpy().tobytes()], found)


def test_they_are_made_in_a_moment() -> None:
    from time import process_time

    start = process_time()
    Glyphs(6000, 0).read()
    assert process_time() - start < 5  # one, where nothing else is computed
