"""MNIST: 60,000 and 10,000 handwritten digits of 28x28."""

from pathlib import Path
from typing import Any

import torch
from torchvision.datasets import MNIST as TorchvisionMNIST
from torchvision.datasets.utils import check_md5

from vae_lab.arguments import Text
from vae_lab.data.download import fetch
from vae_lab.data.images import Images
from vae_lab.data.source import Source
from vae_lab.errors import InputError

_MD5 = {  # of the unpacked files; torchvision checks only the packed ones, as it downloads them
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


def raw_only(kind: type[Any]) -> type[Any]:
    """A class of torchvision's that reads MNIST's format, but not the `processed/*.pt` of old.

    Those it prefers, and nobody knows their sums.
    """
    return type(kind.__name__, (kind,), {"_check_legacy_exist": lambda self: False})


_MNIST = raw_only(TorchvisionMNIST)


class MNIST(Source):
    """LeCun, Cortes and Burges, in torchvision's layout.

    Args:
        root: The folder in which MNIST/raw lies, or into which it is downloaded.
    """

    name = "mnist"

    def __init__(self, root: Text) -> None:
        self.root = Path(root)

    def read(self) -> tuple[Images, Images]:
        folder = self.root / "MNIST" / "raw"
        fetch("MNIST", folder, lambda download: _MNIST(self.root, download=download))
        for name, md5 in _MD5.items():
            if not (folder / name).is_file() or not check_md5(folder / name, md5):
                raise InputError(
                    f"{folder / name} is cut short or has the wrong sum: delete it, and run again "
                    "to download it, or point data.root at an intact copy."
                )
        return self._split(train=True), self._split(train=False)

    def _split(self, train: bool) -> Images:
        dataset = _MNIST(self.root, train=train)
        return Images(dataset.data.unsqueeze(1), dataset.targets.to(torch.int64))
