"""A search for the learning rate: it suggests, and changes nothing.

Smith, Cyclical Learning Rates for Training Neural Networks, 2017 (https://arxiv.org/abs/1506.01186).
"""

import warnings
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.tuner import Tuner  # type: ignore[attr-defined]
from matplotlib.figure import Figure
from rich.console import Console
from torch import Tensor

from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError
from vae_lab.evaluation.figures import save_figures
from vae_lab.training.module import VAEModule

STEPS, SKIPPED = 100, 10
"""Steps of the search, and those at its start whose smoothed loss means nothing yet."""


def suggest_lr(
    trainer: Trainer, module: VAEModule, data: ImageDataModule, folder: Path, console: Console
) -> dict[str, float]:
    """Try learning rates from 1e-6 to 1, and say at which the loss falls fastest.

    Plots the search as figures/lr_find.png in `folder`; weights end as they began. The module's
    guard must not stop on NaN: the search ends there by itself. Raises InputError where the loss
    never falls.
    """
    epochs = trainer.max_epochs
    trainer.fit_loop.max_epochs = -1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Total length of")  # no validation is no fault
        found = Tuner(trainer).lr_find(
            module, datamodule=data, min_lr=1e-6, max_lr=1.0, num_training=STEPS,
            early_stop_threshold=None, update_attr=False,
        )  # fmt: skip  # Lightning's threshold is a multiple of the loss, which may be negative
    trainer.fit_loop.max_epochs = epochs
    assert found is not None
    rates, losses = (
        torch.tensor(found.results[name])[SKIPPED:].double() for name in ("lr", "loss")
    )
    best = steepest(rates, losses)
    if trainer.is_global_zero:
        save_figures({"lr_find": _plot(rates, losses, best)}, folder / "figures")
        console.print(
            f"Suggested: optimizer.lr={best:.2g} in place of lr_find=true. Nothing was trained; "
            f"the search is plotted in {folder / 'figures' / 'lr_find.png'}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip
    return {"lr_find/suggestion": best}


def steepest(rates: Tensor, losses: Tensor) -> float:
    """The rate at which the loss falls fastest as the rate's logarithm grows; both (N,).

    Lightning's own suggestion divides by the rate itself, and so prefers the smallest. Raises
    InputError where nothing falls.
    """
    known = losses.isfinite()
    if known.sum() > 1:
        (slope,) = torch.gradient(losses[known], spacing=(rates[known].log(),))
        if slope.min() < 0:
            return float(rates[known][slope.argmin()])
    raise InputError("lr_find saw the loss fall at no learning rate: training cannot begin so.")


def _plot(rates: Tensor, losses: Tensor, best: float) -> Figure:
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses)
    axes.axvline(best, color="tab:red", label=f"{best:.2g}")
    low = losses.nan_to_num(torch.inf).argmin()
    before = losses[: low + 1]  # what follows is the explosion
    margin = 0.1 * float(before.max() - before.min()) or 1.0
    axes.set_ylim(float(before.min()) - margin, float(before.max()) + margin)
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss, nats (smoothed)")
    axes.legend()
    return figure
