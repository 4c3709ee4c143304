"""How true reconstructions are, on images where it is known."""

import math

import pytest
import torch
from parts import batch, vae
from torch import Tensor

from vae_lab.evaluation.fidelity import MOST_DB, UNITS, compared, fidelity
from vae_lab.model.likelihoods import Bernoulli


def grey(value: float, shape: tuple[int, ...] = (2, 3, 16, 16)) -> Tensor:
    return torch.full(shape, value)


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.6), (0.0, 1.0), (0.25, 0.2)])
def test_constant_images_have_closed_forms(a: float, b: float) -> None:
    found = compared(grey(a), grey(b))
    assert found["reconstruction_error"].tolist() == pytest.approx([(a - b) ** 2] * 2, rel=1e-4)
    psnr = -20 * math.log10(abs(a - b))
    assert found["psnr"].tolist() == pytest.approx([psnr] * 2, rel=1e-4, abs=1e-4)
    ssim = (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4)  # luminance alone: (0.01 peak)^2
    assert found["ssim"].tolist() == pytest.approx([ssim] * 2, rel=1e-3, abs=1e-5)


def test_of_the_same_image_the_ssim_is_1_and_no_number_is_infinite() -> None:
    x = torch.rand(4, 1, 28, 28)
    found = compared(x, x.clone())
    torch.testing.assert_close(found["ssim"], torch.ones(4))
    assert found["psnr"].tolist() == [MOST_DB] * 4
    assert found["reconstruction_error"].tolist() == [0] * 4


def test_noise_of_a_known_variance_has_its_psnr_and_ruins_the_structure() -> None:
    x, noise = torch.full((200, 3, 32, 32), 0.5), 0.05 * torch.randn(200, 3, 32, 32)
    found = compared(x + noise, x)
    expected = -20 * math.log10(0.05)
    assert float(found["psnr"].mean()) == pytest.approx(expected, abs=0.05)  # sd of one: 0.11 dB
    assert float(found["ssim"].mean()) < 0.5


def test_each_image_counts_for_itself() -> None:
    x = torch.rand(3, 3, 16, 16)
    far = torch.tensor([0.01, 0.1, 0.3])[:, None, None, None]
    told = (x + far * torch.rand_like(x)).clamp(0, 1)
    together = compared(told, x)
    for at in range(3):
        for name, alone in compared(told[at : at + 1], x[at : at + 1]).items():
            torch.testing.assert_close(together[name][at], alone[0])
    assert (together["psnr"].diff() < 0).all()
    assert (together["ssim"].diff() < 0).all()


def test_means_that_lie_outside_of_the_pixels_range_are_clamped() -> None:
    inside = compared(grey(1.0), grey(0.9))
    torch.testing.assert_close(compared(grey(1.7), grey(0.9))["psnr"], inside["psnr"])


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((1, 11, 11), {"reconstruction_error", "psnr", "ssim"}),
        ((3, 10, 30), {"reconstruction_error", "psnr"}),
        ((1, 8, 8), {"reconstruction_error", "psnr"}),
        ((20,), {"reconstruction_error"}),
    ],
)
def test_what_there_is_depends_on_the_size(shape: tuple[int, ...], names: set[str]) -> None:
    x = torch.rand(2, *shape)
    found = compared(x, x)
    assert set(found) == names <= set(UNITS)
    assert all(values.isfinite().all() for values in found.values())


def test_estimates_are_means_over_images_whatever_the_batches() -> None:
    model, some = vae(x_shape=(1, 12, 12), likelihood=Bernoulli).eval(), batch((1, 12, 12), 9)
    whole = fidelity(model, [some], seed=0)
    parts = fidelity(model, [some[:4], some[4:5], some[5:]], seed=0)
    assert set(whole) == set(UNITS)
    with torch.no_grad():
        values = compared(model.reconstruct(some).mean, some.x)
    for name, estimate in whole.items():
        assert estimate.value == pytest.approx(parts[name].value, rel=1e-5)
        assert estimate.value == pytest.approx(float(values[name].mean()), rel=1e-5)
        error = float(values[name].double().std()) / 3
        assert estimate.standard_error == pytest.approx(error, rel=1e-3)
        assert estimate.unit == UNITS[name]
