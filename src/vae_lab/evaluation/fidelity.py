"""How true reconstructions are to their images, pixel by pixel and in structure.

A reconstruction is the mean of p(x|z) at the centre of q(z|x); the image is x as it was prepared,
in [0, 1], so that of binarised data it is the bits that are reconstructed.
"""

from collections.abc import Iterable
from math import prod

import torch
from torch import Tensor
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)

from vae_lab.evaluation.statistics import Estimate, mean_estimate
from vae_lab.model import LatentVariableModel
from vae_lab.seeding import reseed
from vae_lab.trace import Batch

UNITS = {
    "reconstruction_error": "squared, a pixel",
    "psnr": "dB, of peak 1",
    "ssim": "of 1, by 11x11 windows",
}
"""What each is measured in; all are means over images."""

WINDOW = 11
PIXELS = (0.0, 1.0)  # to which both are clamped, and whose range is the peak
MOST_DB = 100.0


@torch.no_grad()
def fidelity(
    model: LatentVariableModel, batches: Iterable[Batch], seed: int
) -> dict[str, Estimate]:
    """How near reconstructions are to their images, by the names of `UNITS`.

    Of a model that is given a part of x only the error, of the other pixels.

    Args:
        model: In eval mode.
        batches: The images.
        seed: Of posteriors whose centre is a Monte Carlo estimate.
    """
    found: dict[str, list[Tensor]] = {}
    for number, batch in enumerate(batches):
        reseed(batch.x.device, seed, "reconstructions", number)
        values_of = compared(model.reconstruct(batch).mean, batch.x)
        if model.observed:  # what is given is no reconstruction
            every, missing = prod(model.x_shape), prod(model.likelihood.event_shape)
            error = values_of["reconstruction_error"]
            values_of = {"reconstruction_error": error * every / missing}
        for name, values in values_of.items():
            found.setdefault(name, []).append(values.double().cpu())
    return {name: mean_estimate(torch.cat(parts), UNITS[name]) for name, parts in found.items()}


def compared(told: Tensor, x: Tensor) -> dict[str, Tensor]:
    """What `told` of x, both (B, *X), comes to, each (B,), by the names of `UNITS`.

    The squared error is a pixel's, on average. The PSNR of an image is -10 log10 of that, 100 at
    the most, which an image without any error would exceed. The SSIM is that of Wang, Bovik, Sheikh
    and Simoncelli, Image Quality Assessment: From Error Visibility to Structural Similarity, 2004,
    over Gaussian windows (sigma 1.5), averaged over channels; smaller images than these have none.

    >>> x = torch.full((1, 1, 16, 16), 0.5)
    >>> {name: round(float(value), 3) for name, value in compared(x + 0.1, x).items()}
    {'reconstruction_error': 0.01, 'psnr': 20.0, 'ssim': 0.984}
    """
    found = {"reconstruction_error": (told - x).square().flatten(1).mean(1)}
    if x.dim() != 4:
        return found
    told = told.to(x.dtype)
    psnr = peak_signal_noise_ratio(told, x, PIXELS, reduction="none", dim=(1, 2, 3))
    found["psnr"] = psnr.clamp(max=MOST_DB)
    if min(x.shape[2:]) >= WINDOW:
        ssim = structural_similarity_index_measure(
            told, x, kernel_size=WINDOW, data_range=PIXELS, reduction="none"
        )
        assert isinstance(ssim, Tensor)
        found["ssim"] = ssim
    return found
