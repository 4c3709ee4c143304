"""Runs as points of one plane: what they pay in rate, and what they are left with in distortion."""

from collections.abc import Mapping

from matplotlib.figure import Figure


def rate_distortion(runs: Mapping[str, Mapping[str, float]], split: str = "test") -> Figure:
    """Each run's rate and distortion, beside its name and active units; lines are equal ELBOs.

    Two models of the same ELBO may lie far apart: one tells nothing of x by z, at no rate, the
    other much. Alemi et al., Fixing a Broken ELBO, 2018 (https://arxiv.org/abs/1711.00464).

    Args:
        runs: By name, the metrics of runs on the same data, as `Run.metrics` are.
        split: "train", "val" or "test": whose "rate", "distortion" and, where there is one,
            "active_units" are shown.
    """
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, metrics in runs.items():
        rate, distortion = metrics[f"{split}/rate"], metrics[f"{split}/distortion"]
        active = metrics.get(f"{split}/active_units")
        axes.plot(rate, distortion, "o", label=name)
        told = name if active is None else f"{name}: {active:.0f} active"
        axes.annotate(told, (rate, distortion), xytext=(6, 4), textcoords="offset points")
        axes.axline((0, rate + distortion), slope=-1, color="grey", alpha=0.3, linewidth=0.8)
    axes.set_xlim(right=1.3 * axes.get_xlim()[1])  # for the names
    axes.set(xlabel="rate KL(q || p), nats", ylabel="distortion, nats")
    axes.set_title("runs; along a line the ELBO, -(rate + distortion), is the same", fontsize=10)
    return figure
