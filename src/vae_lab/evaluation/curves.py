"""Training at a glance: how the bound and its terms went, and what each unit of z has come to."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from pydantic import TypeAdapter

from vae_lab.errors import InputError
from vae_lab.storage.files import atomic_file

PANELS = {
    "elbo": "ELBO, nats",
    "rate": "rate KL(q || p), nats",
    "distortion": "distortion, nats",
    "active_units": "active units",
}


MANY = 100
"""Units of z, as a spatial z has more: of so many at the most each has a line or a bar."""


@dataclass
class History:
    """What a run was at each epoch, counted from 1: all that its curves are drawn from.

    Attributes:
        epochs: Metrics such as "val/elbo"; not each epoch has them all.
        kl: Of each unit of z, in nats, when last looked at; none where it is no sum over units.
        sigma: Of each unit, sqrt(E_x Var[z|x]); no epoch where the posterior does not know it.
    """

    epochs: dict[int, dict[str, float]] = field(default_factory=dict)
    kl: list[float] = field(default_factory=list)
    sigma: dict[int, list[float]] = field(default_factory=dict)

    @classmethod
    def read(cls, run: str | os.PathLike[str]) -> "History":
        """That of a run folder. Raises InputError where there is none."""
        path = Path(run) / "figures" / "history.json"
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path} cannot be read: give the folder of a run that has plotted its figures."
            ) from error

    def write(self, folder: Path) -> None:
        """As `folder`/history.json, whole."""
        with atomic_file(folder / "history.json") as part:
            part.write_text(json.dumps(asdict(self)) + "\n")


def curves(epochs: Mapping[int, Mapping[str, float]], kl: Sequence[float]) -> Figure:
    """Metrics over epochs, and the KL of each unit as sorted bars.

    Args:
        epochs: Metrics such as "val/elbo" of each epoch, counted from 1; not each has them all.
        kl: Of each unit, in nats; none where it is no sum over units.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplot_mosaic([["elbo", "rate", "distortion"], ["active_units", "kl", "kl"]])
    for name in PANELS:
        _over_epochs(panels[name], epochs, name)
        panels[name].set_xlabel("epoch")
    panels["distortion"].legend()  # which every model has
    panels["active_units"].yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panels["active_units"].set_ylim(bottom=0, top=1.05 * len(kl) if kl else None)
    looked = [epoch for epoch, m in epochs.items() if any("active_units" in name for name in m)]
    after = f", after epoch {max(looked)}" if looked else ""
    panels["kl"].set_title(f"KL of each unit of z, nats, the largest first{after}", fontsize=10)
    _bars(panels["kl"], sorted(kl, reverse=True))
    return figure


def noise(
    epochs: Mapping[int, Mapping[str, float]], sigma: Mapping[int, Sequence[float]]
) -> Figure:
    """The posterior's noise over epochs, and below it what it costs: rate against distortion.

    The two are antagonists: noise is in the decoder's way, so that the distortion pulls sigma down,
    and the rate pulls it up, to that of the prior in units that are not worth their nats.

    Args:
        epochs: Metrics such as "val/rate" of each epoch, counted from 1.
        sigma: Of each unit of z, sqrt(E_x Var[z|x]), by epoch.
    """
    figure = Figure(figsize=(7, 7), layout="constrained")
    top, *below = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
    shown = _some(sigma)
    each = [[units[unit] for unit in shown] for units in sigma.values()]
    top.plot(list(sigma), each, color="tab:blue", alpha=0.35, linewidth=0.8)
    means = [sum(units) / len(units) for units in sigma.values()]
    top.plot(list(sigma), means, ".-k", label="mean over units")
    *_, last = sigma.values()
    which = "each unit" if len(shown) == len(last) else f"{len(shown)} of {len(last)} units"
    top.set_title(rf"noise of q(z|x): $\sigma$ of {which}, $\sqrt{{E_x Var[z|x]}}$", fontsize=10)
    top.set_ylim(bottom=0)
    top.legend()
    for axes, name in zip(below, ("rate", "distortion"), strict=True):
        _over_epochs(axes, epochs, name)
    below[-1].legend()  # distortion, which every model has
    below[-1].set_xlabel("epoch")
    return figure


def unit_kl(kl: Sequence[float]) -> Figure:
    """The KL of each unit of z, in nats, the largest first."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title("KL of each unit of z, nats, the largest first", fontsize=10)
    _bars(axes, sorted(kl, reverse=True))
    return figure


def _over_epochs(axes: Axes, epochs: Mapping[int, Mapping[str, float]], name: str) -> None:
    """A metric of training and validation; a point mass has no ELBO and no rate."""
    for split, colour in (("train", "tab:blue"), ("val", "tab:orange")):
        points = [(e, m[f"{split}/{name}"]) for e, m in epochs.items() if f"{split}/{name}" in m]
        if points:
            axes.plot(*zip(*points, strict=True), ".-", color=colour, label=split)
    if not axes.lines:
        _say(axes, "there is none")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(PANELS[name], fontsize=10)


def _some(sigma: Mapping[int, Sequence[float]]) -> list[int]:
    """The units that are shown: all or, of many, some from the least noise at the end to the most.

    Counted from 0, in their order.

    >>> _some({1: [0.5, 0.1, 0.3]})
    [0, 1, 2]
    """
    *_, last = sigma.values()
    order = sorted(range(len(last)), key=last.__getitem__)
    return sorted(order[:: -(-len(order) // MANY)])


def _bars(axes: Axes, kl: Sequence[float]) -> None:
    if len(kl) <= MANY:
        axes.bar(range(1, len(kl) + 1), kl)
    else:  # one shape in place of thousands
        axes.stairs(kl, [rank + 0.5 for rank in range(len(kl) + 1)], fill=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="unit, by rank", xlim=(0.4, max(len(kl), 1) + 0.6))
    if not kl:
        _say(axes, "the KL is no sum over units")


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
