"""Learning rates over the whole training: a function of how much of it lies behind."""

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from parts import QUICK, SMALL, Weighed, datamodule, run, same, trainer, training
from torch import Tensor, nn

from vae_lab import InputError, train
from vae_lab.callbacks import EarlyStopping
from vae_lab.data import Digits
from vae_lab.model.context import Context
from vae_lab.objectives import ELBO, Constant
from vae_lab.support import Support
from vae_lab.trace import Trace
from vae_lab.training.schedules import HoldThenLinear

LR = 0.01


class Rates(L.Callback):
    """Keeps the learning rates that each optimiser step was made with, a list for every group."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    def on_before_optimizer_step(self, trainer: Any, module: Any, optimizer: Any) -> None:
        self.seen.append([group["lr"] for group in optimizer.param_groups])


class Owning(ELBO):
    """An ELBO with a parameter of its own, which learns at twice the rate."""

    def __init__(self, context: Context) -> None:
        super().__init__(context, Constant())
        self.shift = nn.Parameter(torch.zeros(()))

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        return super().values(trace, epoch) - self.shift.square()

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": [self.shift], "lr": 2 * LR}]


def fit(
    epochs: int = 4, ckpt: Path | None = None, *callbacks: L.Callback, **settings: Any
) -> tuple[list[list[float]], L.Trainer]:
    """Four batches an epoch; the rates of every step that was made."""
    rates, module = Rates(), training(objective=Owning)
    module.scheduler = partial(HoldThenLinear, hold=0.5)
    module.max_steps = settings.pop("steps", module.max_steps)
    data = datamodule(Digits(), Support.BINARY, batch_size=16, val_size=16, limit=64)
    fitted = trainer(rates, *callbacks, epochs=epochs, **settings)
    fitted.fit(module, datamodule=data, ckpt_path=ckpt, weights_only=True)
    return rates.seen, fitted


def expected(steps: int) -> list[list[float]]:
    factors = [min(1.0, 2 * (1 - step / steps)) for step in range(steps)]
    return [pytest.approx([LR * factor, 2 * LR * factor]) for factor in factors]


@pytest.mark.parametrize(
    ("hold", "factors"),
    [(0.5, [1, 1, 1, 0.5, 0]), (0.0, [1, 0.75, 0.5, 0.25, 0]), (0.75, [1, 1, 1, 1, 0])],
)
def test_held_then_linear(hold: float, factors: list[float]) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], lr=1.0)
    schedule = HoldThenLinear(optimizer, hold)
    assert [schedule.factor(progress / 4) for progress in range(5)] == factors


def test_it_is_one_rate_a_step_over_the_whole_training() -> None:
    seen, fitted = fit()
    assert seen == expected(16)
    assert [group["lr"] for group in fitted.optimizers[0].param_groups] == [0, 0]


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"accumulate_grad_batches": 3}, 8),  # the second step of an epoch is of one batch
        ({"limit_train_batches": 3}, 12),
        ({"steps": 6}, 6),
        ({"steps": 100}, 16),
    ],
    ids=str,
)
def test_it_counts_optimiser_steps(settings: dict[str, Any], steps: int) -> None:
    seen, _ = fit(**settings)
    assert seen[:steps] == expected(steps)
    assert all(rates == [0, 0] for rates in seen[steps:])


def test_who_stops_early_has_not_seen_it_fall() -> None:
    never = EarlyStopping(patience=1, min_delta=1e9)
    seen, _ = fit(8, None, never)
    assert seen == expected(32)[: len(seen)]
    assert len(seen) < 16


@pytest.mark.parametrize("epochs", [4, 8])
def test_going_on_follows_the_new_length_from_the_first_step(tmp_path: Path, epochs: int) -> None:
    path = tmp_path / "some.ckpt"
    _, fitted = fit(4)
    fitted.save_checkpoint(path)  # of the end, where the rate is 0
    seen, _ = fit(epochs, path)
    assert seen == expected(4 * epochs)[16:]


def test_going_on_within_an_epoch_loses_neither_its_rate_nor_its_place(tmp_path: Path) -> None:
    class Save(L.Callback):
        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 10:
                trainer.save_checkpoint(tmp_path / "some.ckpt")

    whole, again = Weighed(), Weighed()
    fit(4, None, whole, Save())
    seen, _ = fit(4, tmp_path / "some.ckpt", again)
    assert seen == expected(16)[10:]
    assert all(same(*pair) for pair in zip(whole.steps[10:], again.steps, strict=True))


def test_what_a_limit_cut_from_an_epoch_is_not_waited_for(tmp_path: Path) -> None:
    """Lightning goes on with the next epoch: the rate must fall to 0 all the same."""
    path = tmp_path / "some.ckpt"
    _, fitted = fit(4, max_steps=6)  # two within the second epoch
    fitted.save_checkpoint(path)
    seen, again = fit(4, path)
    assert again.global_step == 6 + 2 * 4
    assert seen == expected(6 + 2 * 4)[6:]


def test_a_run_falls_to_zero_by_its_end_also_by_max_steps(tmp_path: Path) -> None:
    for name, length in (("steps", "+trainer.max_steps=7"), ("epochs", "trainer.max_epochs=2")):
        folder = tmp_path / name
        run(folder, "data.limit=128", "data.batch_size=16", "trainer.max_epochs=3", length)
        kept = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        assert kept["optimizer_states"][0]["param_groups"][0]["lr"] == 0
        assert kept["lr_schedulers"][0]["last_epoch"] == (7 if name == "steps" else 16)


def test_a_resumed_run_that_is_made_longer_learns_again(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, "data.limit=64", "+trainer.max_steps=4", "trainer.max_epochs=2")
    longer = ["+trainer.max_steps=9", "trainer.max_epochs=6"]
    train([f"resume={folder}", *longer], quiet=True)
    kept = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["lr_schedulers"][0]["last_epoch"] == 9


@pytest.mark.parametrize("length", ["trainer.max_epochs=-1", "trainer.max_epochs=null"])
def test_training_without_an_end_is_refused(tmp_path: Path, length: str) -> None:
    said = r"HoldThenLinear follows training to its end.* set trainer.max_epochs or .*=none"
    with pytest.raises(InputError, match=said):
        run(tmp_path / "run", length, "+trainer.max_time='00:00:00:01'")
    assert not (tmp_path / "run").exists()


def test_a_limit_of_time_is_told_what_it_does_to_the_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "which trainer.max_time may cut off"
    for scheduler, times in (("hold_then_linear", 1), ("none", 0)):
        folder, limit = tmp_path / scheduler, "+trainer.max_time='00:01:00:00'"
        train([*QUICK, *SMALL, f"scheduler={scheduler}", limit, f"hydra.run.dir={folder}"])
        assert " ".join(capsys.readouterr().out.split()).count(said) == times
