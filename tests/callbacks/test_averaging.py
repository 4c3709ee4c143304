"""Averaged weights: a by-hand average, selected and kept; resuming finds both sets of weights."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint
from parts import Weighed, Weights, datamodule, run, same, trainer, training, weights

from vae_lab import InputError, load
from vae_lab.callbacks import BestCheckpoint, LastCheckpoint, WeightAverage
from vae_lab.callbacks.averaging import moved
from vae_lab.commands.evaluate import evaluate_task
from vae_lab.config.compose import compose_config
from vae_lab.data import Digits
from vae_lab.model.likelihoods import Gaussian, OptimalSigma
from vae_lab.support import Support
from vae_lab.training.module import VAEModule


class Saved(Checkpoint):
    """Saves after one epoch, or within the next."""

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.steps = path, steps

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == self.steps and not trainer.is_last_batch:
            trainer.save_checkpoint(self.path)

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if trainer.global_step == self.steps:
            trainer.save_checkpoint(self.path)


def of(checkpoint: dict[str, Any], key: str) -> Weights:
    state = checkpoint[key].items()
    return {name.removeprefix("model."): v for name, v in state if name.startswith("model.")}


def fit(
    *callbacks: L.Callback, epochs: int = 2, resume: Path | None = None, val: int = 1, **parts: Any
) -> tuple[VAEModule, Weighed]:
    """Two steps an epoch."""
    seen, module = Weighed(), training(**parts)
    support = Support.CONTINUOUS if parts else Support.BINARY
    data = datamodule(Digits(), support, batch_size=32, val_size=64, limit=64)
    saves = any(isinstance(callback, Checkpoint) for callback in callbacks)
    fitted = trainer(
        seen, *callbacks, epochs=epochs, enable_checkpointing=saves, limit_val_batches=val
    )
    fitted.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    return module, seen


def test_the_average_is_the_one_by_hand() -> None:
    module, seen = fit(WeightAverage(decay=0.22))
    by_hand = [seen.steps[0]]
    for step, kept in zip(seen.steps[1:], (2 / 11, 0.22, 0.22), strict=True):  # 3 / 12 is more
        before = by_hand[-1]
        by_hand.append({name: kept * before[name] + (1 - kept) * step[name] for name in step})
    assert same(seen.validated[0], by_hand[1], 1e-6)
    assert same(seen.shown[0], by_hand[1], 1e-6)
    assert same(weights(module), by_hand[3], 1e-6)
    assert not same(weights(module), seen.steps[-1], 1e-4)


def test_the_decay_warms_up() -> None:
    kept = [moved(0.999, torch.tensor(1.0), torch.tensor(0.0), torch.tensor(t)) for t in range(4)]
    torch.testing.assert_close(torch.stack(kept), torch.tensor([1 / 10, 2 / 11, 3 / 12, 4 / 13]))
    late = moved(0.999, torch.tensor(1.0), torch.tensor(0.0), torch.tensor(10_000))
    torch.testing.assert_close(late, torch.tensor(0.999))


@pytest.mark.parametrize("steps", [30, 300, 3000])
def test_early_weights_leave_the_average_soon(steps: int) -> None:
    """Over the steps an average of 0, 1, 2, ... lags behind by a tenth of them."""
    first, average = torch.tensor(1.0).double(), torch.tensor(0.0).double()
    for step in range(1, steps):
        count = torch.tensor(step)
        first = moved(0.999, first, torch.tensor(0.0), count)
        average = moved(0.999, average, torch.tensor(float(step)), count)
    assert first < 1e-7  # of the weights after the first step
    assert 0.86 * steps < average < steps


def test_on_a_short_run_at_a_constant_rate_the_average_does_not_lose(tmp_path: Path) -> None:
    plain, averaged = (
        run(
            tmp_path / ema,
            f"ema={ema}",
            "trainer.max_epochs=3",
            "scheduler=none",
            "optimizer.lr=0.01",
        ).metrics
        for ema in ("none", "default")
    )
    assert averaged["train/elbo"] == plain["train/elbo"]  # trained alike, under the same noise
    for metric in ("val/elbo", "test/elbo"):
        assert averaged[metric] >= plain[metric]


def test_training_itself_is_as_without() -> None:
    (plain, seen), (averaged, also) = fit(), fit(WeightAverage(decay=0.9))
    for one, other in zip(seen.steps, also.steps, strict=True):
        assert same(one, other)
    assert same(plain_weights := weights(plain), seen.steps[-1])
    assert not same(weights(averaged), plain_weights, 1e-4)
    assert same(weights(fit(WeightAverage(decay=0.0))[0]), plain_weights, 1e-7)


def test_checkpoints_hold_the_average_and_what_training_goes_on_from(tmp_path: Path) -> None:
    keep = BestCheckpoint(str(tmp_path)), LastCheckpoint(str(tmp_path))
    _, seen = fit(WeightAverage(decay=0.9), *keep)
    best, last = (
        torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("best", "last")
    )
    for kept in (best, last):
        assert same(of(kept, "state_dict"), seen.validated[kept["epoch"]])
    assert same(of(last, "current_model_state"), seen.steps[2 * last["epoch"] + 1])
    assert set(best) == {"state_dict", "epoch", "global_step", "vae_lab"}  # weights alone


@pytest.mark.parametrize("steps", [2, 3])
def test_resuming_restores_both_exactly(tmp_path: Path, steps: int) -> None:
    whole, seen = fit(WeightAverage(decay=0.9), Saved(tmp_path / "some.ckpt", steps), epochs=3)
    resumed, also = fit(WeightAverage(decay=0.9), epochs=3, resume=tmp_path / "some.ckpt")
    assert len(also.steps) == 6 - steps
    for one, other in zip(seen.steps[steps:], also.steps, strict=True):
        assert same(one, other)
    assert same(weights(resumed), weights(whole))


def test_each_process_gets_its_own_sums_back_beside_averaged_weights() -> None:
    module, _ = fit(WeightAverage(decay=0.9), epochs=1)
    name, own = "bounds.of_train", {"count": torch.tensor(9.0)}
    module.on_load_checkpoint({"vae_lab": {"ranks": [{name: own}], "seconds": 0.0}})
    assert module.get_submodule(name).count == 9
    assert not [key for key in module.state_dict() if "bounds" in key]  # so no average has any


@pytest.mark.parametrize("val", [0, 1])
def test_a_sigma_in_closed_form_is_the_latest_not_an_average(tmp_path: Path, val: int) -> None:
    likelihood, last = partial(Gaussian, sigma=OptimalSigma(0.25)), LastCheckpoint(str(tmp_path))
    _, seen = fit(WeightAverage(decay=0.9), last, epochs=1, val=val, likelihood=likelihood)
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    name = "likelihood.sigma.sigma"
    sigma = of(kept, "state_dict")[name]
    assert sigma != 0.25
    assert sigma == of(kept, "current_model_state")[name]
    assert [shown[name] for shown in seen.validated] == [sigma] * val


def test_a_run_selects_tests_loads_and_scores_the_average(tmp_path: Path) -> None:
    short = ("trainer.max_epochs=3", "data.limit=256", "optimizer.lr=0.01")
    plain = run(tmp_path / "plain", *short)
    averaged = run(tmp_path / "averaged", *short, "ema=default", "ema.decay=0.95")
    assert averaged.metrics["train/elbo"] == plain.metrics["train/elbo"]
    assert averaged.metrics["val/elbo"] != plain.metrics["val/elbo"]
    checkpoint = averaged.folder / "checkpoints" / "best.ckpt"
    kept = of(torch.load(checkpoint, weights_only=True), "state_dict")
    assert same(load(averaged).model.state_dict(), kept)
    for folder, told in ((plain.folder, False), (averaged.folder, True)):
        settings = [
            f"run={folder}",
            "evaluate.num_draws=1",
            "evaluate.limit=5",
            "evaluate.progress=false",
        ]
        evaluate_task(compose_config("evaluate", settings))
        assert json.loads((folder / "evaluation.json").read_text())["ema"] is told


def test_a_decay_outside_its_range_is_refused(tmp_path: Path) -> None:
    for decay in (1, -0.1, 1.5):
        with pytest.raises(InputError, match="ema.decay must be"):
            run(tmp_path / "run", "ema=default", f"ema.decay={decay}")
    assert not (tmp_path / "run").exists()
