"""scikit-learn's handwritten digits: 1,797 images of 8x8, embedded, no download."""

import torch

from vae_lab.data.images import Images
from vae_lab.data.source import Source


class Digits(Source):
    """The 17 grey levels of the original, spread over 0..255."""

    name = "digits"

    def read(self) -> tuple[Images, None]:
        # Here, since it takes a quarter of a second, and other data do not need it.
        from sklearn.datasets import load_digits

        pixels, labels = load_digits(return_X_y=True)
        levels = torch.from_numpy(pixels).mul(255 / 16).round().to(torch.uint8)
        return Images(levels.reshape(-1, 1, 8, 8), torch.from_numpy(labels).long()), None
