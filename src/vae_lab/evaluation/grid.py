"""Images side by side."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor


def image_grid(
    x: Tensor, title: str, row_names: Sequence[str] = (), column_names: Sequence[str] = ()
) -> Figure:
    """Images (rows, columns, C, H, W) in [0, 1], side by side with a thin white gap.

    `row_names` stand at the left, one a row, `column_names` below, one a column.
    """
    rows, columns, channels, height, width = x.shape
    canvas = torch.ones(rows, columns, channels, height + 1, width + 1)
    canvas[..., :height, :width] = x.detach().float().cpu().clamp(0, 1)
    picture = canvas.permute(0, 3, 1, 4, 2).reshape(rows * (height + 1), columns * (width + 1), -1)
    size = 0.55 if max(rows, columns) <= 13 else 0.36  # of a column, in inches
    tall = size * rows * (height + 1) / (width + 1)
    figure = Figure(figsize=(size * columns, tall + 0.3), layout="constrained")
    axes = figure.add_subplot()
    shown = picture[..., :3] if channels in (3, 4) else picture.mean(-1)
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_yticks([_middle(row, height) for row in range(len(row_names))], row_names)
    axes.set_xticks([_middle(column, width) for column in range(len(column_names))], column_names)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=9)
    return figure


def _middle(place: int, size: int) -> float:
    return place * (size + 1) + (size - 1) / 2
