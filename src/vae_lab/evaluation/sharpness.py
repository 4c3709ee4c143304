"""How sharp images are: how steeply grey changes from pixel to pixel."""

import torch
from torch import Tensor


def gradient_magnitude(x: Tensor) -> Tensor:
    """|grad x| of each image, its mean over pixels, (N,), for images (N, C, H, W) of 2x2 or more.

    By differences to the next pixel, down and to the right; in the unit of x, a pixel. Each channel
    counts as an image. Blur lowers it and noise raises it: it is read beside that of real images.

    >>> gradient_magnitude(torch.tensor([[[[0.0, 0.3], [0.4, 0.0]]]]))
    tensor([0.5000])
    """
    down = (x[..., 1:, :] - x[..., :-1, :])[..., :-1]
    right = (x[..., 1:] - x[..., :-1])[..., :-1, :]
    return torch.hypot(down, right).flatten(1).mean(1)
