"""Printed digits, MNIST's size, drawn at first use from the fonts that matplotlib ships."""

import math
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import grid_sample

from vae_lab.arguments import Count, Seed
from vae_lab.data.images import Images
from vae_lab.data.source import Source

# One an outline: bold and oblique cuts are what stroke and shear make of these.
FONTS = (
    "DejaVuSans", "DejaVuSansMono", "DejaVuSerif", "STIXGeneral", "STIXGeneralItalic",
    "cmr10", "cmss10", "cmti10", "cmtt10",
)  # fmt: skip
_SIDE = 28  # of an image, in pixels
_HEIGHT = 80  # of a digit as its outline is measured
_FIELD = 160  # the side of what is measured


class Glyphs(Source):
    """White digits on black, each with a font, size, angle, shear, place and stroke of its own.

    The factors are drawn uniformly, and an image is a function of them and of its label: `font`, a
    position in `FONTS`; `size`, the digit's height in pixels; `angle`, in degrees counterclockwise;
    `shear`, by which it leans to the right for each pixel upwards; `x` and `y`, where its middle
    lies, in pixels to the right of the image's and above it; `stroke`, the pixels by which its
    outline is moved outwards.

    Args:
        count: How many images.
        seed: Of labels and factors.
    """

    name = "glyphs"
    factor_names = ("font", "size", "angle", "shear", "x", "y", "stroke")
    _low = (0, 16.0, -12.0, -0.2, -1.5, -1.5, 0.2)
    _high = (len(FONTS), 20.0, 12.0, 0.2, 1.5, 1.5, 0.8)

    def __init__(self, count: Count, seed: Seed) -> None:
        self.count, self.seed = count, seed

    def read(self) -> tuple[Images, None]:
        random = torch.Generator().manual_seed(self.seed)
        labels = torch.randint(10, (self.count,), generator=random)
        low, high = torch.tensor(self._low), torch.tensor(self._high)
        factors = low + (high - low) * torch.rand(self.count, len(low), generator=random)
        factors[:, 0].floor_()
        fields = torch.stack([_distances(name, digit) for name in FONTS for digit in range(10)])
        parts = zip(labels.split(1000), factors.split(1000), strict=True)  # to save memory
        pixels = torch.cat([_drawn(fields, *part) for part in parts])
        return Images(pixels, labels, factors), None


def _drawn(fields: Tensor, labels: Tensor, factors: Tensor) -> Tensor:
    """The images (N, 1, 28, 28), uint8, of these labels (N,) and factors (N, F).

    `fields` (fonts * 10, 160, 160) are the digits of each font, as `_distances` tells them.
    """
    font, size, angle, shear, x, y, stroke = factors[:, :, None, None].unbind(1)  # each (N, 1, 1)
    middle = torch.arange(_SIDE) - (_SIDE - 1) / 2
    right, up = middle - x, -middle[:, None] - y  # (N, 28, 28), of a pixel from the digit's centre
    cos, sin = torch.cos(angle * math.pi / 180), torch.sin(angle * math.pi / 180)
    right, up = cos * right + sin * up, cos * up - sin * right
    right = right - shear * up
    scale = size / _HEIGHT  # pixels of the image for each of the field
    # The fields lie behind one another in a volume, so that a whole number names one of them.
    which = (font * 10 + labels[:, None, None]) / (len(fields) - 1) * 2 - 1
    at = torch.stack([right / scale, -up / scale], -1) / (_FIELD - 1) * 2
    where = torch.cat([at, which[..., None].expand_as(at[..., :1])], -1)  # (N, 28, 28, 3)
    distance = grid_sample(
        fields[None, None], where[None], padding_mode="border", align_corners=True
    )[0]
    # A pixel is covered as far as the outline lies beyond its centre: edges one pixel wide.
    covered = (distance.squeeze(0) * scale + stroke + 0.5).clamp(0, 1)
    return (covered * 255).round().to(torch.uint8).unsqueeze(1)


def _distances(font: str, digit: int) -> Tensor:
    """How far each point lies inside a digit's outline, (160, 160), below 0 outside.

    The digit is 80 high, and in the middle.
    """
    path = Path(mpl.get_data_path(), "fonts", "ttf", f"{font}.ttf")
    page = Image.new("L", (4 * _HEIGHT, 4 * _HEIGHT))
    drawing = ImageDraw.Draw(page)
    drawing.text((_HEIGHT, _HEIGHT), str(digit), 255, ImageFont.truetype(path, 2 * _HEIGHT))
    cut = page.crop(page.getbbox())
    width = round(cut.width * _HEIGHT / cut.height)
    field = Image.new("L", (_FIELD, _FIELD))
    field.paste(cut.resize((width, _HEIGHT)), ((_FIELD - width) // 2, (_FIELD - _HEIGHT) // 2))
    ink = np.asarray(field) > 127
    edge = np.where(ink, -0.5, 0.5)  # halfway between points that are told as one apart
    return torch.from_numpy(
        distance_transform_edt(ink) - distance_transform_edt(~ink) + edge
    ).float()
