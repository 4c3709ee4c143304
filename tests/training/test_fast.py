"""A step costs little beside its arithmetic, and what makes it cheap changes no result."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK, SMALL
from parts import ENCODERS, batch, vae
from torch.utils._python_dispatch import TorchDispatchMode

from vae_lab import train
from vae_lab.config import build, compose
from vae_lab.estimators import Pathwise, sampled
from vae_lab.evaluation import BoundMetrics
from vae_lab.model.networks import ConvDecoder, ConvEncoder
from vae_lab.objectives import elbo
from vae_lab.training.fused import fused
from vae_lab.training.module import LOG_EVERY, VAEModule
from vae_lab.training.nan_guard import NaNGuard, NonFiniteLossError

CONV = {
    "encoder": partial(ConvEncoder, channels=[4, 8], widths=[16]),
    "decoder": partial(ConvDecoder, channels=[8, 4], widths=[16]),
}


class Reads(TorchDispatchMode):
    """Counts what waits for a device, `.item()` and its kin, by the training step it follows."""

    def __init__(self) -> None:
        super().__init__()
        self.of_step: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and self.of_step:
            self.of_step[-1] += 1
        return func(*args, **(kwargs or {}))


def test_most_steps_read_nothing_from_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads, step = Reads(), VAEModule.training_step

    def counted(self: VAEModule, batch: Any, batch_idx: int) -> Any:
        reads.of_step.append(0)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(VAEModule, "training_step", counted)
    asked = [o for o in QUICK if not o.startswith("callbacks.progress")]
    with reads:
        train([*asked, "data.batch_size=32", f"hydra.run.dir={tmp_path / 'run'}"])
    every = 10  # callbacks.progress.refresh_rate
    others = [
        count
        for number, count in enumerate(reads.of_step[:-1])
        if number % LOG_EVERY and (number + 1) % every
    ]
    assert len(others) > 20
    assert sum(others) == 0
    assert sum(reads.of_step) > 0  # it can count


def test_memory_is_not_filled_before_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch does by default where `trainer.deterministic` is set, as here."""
    found = []

    def training_step(self: VAEModule, *args: Any) -> Any:
        deterministic: Any = torch.utils.deterministic
        found.append(
            (torch.are_deterministic_algorithms_enabled(), deterministic.fill_uninitialized_memory)
        )
        return original(self, *args)

    original = VAEModule.training_step
    monkeypatch.setattr(VAEModule, "training_step", training_step)
    train([*QUICK, "data.limit=64"], quiet=True)
    assert set(found) == {(True, False)}
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_what_is_noted_and_settled_is_what_would_have_been_added() -> None:
    model = vae()
    at_once, later = BoundMetrics(), BoundMetrics()
    for count in (5, 5, 3):  # an epoch's last batch is shorter
        trace = model(batch((1, 8, 8), count), sampled(2))
        at_once.update(trace, 3 * elbo(trace))
        later.note(trace, 3 * elbo(trace))
        if count == 3:
            assert later.count == 0
    later.settle()
    later.settle()  # nothing twice
    torch.testing.assert_close(later.metric_state, at_once.metric_state, rtol=1e-12, atol=1e-9)
    later.note(trace, elbo(trace))
    later.reset()
    later.settle()
    assert later.count == 0


def test_an_epoch_is_the_mean_of_all_its_steps_whoever_asks_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The figures' callback computes the epoch's metrics before they are logged."""
    losses, step = [], VAEModule.training_step

    def noted(self: VAEModule, batch: Any, batch_idx: int) -> Any:
        loss = step(self, batch, batch_idx)
        losses.append(float(loss.detach()) * len(batch.x))
        return loss

    monkeypatch.setattr(VAEModule, "training_step", noted)
    asked = [o for o in QUICK if not o.startswith("callbacks.figures")]
    items = 32 * (LOG_EVERY + 9) + 7  # so that steps are left after the last look but one
    run = train(
        [*asked, *SMALL, "data.batch_size=32", f"data.limit={items}", "test=false",
         f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    assert len(losses) == LOG_EVERY + 10
    assert run.metrics["train/objective"] == pytest.approx(-sum(losses) / items, rel=1e-5)


def test_the_guard_names_the_first_bad_step_when_asked() -> None:
    guard = NaNGuard()
    for step, value in enumerate([1.0, torch.inf, torch.nan]):
        guard.note(torch.tensor(value), step)
    with pytest.raises(NonFiniteLossError, match="at step 1 "):
        guard.check(0)


def test_gradients_of_convolutions_lie_in_memory_as_their_weights_do() -> None:
    """A fused step reads both as they lie: it would pair the wrong numbers without a word."""
    model = vae(**CONV)
    for draws in (1, 2):  # added to what is there, as when gradients accumulate
        elbo(model(batch((1, 8, 8)), Pathwise(draws).draw)).mean().backward()
    convs = [w for w in model.parameters() if w.dim() == 4]
    assert len(convs) == 4
    for weight in convs:
        assert weight.is_contiguous(memory_format=torch.channels_last)
        assert weight.grad is not None
        assert weight.grad.stride() == weight.stride()


@pytest.mark.parametrize("parts", [CONV, {"encoder": ENCODERS[0]}])
def test_a_fused_step_is_the_step(parts: dict[str, Any]) -> None:
    trained = []
    for optimizer in (fused(partial(torch.optim.Adam, lr=1e-2)), torch.optim.Adam):
        torch.manual_seed(0)
        model = vae(**parts)
        steps = optimizer(model.parameters(), lr=1e-2)
        for _ in range(3):
            steps.zero_grad()
            elbo(model(batch((1, 8, 8)), Pathwise().draw)).mean().backward()
            steps.step()
        trained.append(model.state_dict())
    assert steps.param_groups[0]["fused"] is not True
    torch.testing.assert_close(*trained)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ([], True),
        (["+optimizer.fused=false"], False),
        (["+optimizer.foreach=true"], None),
        (["trainer.precision=bf16-mixed"], True),
        (["trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1"], None),
        (["trainer.precision=16-mixed"], None),  # whose gradients would not be seen unscaled
        (["optimizer=adamax"], None),
    ],
)
def test_the_optimizer_is_fused_where_that_is_safe(asked: list[str], expected: bool | None) -> None:
    cfg = compose.compose_config("train", [*QUICK, "scheduler=none", "data.limit=20", *asked])
    module = build.training(cfg, build.data(cfg), record={})
    optimizer = module.configure_optimizers()
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert optimizer.param_groups[0].get("fused") is expected
