"""Images side by side."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor


def image_grid(
    x: Tensor, title: str, row_names: Sequence[str] = (), column_names: Sequence[str] = ()
) -> Figure:
    """Images (rows, columns, C, H, W) in [0, 1], side by side with a thin white gap.

    `row_names` stand at the left, one a row, `column_names` below, one a column.
    """
    rows, columns, _, height, width = x.shape
    size = 0.55 if max(rows, columns) <= 13 else 0.36  # of a column, in inches
    tall = size * rows * (height + 1) / (width + 1)
    figure = Figure(figsize=(size * columns, tall + 0.3), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(_picture(x).numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_yticks([_middle(row, height) for row in range(len(row_names))], row_names)
    axes.set_xticks([_middle(column, width) for column in range(len(column_names))], column_names)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=9)
    return figure


def image_blocks(sets: Mapping[str, Tensor], title: str = "", columns: int = 8) -> Figure:
    """Sets of images (N, C, H, W) in [0, 1], a block each, side by side under their names.

    `columns` is of each block, whose last row ends where its images do.
    """
    blocks = {name: _in_rows(x, columns) for name, x in sets.items()}
    tallest = max(block.shape[0] * block.shape[3] / block.shape[4] for block in blocks.values())
    size = 0.34  # of a column, in inches
    wide = size * (columns + 1) * len(blocks)
    figure = Figure(figsize=(wide, size * tallest + 0.6), layout="constrained")
    panels = figure.subplots(1, len(blocks), squeeze=False)[0]
    for axes, (name, block) in zip(panels, blocks.items(), strict=True):
        axes.imshow(_picture(block).numpy(), cmap="gray", vmin=0, vmax=1)
        axes.set_title(name, fontsize=9)
        axes.set_axis_off()
    figure.suptitle(title, fontsize=9)
    return figure


def _in_rows(x: Tensor, columns: int) -> Tensor:
    """(N, C, H, W) -> (rows, columns, C, H, W), white where there are no more."""
    lacking = -len(x) % columns
    return torch.cat([x, x.new_ones(lacking, *x.shape[1:])]).unflatten(0, (-1, columns))


def _picture(x: Tensor) -> Tensor:
    """Images (rows, columns, C, H, W) as one, (H', W', 3) or grey (H', W')."""
    rows, columns, channels, height, width = x.shape
    canvas = torch.ones(rows, columns, channels, height + 1, width + 1)
    canvas[..., :height, :width] = x.detach().float().cpu().clamp(0, 1)
    picture = canvas.permute(0, 3, 1, 4, 2).reshape(rows * (height + 1), columns * (width + 1), -1)
    return picture[..., :3] if channels in (3, 4) else picture.mean(-1)


def _middle(place: int, size: int) -> float:
    return place * (size + 1) + (size - 1) / 2
