"""Skipped steps: nothing moves, training goes on, and a freeze is told."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
from parts import Weighed, datamodule, run, same, trainer, training
from torch import Tensor

from vae_lab import InputError
from vae_lab.callbacks import GradientSkip
from vae_lab.config.allowed import check_parts
from vae_lab.data import Digits
from vae_lab.estimators import ScoreFunction
from vae_lab.objectives import ELBO, Constant
from vae_lab.support import Support
from vae_lab.trace import Trace
from vae_lab.training.nan_guard import NaNGuard


class Poisoned(ELBO):
    """At one moment of the training its value, and so its gradient, is many times what it is."""

    factor = 1e6

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        value = super().values(trace, epoch)
        return value * self.factor if epoch == 0.5 and value.requires_grad else value


class NotFinite(Poisoned):
    factor = math.nan


def poisoned(kind: type[Poisoned]) -> Any:
    return partial(kind, beta=Constant())


class Optimiser(L.Callback):
    """Keeps how often Adam has moved."""

    steps = 0.0

    def on_train_end(self, trainer: Any, module: Any) -> None:
        self.steps = float(next(iter(trainer.optimizers[0].state.values()))["step"])


@pytest.mark.parametrize("objective", [Poisoned, NotFinite])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_poisoned_batch_moves_nothing_and_training_goes_on(
    objective: type[Poisoned], clip: float | None
) -> None:
    seen, skip, adam = Weighed(), GradientSkip(above=1e5), Optimiser()
    data = datamodule(Digits(), Support.BINARY, batch_size=32, val_size=64, limit=128)
    fit = trainer(skip, seen, adam, epochs=1, gradient_clip_val=clip)
    fit.fit(training(poisoned(objective), guard=NaNGuard(ignores_steps=True)), datamodule=data)
    assert len(seen.steps) == 4
    assert [same(a, b) for a, b in zip(seen.steps, seen.steps[1:], strict=False)] == [
        False, True, False,
    ]  # fmt: skip  # the third of four batches is poisoned
    assert skip.skipped == fit.logged_metrics["train/skipped_steps"] == 1
    assert adam.steps == 3  # neither did the optimiser's own state move


def test_a_step_that_is_not_finite_leaves_no_state_behind() -> None:
    module = training(poisoned(NotFinite), guard=NaNGuard(ignores_steps=True))
    module.estimator = ScoreFunction(1)
    data = datamodule(Digits(), Support.BINARY, batch_size=32, val_size=64, limit=128)
    trainer(GradientSkip(), epochs=1).fit(module, datamodule=data)
    assert float(module.estimator.weight) == pytest.approx(1 - 0.99**3)  # of three steps of four
    assert float(module.estimator.total) < 0


def test_without_it_the_same_batch_ends_training() -> None:
    data = datamodule(Digits(), Support.BINARY, batch_size=32, val_size=64, limit=128)
    with pytest.raises(InputError, match="NaN or infinite at step 2"):
        trainer(epochs=1).fit(training(poisoned(NotFinite)), datamodule=data)


def test_a_threshold_that_nothing_reaches_changes_nothing(tmp_path: Path) -> None:
    short = ("data.limit=128", "data.batch_size=32")
    plain = run(tmp_path / "plain", *short).metrics
    watched = run(tmp_path / "watched", *short, "gradient_skip=default", "gradient_skip.above=1e9")
    assert watched.metrics == {**plain, "train/skipped_steps": 0.0}


def test_a_threshold_that_freezes_training_is_an_alarm(tmp_path: Path) -> None:
    with pytest.raises(InputError) as told:
        run(
            tmp_path / "run", "data.limit=128", "data.batch_size=64", "gradient_skip=default",
            "gradient_skip.above=0.01",
        )  # fmt: skip
    assert "skipped 2 of the last 2 steps" in str(told.value)
    assert "typically" in str(told.value)
    assert "raise gradient_skip.above, which is 0.01" in str(told.value)


def test_the_alarm_does_not_wait_for_the_end() -> None:
    seen, data = Weighed(), datamodule(Digits(), Support.BINARY, batch_size=1, limit=80)
    with pytest.raises(InputError, match="skipped 100 of the last 100"):
        trainer(GradientSkip(above=0.01), seen, epochs=3).fit(training(), datamodule=data)
    assert len(seen.steps) == 99


def test_where_no_gradient_is_finite_the_threshold_is_not_blamed() -> None:
    skip = GradientSkip()
    skip.norms.extend([math.nan, math.inf] * 50)
    with pytest.raises(InputError, match="no gradient there is finite; lower optimizer.lr"):
        skip._alarm()


def test_one_step_in_ten_is_enough_to_go_on() -> None:
    skip = GradientSkip(above=1.0)
    skip.norms.extend([2.0] * 90 + [0.5] * 10)
    skip._alarm()
    skip.norms.append(2.0)
    skip.norms.extend([2.0] * 89 + [0.5] * 9 + [2.0])
    with pytest.raises(InputError, match="skipped 91 of the last 100"):
        skip._alarm()


def test_what_was_skipped_is_remembered_when_resuming() -> None:
    skip, resumed = GradientSkip(above=1.0), GradientSkip(above=1.0)
    skip.skipped = 3
    skip.norms.extend([2.0, 0.5])
    resumed.load_state_dict(skip.state_dict())
    assert (resumed.skipped, list(resumed.norms)) == (3, [2.0, 0.5])


@pytest.mark.parametrize("above", [0, -1.0])
def test_a_threshold_must_be_positive(above: float) -> None:
    node = {"_target_": "vae_lab.callbacks.GradientSkip", "above": above}
    with pytest.raises(InputError, match="gradient_skip.above must be a number above 0 or null"):
        check_parts(node, "gradient_skip")
