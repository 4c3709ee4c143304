"""What people hand to a model, as the model takes it."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vae_lab.data.preparation import Preparation, as_numbers, as_pixels
from vae_lab.errors import InputError
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.model.labels import as_labels
from vae_lab.trace import Batch

Labels = int | Sequence[int] | Tensor | None


class Inputs:
    """Images, labels and latents for one model: checked, prepared, on its device.

    Each raises InputError, in one line, for what the model cannot take.
    """

    def __init__(self, model: LatentVariableModel, preparation: Preparation) -> None:
        """`preparation` is from pixels to the model's x."""
        self.model, self.preparation = model, preparation

    @property
    def device(self) -> torch.device:
        """The model's."""
        return next(self.model.parameters()).device

    def batch(self, x: Any, y: Labels) -> Batch:
        """Images (N, *X), prepared, with their labels."""
        pixels = as_pixels(x, self.model.x_shape)
        if self.preparation.dequantize and pixels.dtype != torch.uint8:
            pixels = (pixels * 255).round().to(torch.uint8)
        prepared = self.preparation(pixels).to(self.device)
        return Batch(prepared, self.labels(y, len(prepared)), torch.arange(len(prepared)))

    def labels(
        self, y: Labels, n: int, name: str = "y", reads_labels: bool | None = None
    ) -> Tensor | None:
        """Labels (n,), called `name`, where they are read: by the model, if not told otherwise."""
        if reads_labels is None:
            reads_labels = self.model.reads_labels
        if y is not None and not reads_labels:
            raise InputError(f"this model reads no labels: leave {name} out.")
        if y is None and reads_labels:
            raise InputError(f"this model reads labels: give it {name}, a class or {n} of them.")
        labels = None if y is None else as_labels(y, n, name).to(self.device)
        self.model.check_labels(labels)
        return labels

    def latents(self, z: Any, model: VAE) -> Tensor:
        """Latents (N, *Z) of `model`, which is this one."""
        latents = as_numbers("latents", z).to(self.device, torch.float32)
        if latents.shape[1:] != model.z_shape or not len(latents):
            wanted = ", ".join(map(str, model.z_shape))
            raise InputError(f"latents must be (N, {wanted}), not {tuple(latents.shape)}.")
        if not latents.isfinite().all():
            raise InputError("latents must be finite in float32: there is NaN or infinity in them.")
        return latents
