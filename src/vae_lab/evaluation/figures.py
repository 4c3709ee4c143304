"""Figures of a model, plotted from decoder means (and draws, where they differ).

Every function returns a Figure; `plot_all` decides which ones a model calls for.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.evaluation.grid import image_blocks, image_grid
from vae_lab.evaluation.layers import layers
from vae_lab.evaluation.moves import (
    between,
    codes,
    interpolate,
    no_transfer,
    transfer,
    traverse,
)
from vae_lab.evaluation.points import code_map, latent_means
from vae_lab.model import VAE, Completion, LadderVAE, LatentVariableModel
from vae_lab.seeding import reseed
from vae_lab.storage.files import atomic_file
from vae_lab.trace import Batch, Latent, Shape, centre, is_discrete


@torch.no_grad()
def plot_all(
    model: LatentVariableModel, batch: Batch, name: str = "test", seed: int = 0
) -> dict[str, Figure]:
    """Every figure that fits `model`; `batch` holds the images of split `name` to show.

    Images need x_shape (C, H, W); for vectors only the latent figure is plotted.
    """
    was_training = model.training
    model.eval()
    reseed(_device(model), seed, "figures")
    figures: dict[str, Figure] = {}
    is_image = len(model.x_shape) == 3
    if is_image:
        figures["reconstructions"] = reconstructions(model, batch, name)
        if not model.observed:
            figures["samples"] = samples(model, 64)
    if isinstance(model, Completion):
        figures["completions"] = completions(model, batch, name)
    if isinstance(model, VAE) and is_image and len(batch.x) > 1:
        figures["interpolation"] = interpolation(model, batch, name)
    if isinstance(model, VAE) and is_image and not is_discrete(model.p_z(batch.y)):
        figures["traversals"] = traversals(model, batch, name)
    if model.reads_labels and is_image:
        figures["classes"] = classes(model, 10)
    if isinstance(model, VAE) and is_image and model.prior.reads_labels:
        every = torch.arange(model.num_classes or 0)
        figures["class_path"] = class_path(model, torch.stack([every, every.roll(-1)], 1), 10)
    if isinstance(model, VAE) and is_image and not no_transfer(model):
        figures["transfer"] = transfers(model, batch, name)
    if isinstance(model, VAE) and model.z_shape == (2,):
        figures["latent_means"] = latent_means(model, batch, name)
        if is_image and not model.reads_labels:
            figures["manifold"] = manifold(model, 20)
    if isinstance(model, LadderVAE) and is_image and len(model.layer_sizes) > 1:
        figures["layers"] = layers(model)
    if model.num_units > 2 and len(batch.x) > 2:
        figures["codes"] = code_map(model, batch, name)
    model.train(was_training)
    return figures


def reconstructions(model: LatentVariableModel, batch: Batch, name: str, n: int = 10) -> Figure:
    """Inputs over the decoder's mean at their posterior means."""
    shown = batch[:n]
    x = torch.stack([shown.x, model.reconstruct(shown).mean])
    return image_grid(x, f"{name} images (top), reconstructions (bottom)")


def samples(model: LatentVariableModel, n: int) -> Figure:
    """Draws from the prior, decoded: means, beside draws of x where the two differ."""
    y = None
    if model.reads_labels:
        assert model.num_classes is not None
        y = torch.arange(n, device=_device(model)) % model.num_classes
    p_x = model.sample(n, y)
    side = int(n**0.5)
    mean = p_x.mean.reshape(side, side, *model.x_shape)
    drawn = p_x.sample().reshape(side, side, *model.x_shape)
    gap = torch.ones(side, 1, *model.x_shape, device=mean.device)
    both = torch.cat([mean, gap, drawn.clamp(0, 1)], 1)
    return image_grid(both, "prior samples: decoder means (left), draws of x (right)")


def completions(model: Completion, batch: Batch, name: str, n: int = 10) -> Figure:
    """What is given of images, the images, and completions: means, each of another z, then draws.

    Without a latent there is one mean.
    """
    shown, count = batch[:n], 5 if model.num_units else 1
    means = model.complete(shown, count).mean
    draws = model.complete(shown, 2).sample().clamp(0, 1)
    x = torch.cat([model.given_of(shown.x, fill=0.5)[None], shown.x[None], means, draws])
    rows = ["given", "x", *["mean"] * len(means), *["draw"] * len(draws)]
    title = f"{name} images x, each completed given {model.observed}: means, then draws of x"
    return image_grid(x, title, rows)


@torch.no_grad()
def prior_samples(
    model: VAE, priors: Mapping[str, Callable[[Tensor | None], Distribution]], n: int = 64
) -> Figure:
    """Decoder means of draws from several priors over z, one block each, under their names."""
    y = None
    if model.num_classes is not None:
        y = torch.arange(n, device=_device(model)) % model.num_classes
    sets = {}
    for name, prior in priors.items():
        reseed(_device(model), "prior samples")
        sets[name] = model.sample_from(prior(y), n, y).mean
    return image_blocks(sets, "samples from each prior over z (decoder means)")


def interpolation(model: VAE, batch: Batch, name: str, n: int = 10) -> Figure:
    """Straight lines between the codes of pairs of images; the ends are the inputs.

    Rows of a conditional model tell the two labels, of which the first serves up to the middle.
    """
    pairs = [batch[2 * pair : 2 * pair + 2] for pair in range(min(4, len(batch.x) // 2))]
    rows = torch.stack([interpolate(model, ends, n) for ends in pairs])
    ways = [_way(ends.y) for ends in pairs if ends.y is not None and model.reads_labels]
    return image_grid(rows, f"interpolation between two {name} images (at the ends)", ways)


def traversals(model: VAE, batch: Batch, name: str, rows: int = 10, columns: int = 13) -> Figure:
    """One unit of z a row, moved over the prior while the others stay where the first image is.

    From -3 to 3 of the prior's standard deviations; the units with the largest KL come first, or
    those whose centres vary most where the KL is no sum over units.
    """
    q, p = model.q_z(batch.x, batch.y), model.p_z(batch.y)
    kl, z = Latent(q.sample((1,)), q, p).kl_per_unit, centre(q)
    says = (z.var(0, correction=0) if kl is None else kl.flatten(0, 1).mean(0)).flatten()
    units = says.argsort(descending=True)[:rows].tolist()
    z, y = z[:1], None if batch.y is None else batch.y[:1]
    drawn = model.p_z(y).sample((2000,)).reshape(2000, -1)  # any prior can do that
    std = torch.linspace(-3, 3, columns, device=drawn.device).unsqueeze(1)  # (columns, 1)
    moved = drawn.mean(0) + std * drawn.std(0)
    x = [traverse(model, z, y, unit, moved[:, unit]) for unit in units]
    held = f" of class {int(y)}" if y is not None and model.reads_labels else ""
    return image_grid(
        torch.cat(x),
        f"a {name} image{held}, one unit of its z moved in each row\n"
        f"(left: {'variance of its mean' if kl is None else 'its KL, nats'}; "
        "below: standard deviations of the prior)",
        [f"$z_{{{_place(unit, model.z_shape)}}}$  {says[unit]:.2f}" for unit in units],
        [f"{value:g}" if value.is_integer() else "" for value in std.flatten().tolist()],
    )


def classes(model: LatentVariableModel, columns: int) -> Figure:
    """One class a row, the same noise down a column: only the label differs between rows."""
    assert model.num_classes is not None
    rows = []
    for y in range(model.num_classes):
        reseed(_device(model), "classes")
        labels = torch.full((columns,), y, device=_device(model))
        rows.append(model.sample(columns, labels).mean)
    title = "one class a row, the same noise down a column (decoder means)"
    return image_grid(torch.stack(rows), title, [str(y) for y in range(model.num_classes)])


def class_path(model: VAE, pairs: Sequence[tuple[int, int]] | Tensor, columns: int) -> Figure:
    """From the prior mean of one class (left) to that of another (right): [(9, 7)] is one row.

    For a prior that reads labels; a decoder that does is told the first class up to the middle.
    """
    ways = torch.as_tensor(pairs, device=_device(model))  # (rows, 2)
    rows = [between(model, model.p_z(y).mean, y, columns) for y in ways]
    title = "from the prior mean of one class to that of another (decoder means)"
    return image_grid(torch.stack(rows), title, [_way(y) for y in ways])


def transfers(model: VAE, batch: Batch, name: str, n: int = 10) -> Figure:
    """An image of each class (left), re-rendered as each class; at most `n` classes."""
    assert batch.y is not None
    shown_classes = batch.y.unique()[:n]
    shown = batch[[int((batch.y == y).nonzero()[0]) for y in shown_classes]]
    z, y = codes(model, shown), shown_classes
    columns = [transfer(model, z, y, to.expand(len(y))) for to in shown_classes]
    names = [str(int(label)) for label in shown_classes]
    title = f"{name} images (left), each re-rendered as the class below"
    return image_grid(torch.stack([shown.x, *columns], 1), title, names, ["x", *names])


def manifold(model: VAE, side: int) -> Figure:
    """Decoder means over a grid of the 2-d latent plane, at quantiles of a standard normal."""
    q = torch.linspace(0.02, 0.98, side, device=_device(model))
    at = torch.distributions.Normal(0.0, 1.0).icdf(q)
    z = torch.stack(torch.meshgrid(at, -at, indexing="xy"), -1)  # rows go down, z_1 goes up
    x = model.p_x(z.reshape(-1, 2), None).mean
    return image_grid(x.reshape(side, side, *model.x_shape), "decoder means over the latent plane")


def _place(unit: int, z_shape: Shape) -> str:
    """Where a unit, counted through the whole of z, stands in it: a number for each dimension."""
    return ",".join(str(int(at)) for at in torch.unravel_index(torch.tensor(unit), z_shape))


def _way(y: Tensor) -> str:
    start, end = y.tolist()
    return f"{start} \u2192 {end}"


def _device(model: LatentVariableModel) -> torch.device:
    return next(model.parameters()).device


def save_figures(figures: dict[str, Figure], folder: Path) -> dict[str, Path]:
    """Write each figure, whole, as `folder`/name.png; the paths, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.png" for name in figures}
    for name, figure in figures.items():
        with atomic_file(paths[name]) as part:
            canvas = FigureCanvasAgg(figure)
            canvas.figure.savefig(part, format="png", dpi=120, bbox_inches="tight")
    return paths
