"""Training at a glance: how the bound and its terms went, and what each unit of z has come to."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

PANELS = {
    "elbo": "ELBO, nats",
    "rate": "rate KL(q || p), nats",
    "distortion": "distortion, nats",
    "active_units": "active units",
}


def curves(epochs: Mapping[int, Mapping[str, float]], kl: Sequence[float]) -> Figure:
    """Metrics over epochs, and the KL of each unit as sorted bars.

    Args:
        epochs: Metrics such as "val/elbo" of each epoch, counted from 1; not each has them all.
        kl: Of each unit, in nats; none where it is no sum over units.
    """
    figure = Figure(figsize=(9, 5), layout="constrained")
    panels = figure.subplot_mosaic([["elbo", "rate", "distortion"], ["active_units", "kl", "kl"]])
    for name, title in PANELS.items():
        for split, colour in (("train", "tab:blue"), ("val", "tab:orange")):
            points = [
                (e, m[f"{split}/{name}"]) for e, m in epochs.items() if f"{split}/{name}" in m
            ]
            if points:
                panels[name].plot(*zip(*points, strict=True), ".-", color=colour, label=split)
        if not panels[name].lines:
            _say(panels[name], "there is none")
        panels[name].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[name].set_title(title, fontsize=10)
        panels[name].set_xlabel("epoch")
    panels["distortion"].legend()  # which every model has
    panels["active_units"].yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    panels["active_units"].set_ylim(bottom=0, top=1.05 * len(kl) if kl else None)
    looked = [epoch for epoch, m in epochs.items() if any("active_units" in name for name in m)]
    after = f", after epoch {max(looked)}" if looked else ""
    panels["kl"].set_title(f"KL of each unit of z, nats, the largest first{after}", fontsize=10)
    _bars(panels["kl"], sorted(kl, reverse=True))
    return figure


def _bars(axes: Axes, kl: Sequence[float]) -> None:
    axes.bar(range(1, len(kl) + 1), kl)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="unit, by rank", xlim=(0.4, max(len(kl), 1) + 0.6))
    if not kl:
        _say(axes, "the KL is no sum over units")


def _say(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
