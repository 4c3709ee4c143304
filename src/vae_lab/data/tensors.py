"""A user's own images, from one file of arrays."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lab.arguments import Text
from vae_lab.data.images import Images
from vae_lab.data.source import Source
from vae_lab.errors import InputError, explained
from vae_lab.storage.checkpoint import read_tensors
from vae_lab.storage.files import check_zip


class Tensors(Source):
    """A .npz or .pt file (a dict) with `images` and, optionally, integer `labels`.

    Images are (N, H, W), (N, C, H, W) or vectors (N, D): uint8 0..255, bool, or floats in [0, 1].
    Neither kind of file may run code as it loads.

    Args:
        path: The file.
    """

    name = "tensors"

    def __init__(self, path: Text) -> None:
        self.path = Path(path)

    def read(self) -> tuple[Images, None]:
        content = self._load()
        if "images" not in content:
            raise InputError(
                f"{self.path} holds {', '.join(sorted(content)) or 'nothing'}: it needs an array "
                "'images', and may have 'labels'."
            )
        pixels = self._pixels(self._tensor(content, "images"))
        if content.get("labels") is None:
            return Images(pixels, None), None
        labels = self._tensor(content, "labels")
        return Images(pixels, labels if labels.is_floating_point() else labels.long()), None

    def _load(self) -> dict[str, Any]:
        if not self.path.is_file():
            raise InputError(f"no file at {self.path}: set data.path to a .npz or .pt file.")
        with explained(self._refused):
            if self.path.suffix == ".npz":
                check_zip(self.path)
                with self.path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                    return dict(arrays)
            if self.path.suffix == ".pt":
                content = read_tensors(self.path)
                return content if isinstance(content, dict) else {}
        raise InputError(f"{self.path} is neither .npz nor .pt: set data.path to one of those.")

    def _refused(self, error: Exception) -> InputError:
        return InputError(
            f"{self.path} is cut short, damaged, or holds more than plain arrays: write it again "
            "with numpy.savez or torch.save of a dict of tensors."
        )

    def _tensor(self, content: dict[str, Any], name: str) -> Tensor:
        try:
            found = torch.as_tensor(content[name]).detach()
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"'{name}' in {self.path} must be one array of numbers.") from error
        if found.layout != torch.strided or found.is_quantized:
            raise InputError(f"'{name}' in {self.path} is sparse or quantised: store it dense.")
        return found

    def _pixels(self, pixels: Tensor) -> Tensor:
        if pixels.dim() not in (2, 3, 4) or not pixels.numel():
            raise InputError(
                f"'images' in {self.path} must be (N, H, W), (N, C, H, W) or (N, D), not "
                f"{tuple(pixels.shape)}."
            )
        if pixels.dim() == 4 and pixels.shape[-1] in (1, 3) and pixels.shape[1] not in (1, 3):
            raise InputError(
                f"'images' in {self.path} have their channels last, {tuple(pixels.shape)}: "
                "transpose them to (N, C, H, W)."
            )
        if pixels.dim() == 3:
            pixels = pixels.unsqueeze(1)
        if pixels.dtype == torch.bool:
            return pixels.to(torch.uint8) * 255
        if pixels.dtype == torch.uint8:
            return pixels
        if not pixels.is_floating_point():
            raise InputError(
                f"'images' in {self.path} are {pixels.dtype}: store uint8, bool or float."
            )
        return pixels.to(torch.float32)
