"""CIFAR-10: 50,000 and 10,000 colour images of 32x32."""

from pathlib import Path

import torch
from torchvision.datasets import CIFAR10 as TorchvisionCIFAR10

from vae_lab.arguments import Text
from vae_lab.data.download import fetch
from vae_lab.data.images import Images
from vae_lab.data.source import Source


class CIFAR10(Source):
    """Krizhevsky 2009, in torchvision's layout; sums are checked.

    Args:
        root: The folder in which cifar-10-batches-py lies, or into which it is downloaded.
    """

    name = "cifar10"

    def __init__(self, root: Text) -> None:
        self.root = Path(root)

    def read(self) -> tuple[Images, Images]:
        folder = self.root / TorchvisionCIFAR10.base_folder
        fetch("CIFAR-10", folder, lambda download: TorchvisionCIFAR10(self.root, download=download))
        return self._split(train=True), self._split(train=False)

    def _split(self, train: bool) -> Images:
        dataset = TorchvisionCIFAR10(self.root, train=train)
        pixels = torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous()
        return Images(pixels, torch.tensor(dataset.targets))
