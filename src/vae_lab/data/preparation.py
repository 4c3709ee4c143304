"""From stored pixels to the x a likelihood is defined on."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lab.errors import InputError
from vae_lab.support import Support
from vae_lab.trace import Shape


@dataclass(frozen=True)
class Preparation:
    """What is done to pixels before a model sees them; stored with the model."""

    binarize: bool  # x ~ Bernoulli(pixel)
    dequantize: bool  # x = (k + u) / 256, u ~ U[0, 1)

    @property
    def is_random(self) -> bool:
        """Whether two calls give two results."""
        return self.binarize or self.dequantize

    def describe(self) -> str:
        """In one word."""
        if self.binarize:
            return "binarised"
        return "dequantised" if self.dequantize else "as stored"

    def __call__(self, pixels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Pixels, uint8 k or float in [0, 1], to x in [0, 1], float, of the same shape."""
        if self.dequantize:
            noise = torch.rand(pixels.shape, generator=generator, device=pixels.device)
            return (pixels + noise) / 256
        x = pixels / 255 if pixels.dtype == torch.uint8 else pixels
        if self.binarize:
            noise = torch.rand(pixels.shape, generator=generator, device=pixels.device)
            return (noise < x).to(x.dtype)
        return x


AS_STORED = Preparation(binarize=False, dequantize=False)


def preparation_for(
    support: Support, is_8bit: bool, binarize: bool | str, dequantize: bool | str
) -> Preparation:
    """The preparation a likelihood of this support needs; "auto" asks for it, a bool is checked.

    Raises InputError for a forced preparation that does not fit, with the reason.
    """
    wanted = Preparation(
        binarize=support is Support.BINARY,
        dequantize=support is Support.CONTINUOUS and is_8bit,
    )
    forced = Preparation(
        binarize=_choice(binarize, wanted.binarize),
        dequantize=_choice(dequantize, wanted.dequantize),
    )
    need = f"this likelihood is defined on {support.value}"
    if support is Support.LEVELS and not is_8bit:
        raise InputError(
            f"{need}, but the data are floats: store them as uint8, or choose a density such as "
            "model/likelihood=gaussian."
        )
    if support is Support.BINARY and not forced.binarize:
        raise InputError(
            f"{need}: drop data.binarize=false (bits stay as they are), or say "
            "model/likelihood=bernoulli_grey for cross-entropy on grey pixels."
        )
    if forced.binarize and not wanted.binarize:
        raise InputError(
            f"{need}, not on bits: drop data.binarize=true, or choose model/likelihood=bernoulli."
        )
    if forced.dequantize and not wanted.dequantize:
        why = f"{need}, which noise would leave" if is_8bit else "float data have no levels to fill"
        raise InputError(f"{why}: drop data.dequantize=true.")
    return forced


def as_numbers(name: str, value: Any) -> Tensor:
    """Real numbers as a caller has them, in a tensor, an array or lists, as a tensor.

    Raises InputError for anything else, such as text or rows of different lengths; `name` is what
    the caller calls them.
    """
    try:
        found = (
            value if isinstance(value, Tensor) else torch.as_tensor(np.asarray(value, order="C"))
        )
    except (TypeError, ValueError, RuntimeError, OverflowError):
        found = None
    if found is None or found.is_complex():
        raise InputError(f"{name} must be real numbers: a tensor, an array or lists of one shape.")
    return found


def as_pixels(x: Any, shape: Shape) -> Tensor:
    """Images as a caller has them, tensor or array, as pixels: (N, *shape), uint8 or float.

    A channel axis of 1 may be left out. Raises InputError for what are no numbers, for another
    shape, for no image at all, and for floats outside [0, 1].
    """
    pixels = as_numbers("images", x)
    if pixels.shape[1:] != shape and (1, *pixels.shape[1:]) == shape:
        pixels = pixels.unsqueeze(1)
    if pixels.shape[1:] != shape or not len(pixels):
        raise InputError(
            f"images must be (N, {', '.join(map(str, shape))}), not {tuple(pixels.shape)}."
        )
    if pixels.dtype != torch.uint8:
        pixels = pixels.to(torch.float32)
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise InputError("float images must lie in [0, 1]: scale them, or give uint8.")
    return pixels


def _choice(value: bool | str, auto: bool) -> bool:
    return auto if value == "auto" else bool(value)
