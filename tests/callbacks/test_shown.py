"""Figures while training: which images they show, and the curves of a run in parts."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from parts import datamodule, trainer, training
from torch import Tensor
from torch.distributions import Distribution, Independent

from vae_lab.callbacks import Figures, LastCheckpoint, Latents
from vae_lab.data import Digits, Images, Source
from vae_lab.errors import InputError
from vae_lab.evaluation.curves import History
from vae_lab.evaluation.metrics import LatentUnits
from vae_lab.model.posteriors import DiagonalGaussian
from vae_lab.support import Support
from vae_lab.trace import Batch, Trace


class Sorted(Source):
    """200 items of class 0, then as many of class 1; the latter test images too."""

    name = "sorted"

    def read(self) -> tuple[Images, Images]:
        labels = torch.arange(400) // 200
        pixels = (255 * torch.rand(400, 1, 8, 8)).to(torch.uint8)
        return Images(pixels, labels), Images(pixels.flip(0), labels.flip(0))


def fit_and_test(callback: Callback, val_size: int, epochs: int = 1) -> None:
    data = datamodule(Sorted(), Support.BINARY, val_size=val_size)
    unvalidated: dict[str, int] = {} if val_size else {"limit_val_batches": 0}
    module, fitted = training(), trainer(callback, epochs=epochs, **unvalidated)
    fitted.fit(module, datamodule=data)
    fitted.test(module, datamodule=data, verbose=False)


@pytest.mark.parametrize("val_size", [100, 0])
def test_figures_show_items_at_random_the_same_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, val_size: int
) -> None:
    seen: list[tuple[str, Batch]] = []

    def plotted(model: Any, shown: Batch, name: str) -> dict:
        seen.append((name, shown))
        return {}

    monkeypatch.setattr("vae_lab.callbacks.figures.plot_all", plotted)
    monkeypatch.setattr("vae_lab.callbacks.figures.save_figures", lambda figures, folder: {})
    fit_and_test(Figures(str(tmp_path), every_n_epochs=1, num_images=20), val_size, epochs=2)
    held_out = "val" if val_size else "train"
    assert [name for name, _ in seen] == [held_out, held_out, "test"]
    for _, shown in seen:
        assert len(shown.x) == 20
        assert shown.y is not None
        assert set(shown.y.tolist()) == {0, 1}
    assert torch.equal(seen[0][1].index, seen[1][1].index)


def test_without_validation_units_are_of_training_images_at_random(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels: list[int] = []
    update = LatentUnits.update

    def watched(self: LatentUnits, trace: Trace) -> None:
        assert trace.y is not None
        labels.extend(trace.y.tolist())
        update(self, trace)

    monkeypatch.setattr(LatentUnits, "update", watched)
    fit_and_test(Latents(num_images=40), val_size=0)
    assert len(labels) == 40 + 400  # training images, then test images
    assert set(labels[:40]) == {0, 1}


def test_a_resumed_run_has_its_whole_curve(tmp_path: Path) -> None:
    data = datamodule(Digits(), Support.BINARY, val_size=64, limit=64)

    def fitted(folder: Path, epochs: int, start: Path | None = None) -> Figures:
        figures = Figures(str(folder / "figures"), every_n_epochs=0)
        run = trainer(
            figures, LastCheckpoint(str(folder)), epochs=epochs, enable_checkpointing=True
        )
        run.fit(training(), datamodule=data, ckpt_path=start, weights_only=True)
        for name in ("curves.png", "noise.png"):
            assert (folder / "figures" / name).is_file()
        return figures

    whole = fitted(tmp_path / "whole", 4)
    fitted(tmp_path / "begun", 2)
    resumed = fitted(tmp_path / "resumed", 4, tmp_path / "begun" / "last.ckpt")
    assert list(resumed.history.epochs) == [1, 2, 3, 4]
    assert resumed.history.epochs == whole.history.epochs
    assert resumed.history == whole.history
    assert History.read(tmp_path / "resumed") == whole.history
    assert [len(units) for units in whole.history.sigma.values()] == [4] * 4
    assert all(0 < sigma < 1.5 for units in whole.history.sigma.values() for sigma in units)
    assert len(whole.history.kl) == 4
    wanted = {"elbo", "rate", "distortion"}
    for epoch in whole.history.epochs.values():
        assert {f"{split}/{name}" for split in ("train", "val") for name in wanted} <= set(epoch)
        assert "val/active_units" in epoch


def test_curves_agree_with_the_log(tmp_path: Path) -> None:
    figures = Figures(str(tmp_path), every_n_epochs=0)
    fitted = trainer(figures)
    fitted.fit(training(), datamodule=datamodule(Digits(), Support.BINARY, val_size=64, limit=64))
    (epoch,) = figures.history.epochs.values()
    logged = {name: float(value) for name, value in fitted.logged_metrics.items()}
    assert epoch == {name: logged[name] for name in epoch}


def test_curves_need_no_validation(tmp_path: Path) -> None:
    figures = Figures(str(tmp_path), every_n_epochs=0)
    data = datamodule(Digits(), Support.BINARY, val_size=0, limit=64)
    trainer(figures, limit_val_batches=0).fit(training(), datamodule=data)
    assert {"train/elbo", "train/active_units"} <= set(figures.history.epochs[1])
    assert len(figures.history.kl) == 4
    assert (tmp_path / "curves.png").is_file()


class NoVariance(Independent):
    """A distribution that does not know its variance."""

    @property
    def variance(self) -> Tensor:
        raise NotImplementedError


class Unknown(DiagonalGaussian):
    """A posterior of those."""

    def distribution(self, params: Tensor) -> Distribution:
        q = super().distribution(params)
        assert isinstance(q, Independent)
        return NoVariance(q.base_dist, q.reinterpreted_batch_ndims)


def test_noise_is_drawn_where_the_posterior_knows_it(tmp_path: Path) -> None:
    figures = Figures(str(tmp_path / "figures"), every_n_epochs=0)
    data = datamodule(Digits(), Support.BINARY, val_size=64, limit=64)
    trainer(figures).fit(training(posterior=Unknown), datamodule=data)
    assert History.read(tmp_path).sigma == {}
    assert not (tmp_path / "figures" / "noise.png").exists()
    with pytest.raises(InputError, match="give the folder of a run"):
        History.read(tmp_path / "nowhere")
