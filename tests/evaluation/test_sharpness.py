"""How sharp images are, against slopes that are known."""

import math

import torch

from vae_lab.evaluation.sharpness import gradient_magnitude


def ramp(down: float, right: float) -> torch.Tensor:
    row, column = torch.meshgrid(torch.arange(6.0), torch.arange(5.0), indexing="ij")
    return down * row + right * column


def test_it_is_the_steepness_of_a_plane() -> None:
    planes = torch.stack([ramp(0.03, 0.04), ramp(0, 0.1), ramp(-0.02, 0), ramp(0, 0) + 0.7])
    found = gradient_magnitude(planes[:, None])
    torch.testing.assert_close(found, torch.tensor([0.05, 0.1, 0.02, 0]), atol=1e-6, rtol=0)


def test_channels_count_as_images() -> None:
    x = torch.rand(4, 3, 6, 6)
    each = torch.stack([gradient_magnitude(x[:, c : c + 1]) for c in range(3)]).mean(0)
    torch.testing.assert_close(gradient_magnitude(x), each)


def test_blur_lowers_it() -> None:
    x = torch.rand(10, 1, 12, 12)
    blurred = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)
    assert (gradient_magnitude(blurred) < gradient_magnitude(x)).all()


def test_an_edge_counts_once_for_each_pixel_along_it() -> None:
    edge = torch.zeros(1, 1, 5, 5)
    edge[..., 2:] = 1
    assert math.isclose(float(gradient_magnitude(edge)), 4 / 16)
