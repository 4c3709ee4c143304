"""OMNIGLOT: 24,345 and 8,070 handwritten characters of 28x28, in the form of the literature."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.io import loadmat
from torchvision.datasets.utils import download_url

from vae_lab.arguments import Count, Text
from vae_lab.data.download import fetch
from vae_lab.data.images import Images
from vae_lab.data.source import Source
from vae_lab.errors import InputError

_URL = "https://raw.githubusercontent.com/yburda/iwae/master/datasets/OMNIGLOT/chardata.mat"
_PIXELS, _SIDE = 784, 28


class Omniglot(Source):
    """Lake et al. 2015, as Burda et al. 2016 (Importance Weighted Autoencoders) made it smaller.

    Greys in 0..1; a class is one of 50 alphabets. No sum of the file is published: its arrays are
    checked instead.

    Args:
        root: The folder in which omniglot/chardata.mat lies, or into which it is downloaded.
        counts: How many training and test images there are, a fact that is checked; None takes the
            file's word.
    """

    name = "omniglot"

    def __init__(self, root: Text, counts: tuple[Count, Count] | None) -> None:
        self.path = Path(root) / "omniglot" / "chardata.mat"
        self.counts = counts

    def read(self) -> tuple[Images, Images]:
        arrays = fetch("OMNIGLOT", self.path.parent, self._load)
        halves = (
            self._half(arrays, "data", "target"),
            self._half(arrays, "testdata", "testtarget"),
        )
        found = tuple(len(half) for half in halves)
        if self.counts is not None and found != tuple(self.counts):
            raise self._refused(
                f"holds {found[0]} training and {found[1]} test images, not {self.counts[0]} and "
                f"{self.counts[1]}"
            )
        return halves

    def _load(self, download: bool) -> dict[str, Any]:
        if download:
            download_url(_URL, str(self.path.parent), self.path.name)
        try:
            return loadmat(self.path)
        except OSError:
            raise
        except Exception as error:  # of a file that is cut short, scipy says many things
            raise ValueError(str(error)) from error

    def _half(self, arrays: dict[str, Any], pixels: str, labels: str) -> Images:
        """Images of one column of 784 values each, down before right, with one-hot labels."""
        for name in (pixels, labels):
            if name not in arrays:
                raise self._refused(f"holds no array '{name}'")
        x, y = arrays[pixels], arrays[labels]
        if x.ndim != 2 or y.ndim != 2 or len(x) != _PIXELS or x.shape[1] != y.shape[1]:
            raise self._refused(f"holds {pixels} of {x.shape} and {labels} of {y.shape}")
        upright = torch.from_numpy(x.T.astype(np.float32)).reshape(-1, 1, _SIDE, _SIDE).mT
        return Images(upright.contiguous(), torch.from_numpy(y.argmax(0)))

    def _refused(self, what: str) -> InputError:
        return InputError(
            f"{self.path} {what}: delete it, and run again to download it, or point data.root at "
            "an intact copy."
        )
