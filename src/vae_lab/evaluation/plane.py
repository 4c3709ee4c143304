"""Runs as points of one plane: what they pay in rate, and what they are left with in distortion."""

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Runs = Mapping[str, Mapping[str, float]]
"""By name, the metrics of runs on the same data, as `Run.metrics` are."""

MANY = 12
"""Runs, beyond which those alone are named that lie on the front."""


def rate_distortion(runs: Runs, split: str = "test") -> Figure:
    """Each run's rate and distortion, beside its name and active units; lines are equal ELBOs.

    Two models of the same ELBO may lie far apart: one tells nothing of x by z, at no rate, the
    other much. Alemi et al., Fixing a Broken ELBO, 2018 (https://arxiv.org/abs/1711.00464). Runs
    that no other surpasses in both are joined, where they are three or more: the curve that was
    found.

    Args:
        runs: By name, the metrics of runs on the same data, as `Run.metrics` are.
        split: "train", "val" or "test": whose "rate", "distortion" and, where there is one,
            "active_units" are shown.
    """
    return rate_distortions({"runs": runs}, split)


def rate_distortions(groups: Mapping[str, Runs], split: str = "test") -> Figure:
    """The same of several groups, which cannot be compared, each in a panel of its own."""
    figure = Figure(figsize=(7.5, 5 * len(groups)), layout="constrained")
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, (title, runs) in zip(panels, groups.items(), strict=True):
        _draw(axes, runs, split)
        along = "along a line the ELBO, -(rate + distortion), is the same"
        axes.set_title(f"{title}\n{along}", fontsize=10)
    return figure


def _draw(axes: Axes, runs: Runs, split: str) -> None:
    at = {name: (m[f"{split}/rate"], m[f"{split}/distortion"]) for name, m in runs.items()}
    front = _front(at)
    for name, (rate, distortion) in at.items():
        active = runs[name].get(f"{split}/active_units")
        axes.plot(rate, distortion, "o", label=name)
        if len(runs) <= MANY or name in front:
            told = name if active is None else f"{name}: {active:.0f} active"
            axes.annotate(told, at[name], xytext=(6, 4), textcoords="offset points")
        axes.axline((0, rate + distortion), slope=-1, color="grey", alpha=0.3, linewidth=0.8)
    if len(front) > 2:
        axes.plot(*zip(*map(at.__getitem__, front), strict=True), color="k", alpha=0.5, zorder=0)
    axes.set_xlim(right=1.3 * axes.get_xlim()[1])  # for the names
    axes.set(xlabel="rate KL(q || p), nats", ylabel="distortion, nats")


def _front(at: Mapping[str, tuple[float, float]]) -> list[str]:
    """Those that no other surpasses in rate and distortion both, by their rate.

    >>> _front({"a": (1, 9), "b": (4, 5), "c": (3, 9), "d": (9, 4)})
    ['a', 'b', 'd']
    """
    front: list[str] = []
    for name in sorted(at, key=at.__getitem__):
        if not front or at[name][1] < at[front[-1]][1]:
            front.append(name)
    return front
