"""Accumulation, precision, compile, the learning-rate finder, debugging and profiling."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import QUICK
from parts import datamodule, run, same, trainer, training, weights
from rich.console import Console
from torch import Tensor
from torch.distributions import Distribution

from vae_lab import InputError, train
from vae_lab.data import Digits
from vae_lab.estimators import Pathwise
from vae_lab.model.likelihoods import BernoulliGrey, DiscretizedLogistic, Gaussian, LearnedSigma
from vae_lab.objectives import ELBO, Constant
from vae_lab.support import Support
from vae_lab.trace import Latent, Trace
from vae_lab.training.compiling import compile_pass
from vae_lab.training.lr_find import steepest, suggest_lr
from vae_lab.training.nan_guard import NaNGuard

# Accumulation


class AtTheMean(Pathwise):
    """Draws nothing: z is the posterior mean."""

    def draw(self, q: Distribution, p: Distribution) -> Latent:
        return Latent(q.mean[None], q, p)


def after_one_epoch(batch_size: int, accumulated: int) -> dict[str, Tensor]:
    module = training(likelihood=BernoulliGrey)
    module.estimator = AtTheMean()
    module.optimizer = partial(torch.optim.SGD, lr=1e-2)
    data = datamodule(Digits(), Support.GREY, batch_size=batch_size, val_size=64, limit=128)
    fit = trainer(accumulate_grad_batches=accumulated)
    fit.fit(module, datamodule=data)
    assert fit.global_step == 128 // (batch_size * accumulated)
    return weights(module)


def test_accumulated_half_batches_are_one_whole_batch() -> None:
    whole, halves = after_one_epoch(64, 1), after_one_epoch(32, 2)
    assert same(whole, halves, 1e-6)
    assert not same(whole, after_one_epoch(32, 1), 1e-4)


def test_the_batch_that_a_step_sees_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = [*QUICK, "data.limit=128", "test=false"]
    train([*short, "trainer.accumulate_grad_batches=4", f"hydra.run.dir={tmp_path / 'a'}"])
    told = "4 batches a step, each of 32: a global batch of 128, learning rate 0.002"
    assert told in " ".join(capsys.readouterr().out.split())
    train([*short, f"hydra.run.dir={tmp_path / 'b'}"])
    assert "global batch" not in capsys.readouterr().out


# Precision


@pytest.mark.parametrize(
    ("likelihood", "support"),
    [
        (partial(Gaussian, sigma=LearnedSigma(0.25)), Support.CONTINUOUS),
        (DiscretizedLogistic, Support.LEVELS),
    ],
)
def test_densities_under_autocast_are_those_of_full_precision(
    likelihood: Any, support: Support
) -> None:
    module = training(likelihood=likelihood)
    batch = next(datamodule(Digits(), support).batches("train", 64, torch.device("cpu")))
    torch.manual_seed(1)
    full = module.model(batch, module.estimator.draw)
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = module.model(batch, module.estimator.draw)
        found = (mixed.log_px, mixed.kl, mixed.log_w)
    latent = mixed.latents[0]
    assert latent.q.mean.dtype is latent.z.dtype is mixed.p_x.mean.dtype is torch.float32
    again = Latent(latent.z, latent.q, latent.p)
    expected = mixed.p_x.log_prob(mixed.x)
    assert torch.equal(found[0], expected)  # the same sum, whatever surrounds it
    assert torch.equal(found[1][0], again.kl)
    assert torch.equal(found[2], expected - again.log_ratio)
    for value, exact in zip(found, (full.log_px, full.kl, full.log_w), strict=True):
        assert value.dtype is torch.float32
        torch.testing.assert_close(value.mean(), exact.mean(), rtol=0.01, atol=0.01)


@pytest.mark.parametrize("accelerator", ["cpu", "auto"])
def test_16_mixed_is_refused_on_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)
    with pytest.raises(InputError, match="needs a GPU: on the CPU say trainer.precision=bf16-mix"):
        run(tmp_path / "run", "trainer.precision=16-mixed", f"trainer.accelerator={accelerator}")
    assert not (tmp_path / "run").exists()


# torch.compile


@pytest.fixture
def _arguments_checked() -> Iterator[None]:
    """torch.compile switches the checks of distributions off for the whole process."""
    checked = Distribution._validate_args
    yield
    Distribution.set_default_validate_args(checked)
    torch._dynamo.reset()


@pytest.mark.usefixtures("_arguments_checked")
def test_a_compiled_pass_is_the_eager_one() -> None:
    module = training()
    data = datamodule(Digits(), Support.BINARY)
    batches = [next(data.batches("train", n, torch.device("cpu"))) for n in (32, 20, 7, 11)]
    names = list(module.state_dict())

    def passes() -> list[Tensor]:
        found = []
        for batch in batches:
            torch.manual_seed(2)
            trace = module.model(batch, module.estimator.draw)
            found += [trace.log_px, trace.kl, trace.latents[0].z]
        return found

    eager = passes()
    compile_pass(module.model)
    before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    compiled = passes()
    for one, other in zip(compiled, eager, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    # One graph for the first batch, one for any other size: short batches compile nothing more.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] - before == 2
    assert list(module.state_dict()) == names


@pytest.mark.slow
@pytest.mark.usefixtures("_arguments_checked")
def test_a_compiled_run_is_the_eager_one(tmp_path: Path) -> None:
    short = ("trainer.max_epochs=2", "data.limit=100", "ema=default")
    eager = run(tmp_path / "eager", *short)
    compiled = run(tmp_path / "compiled", *short, "compile=true")
    assert compiled.metrics == pytest.approx(eager.metrics, rel=1e-3)
    assert torch.isfinite(compiled.load().sample(2)).all()


def test_compile_without_a_compiler_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(InputError, match="no-such-compiler is not at hand: install it, name anoth"):
        run(tmp_path / "run", "compile=true")
    assert not (tmp_path / "run").exists()


# The learning-rate finder


def test_the_suggestion_is_where_the_loss_falls_fastest() -> None:
    rates = torch.logspace(-6, 0, 61).double()
    losses = 100 * torch.sigmoid(-3 * (rates.log10() + 3))  # falls around 1e-3
    assert steepest(rates, losses) == pytest.approx(1e-3)
    losses[50:] = torch.nan  # it explodes at the end
    assert steepest(rates, losses - 1000) == pytest.approx(1e-3)  # densities: negative losses
    for hopeless in (rates, torch.full_like(rates, torch.nan)):
        with pytest.raises(InputError, match="saw the loss fall at no learning rate"):
            steepest(rates, hopeless)


class Explosive(ELBO):
    """Not finite from the 81st step of four an epoch."""

    def values(self, trace: Trace, epoch: Tensor) -> Tensor:
        return super().values(trace, epoch) * torch.where(
            (epoch < 20) | epoch.isinf(), 1.0, torch.nan
        )


@pytest.mark.parametrize("objective", [ELBO, Explosive])
def test_the_search_leaves_everything_as_it_was(tmp_path: Path, objective: type[ELBO]) -> None:
    guard = NaNGuard(stops=False)
    module = training(partial(objective, beta=Constant()), guard=guard)
    data = datamodule(Digits(), Support.BINARY, val_size=64, limit=128)
    before = weights(module)
    fit = trainer(default_root_dir=tmp_path)
    found = suggest_lr(fit, module, data, tmp_path, Console(quiet=True))
    assert same(weights(module), before)
    assert fit.global_step == 0
    assert [group["lr"] for group in fit.optimizers[0].param_groups] == [1e-2]
    assert 1e-4 < found["lr_find/suggestion"] < 0.5
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["lr_find.png"]


@pytest.mark.parametrize("extra", [[], ["data.val_size=0", "model/likelihood=gaussian"]])
def test_lr_find_suggests_and_trains_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], extra: list[str]
) -> None:
    finished = train(
        [*QUICK, "lr_find=true", "logger=csv", *extra, f"hydra.run.dir={tmp_path / 'run'}"]
    )
    rate = finished.metrics["lr_find/suggestion"]
    assert f"Suggested: optimizer.lr={rate:.2g} in place of lr_find=true" in " ".join(
        capsys.readouterr().out.split()
    )
    files = {p.relative_to(finished.folder).as_posix() for p in finished.folder.rglob("*")}
    assert files - {".lock"} == {"config.yaml", "result.json", "figures", "figures/lr_find.png"}


# Looking closely


def test_debug_runs_one_batch_of_each_split_and_names_what_made_a_nan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool]] = []
    whole = ELBO.values

    def watched(self: ELBO, trace: Any, epoch: Tensor) -> Tensor:
        seen.append((torch.is_grad_enabled(), torch.is_anomaly_enabled()))
        return whole(self, trace, epoch)

    monkeypatch.setattr(ELBO, "values", watched)
    finished = run(tmp_path / "run", "trainer=debug", "trainer.max_epochs=1")
    first, at_rest, step, after, val, test = seen
    assert first == (True, False)
    assert not at_rest[1]
    assert step == (True, True)
    assert after == (False, True)
    assert not val[0]
    assert not test[0]
    assert (finished.folder / "checkpoints" / "best.ckpt").is_file()

    def bad_in_training(self: ELBO, trace: Any, epoch: Tensor) -> Tensor:
        values = whole(self, trace, epoch)
        return values.sub(1e9).sqrt() if torch.is_anomaly_enabled() else values

    monkeypatch.setattr(ELBO, "values", bad_in_training)
    with pytest.raises(RuntimeError, match="'SqrtBackward0' returned nan"):
        run(tmp_path / "nan", "trainer=debug")
    torch.autograd.set_detect_anomaly(False)


@pytest.mark.parametrize("profiler", ["simple", "advanced", "pytorch"])
def test_profiles_lie_in_the_run_folder(
    tmp_path: Path, profiler: str, capfd: pytest.CaptureFixture[str]
) -> None:
    finished = run(tmp_path / "run", "data.limit=32", f"profiler={profiler}")
    (told,) = (finished.folder / "profile").glob(f"fit-{profiler}*.txt")
    assert "FIT Profiler Report" in told.read_text()
    assert "Report" not in capfd.readouterr().out


def test_the_options_stand_together(tmp_path: Path) -> None:
    finished = run(
        tmp_path / "run", "ema=default", "gradient_skip=default", "data.limit=128",
        "trainer.accumulate_grad_batches=2", "trainer.precision=bf16-mixed",
        "trainer.gradient_clip_val=1", "profiler=simple", "early_stopping=patience",
    )  # fmt: skip
    assert finished.metrics["train/skipped_steps"] == 0
    assert finished.metrics["test/elbo"] < 0
