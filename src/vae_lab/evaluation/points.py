"""Codes as points of a plane, coloured by label."""

import torch
from matplotlib import colormaps
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from vae_lab.estimators import sampled
from vae_lab.evaluation.metrics import centres
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.trace import Batch, centre


def latent_means(model: VAE, batch: Batch, name: str) -> Figure:
    """Posterior means in a 2-d latent space, coloured by label where there are classes."""
    z = centre(model.q_z(batch.x, batch.y))
    figure = _points(z, batch.y, model.num_classes)
    figure.axes[0].set(xlabel="$z_0$", ylabel="$z_1$", title=f"posterior means of {name} images")
    return figure


def code_map(model: LatentVariableModel, batch: Batch, name: str) -> Figure:
    """The plane in which the codes of images spread most, by PCA, coloured by label."""
    z = centres(model(batch, sampled(1)))
    middle = z - z.mean(0)
    u, sizes, _ = torch.linalg.svd(middle, full_matrices=False)
    shares = 100 * sizes.square() / sizes.square().sum()
    figure = _points(u[:, :2] * sizes[:2], batch.y, model.num_classes)
    x, y = (f"principal axis {axis + 1}: {shares[axis]:.0f} % of the variance" for axis in (0, 1))
    title = f"codes of {name} images: centres of q(z|x), {model.num_units} units"
    figure.axes[0].set(xlabel=x, ylabel=y, title=title)
    return figure


def _points(at: Tensor, y: Tensor | None, num_classes: int | None) -> Figure:
    """Points (N, 2), coloured by label (N,) where there are classes."""
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.add_subplot()
    right, up = at.T.cpu().numpy()
    if y is None or num_classes is None:
        axes.scatter(right, up, s=8)
    else:
        colours, last = class_colours(num_classes), num_classes - 0.5
        shown = axes.scatter(right, up, s=8, c=y.cpu().numpy(), cmap=colours, vmin=-0.5, vmax=last)
        figure.colorbar(shown, label="y", ticks=MaxNLocator(20, integer=True))
    axes.set_aspect("equal", adjustable="datalim")
    return figure


def class_colours(num_classes: int) -> Colormap:
    """A colour for each class, its own in every figure whatever classes that shows."""
    if num_classes > 20:
        return colormaps["turbo"].resampled(num_classes)
    name = "tab10" if num_classes <= 10 else "tab20"
    return ListedColormap([colormaps[name](y) for y in range(num_classes)])
