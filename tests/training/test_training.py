"""The LightningModule: true bounds, reproducible losses, selection, and a stop at NaN."""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from conftest import QUICK
from lightning.pytorch.loggers import CSVLogger
from linear_gaussian import GaussianOnTheLine, LinearGaussian
from parts import datamodule, run, trainer, training
from torch import Tensor

from vae_lab import InputError, train
from vae_lab.callbacks import BestCheckpoint, EarlyStopping
from vae_lab.data import Digits, Images, Source
from vae_lab.evaluation.evidence import evidence
from vae_lab.model.networks import MLP
from vae_lab.model.priors import ClassMeans
from vae_lab.objectives import ELBO, LinearWarmup
from vae_lab.support import Support
from vae_lab.trace import Batch, Trace
from vae_lab.training.step import step


class Losses(L.Callback):
    """Keeps every loss."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *args: Any) -> None:
        self.losses.append(float(outputs["loss"]))


class Sampled(Source):
    """Draws from a known linear-Gaussian model: 8 values from 2 latents."""

    name = "linear-gaussian"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        w = torch.randn(8, 2, generator=generator)
        self.model = LinearGaussian(w, torch.randn(8, generator=generator), torch.tensor(0.5))

    def read(self) -> tuple[Images, Images]:
        torch.manual_seed(4)
        return tuple(Images(self.model.sample(n).float(), None) for n in (6000, 2000))  # type: ignore[return-value]


def test_a_linear_gaussian_model_learns_its_own_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its data lie on the whole line, where no image's pixels may.
    monkeypatch.setattr("vae_lab.data.split._check_pixels", lambda name, pixels: None)
    linear = partial(MLP, widths=[])
    torch.manual_seed(5)
    module = training(
        x_shape=(8,), z_shape=(2,), num_classes=None, encoder=linear, decoder=linear,
        likelihood=GaussianOnTheLine,
    )  # fmt: skip
    module.scheduler = partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=30)
    data = datamodule(Sampled(), Support.CONTINUOUS, batch_size=100, val_size=0)
    trainer(epochs=30, limit_val_batches=0).fit(module, datamodule=data)

    model = module.model.eval()
    decoder = model.decoder.network[-1][0]  # type: ignore[union-attr, index]
    learned = LinearGaussian(
        decoder.weight.detach(), decoder.bias.detach(), model.likelihood.log_sigma.exp().detach()
    )
    held_out = torch.cat([b.x for b in data.batches("test", 2000, torch.device("cpu"))])
    batch = Batch(held_out, None, torch.arange(len(held_out)))
    (found,) = evidence(model, [batch], 200, 200, seed=0)
    gap = learned.log_evidence(held_out) - found.elbo
    error = float(gap.std()) / math.sqrt(len(gap))
    assert float(gap.mean()) > -3 * error  # a bound: at most the model's own evidence
    assert float(gap.mean()) < 0.05  # and a tight one
    # It learned the data, not only itself: near the evidence of the process that made them.
    lost = Sampled().model.log_evidence(held_out) - learned.log_evidence(held_out)
    assert float(lost.mean()) < 0.05


def test_the_same_seed_gives_the_same_losses_to_the_bit() -> None:
    def losses(seed: int) -> list[float]:
        keep = Losses()
        data = datamodule(Digits(), Support.BINARY, seed=seed, val_size=100)
        trainer(keep, epochs=2).fit(training(seed=seed), datamodule=data)
        return keep.losses

    first = losses(0)
    assert len(first) > 40
    assert losses(0) == first
    assert losses(1) != first


def test_seed_zero_is_a_seed(tmp_path: Path) -> None:
    zero, again, one = (
        run(tmp_path / name, f"seed={seed}") for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert zero.metrics == again.metrics
    assert zero.metrics["train/elbo"] != one.metrics["train/elbo"]


def test_each_step_draws_its_own_noise_and_validation_repeats_its_own() -> None:
    seen: list[tuple[bool, Tensor]] = []
    validating: list[bool] = []

    def listen(model: Any, given: Any, trace: Trace) -> None:
        latent = trace.latents[0]
        noise = (latent.z[0, 0] - latent.q.mean[0]) / latent.q.stddev[0]
        seen.append((torch.is_grad_enabled(), noise.detach()))
        validating.append(not module.training)

    module = training()
    module.model.register_forward_hook(listen)
    data = datamodule(Digits(), Support.BINARY, val_size=64, limit=64)
    trainer(epochs=3, accumulate_grad_batches=2).fit(module, datamodule=data)
    train_noise = [tuple(n.tolist()) for is_train, n in seen if is_train]
    val_noise = [n for (_, n), is_val in zip(seen, validating, strict=True) if is_val]
    assert len(set(train_noise)) == len(train_noise) == 6  # also within an accumulation window
    for batch in (0, 1):
        torch.testing.assert_close(val_noise[batch], val_noise[batch + 2], rtol=0, atol=1e-4)


def test_what_is_logged_each_epoch(tmp_path: Path) -> None:
    metrics = run(tmp_path / "run").metrics
    names = {"elbo", "rate", "distortion", "bits_per_dim", "objective"}
    assert {f"{split}/{f}" for split in ("train", "val", "test") for f in names} <= set(metrics)
    assert {"val/active_units", "test/active_units", "latent/active_share"} <= set(metrics)
    for split in ("train", "val", "test"):
        parts = -metrics[f"{split}/rate"] - metrics[f"{split}/distortion"]
        assert metrics[f"{split}/elbo"] == pytest.approx(parts, rel=1e-5)
        bits = -metrics[f"{split}/elbo"] / (64 * math.log(2))
        assert metrics[f"{split}/bits_per_dim"] == pytest.approx(bits, rel=1e-5)


def test_the_kl_of_the_units_adds_up_to_the_rate(tmp_path: Path) -> None:
    metrics = run(tmp_path / "run", "model.z_shape=[5]").metrics
    assert 5 * metrics["latent/kl_mean"] == pytest.approx(metrics["val/rate"], rel=1e-5)
    active = 5 * metrics["latent/active_share"]
    assert active == pytest.approx(metrics["val/active_units"])
    assert metrics["latent/kl_median"] <= metrics["latent/kl_max"] <= metrics["val/rate"]


def test_without_validation_training_images_tell_of_the_latents(tmp_path: Path) -> None:
    metrics = run(tmp_path / "run", "model.z_shape=[5]", "data.val_size=0").metrics
    assert 0 < metrics["latent/kl_mean"] < 2 * metrics["train/rate"]


def test_the_true_elbo_is_logged_whatever_trains(tmp_path: Path) -> None:
    metrics = run(tmp_path / "run", "objective.beta.value=4").metrics
    for split in ("train", "val"):
        elbo, rate = metrics[f"{split}/elbo"], metrics[f"{split}/rate"]
        assert metrics[f"{split}/objective"] == pytest.approx(elbo - 3 * rate, rel=1e-4)


def test_iwae_is_above_the_elbo_of_the_same_draws(tmp_path: Path) -> None:
    metrics = run(tmp_path / "run", "objective=iwae", "estimator.num_draws=8").metrics
    assert metrics["val/objective"] > metrics["val/elbo"]


def test_the_schedule_moves_within_an_epoch() -> None:
    assert LinearWarmup(2)(torch.tensor(0.5)) == 0.25


def test_selection_starts_after_the_warmup(tmp_path: Path) -> None:
    saved: list[int] = []

    class Watched(BestCheckpoint):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_epoch_end(trainer, pl_module)
            if self.epoch is not None:
                saved.append(trainer.current_epoch)

    module = training(partial(ELBO, beta=LinearWarmup(3)))
    stop = EarlyStopping(patience=1, min_delta=1e6)  # nothing ever improves enough
    data = datamodule(Digits(), Support.BINARY, val_size=64, limit=64)
    fit = trainer(
        Watched(str(tmp_path / "kept")), stop, epochs=9, enable_checkpointing=True,
        logger=CSVLogger(tmp_path), log_every_n_steps=1,
    )  # fmt: skip
    fit.fit(module, datamodule=data)
    assert saved[0] == 2  # the third epoch ends the warm-up
    assert fit.current_epoch == 4  # and patience counts from there


IWAE = ("objective=iwae", "estimator.num_draws=4")


@pytest.mark.parametrize(
    ("asked", "monitor"),
    [
        ([], "val/elbo"),
        (["objective.beta.value=0.1"], "val/objective"),
        (["objective.beta.value=0.1", "monitor=elbo"], "val/elbo"),
        (["objective/beta=linear_warmup", "objective.beta.epochs=2"], "val/elbo"),
        (IWAE, "val/objective"),
        ([*IWAE, "monitor=elbo"], "val/elbo"),
    ],
    ids=str,
)
def test_what_selects_is_a_choice(tmp_path: Path, asked: list[str], monitor: str) -> None:
    keep = ["callbacks.last.every_n_seconds=0", "trainer.max_epochs=3", "data.limit=256"]
    finished = run(tmp_path / "r", "data=digits", *keep, *asked)
    told = json.loads((finished.folder / "result.json").read_text())
    assert told["monitor"] == monitor
    assert finished.best is not None
    assert finished.best >= finished.metrics[monitor]
    best = torch.load(finished.folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] + 1 == told["best_epoch"]
    assert best["vae_lab"]["metrics"][monitor] == finished.best


def test_below_beta_1_what_is_kept_is_a_trained_model(tmp_path: Path) -> None:
    asked = ["data=digits", "data.batch_size=128", "trainer.max_epochs=12", "optimizer.lr=0.01",
             "objective.beta.value=0.02"]  # fmt: skip
    trained = run(tmp_path / "trained", *asked)
    kept = torch.load(trained.folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert kept["epoch"] > 6
    early = run(tmp_path / "early", *asked, "monitor=elbo")
    results = [json.loads((r.folder / "result.json").read_text()) for r in (trained, early)]
    assert [result["objective"] for result in results] == ["beta 0.02, no bound"] * 2
    assert results[0]["best_epoch"] > 6 > results[1]["best_epoch"]
    assert trained.metrics["test/objective"] > early.metrics["test/objective"] + 1
    assert early.metrics["test/elbo"] > trained.metrics["test/elbo"] + 1  # it kept what it chose


def test_another_monitor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="monitor must be objective or elbo, not loss"):
        run(tmp_path / "r", "monitor=loss")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("selects", ["scheduler=plateau", "early_stopping=patience"])
def test_what_follows_the_monitor(tmp_path: Path, selects: str) -> None:
    by_elbo, by_objective = (
        run(
            tmp_path / monitor, "data=digits", "objective.beta.value=0.02", "optimizer.lr=0.003",
            selects, selects.split("=")[0] + ".patience=1", f"monitor={monitor}",
            "trainer.max_epochs=8", "data.limit=800", "test=false",
        )
        for monitor in ("elbo", "objective")
    )  # fmt: skip
    ended = [
        torch.load(r.folder / "checkpoints" / "last.ckpt", weights_only=True)
        for r in (by_elbo, by_objective)
    ]
    if selects == "scheduler=plateau":
        rates = [content["optimizer_states"][0]["param_groups"][0]["lr"] for content in ended]
        assert rates[0] < rates[1] == 0.003
    else:
        assert ended[0]["epoch"] < ended[1]["epoch"] == 7


def test_a_warmup_longer_than_the_training_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InputError, match="warm-up takes 10 epochs, longer than the training's 1"):
        run(folder, "objective/beta=linear_warmup")
    assert not folder.exists()
    with pytest.raises(InputError, match="longer than"):
        run(folder, "objective/beta=linear_warmup", "trainer.max_epochs=50", "+trainer.max_steps=9")


@pytest.mark.parametrize(("pause", "last"), [(0, 1), (10, 0)])
def test_nan_stops_names_the_step_and_keeps_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pause: int, last: int
) -> None:
    clean = ELBO.values

    def poisoned(self: ELBO, trace: Any, epoch: Tensor) -> Tensor:
        value = clean(self, trace, epoch)
        return value * float("nan") if 2.5 <= float(epoch) < math.inf else value

    monkeypatch.setattr(ELBO, "values", poisoned)
    folder = tmp_path / "run"
    with pytest.raises(InputError, match=r"NaN or infinite at step 95 \(epoch 3\)"):
        run(
            folder, "data=digits", "trainer.max_epochs=5", "optimizer.lr=0.003",
            f"callbacks.last.every_n_seconds={pause}",
        )  # fmt: skip
    for name, epoch in (("best", 1), ("last", last)):
        content = torch.load(folder / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert content["epoch"] == epoch
        weights = [v for k, v in content["state_dict"].items() if k.startswith("model.")]
        assert all(w.isfinite().all() for w in weights)


@pytest.mark.parametrize("settings", [[], ["data.val_size=0", "trainer.max_epochs=3"]])
def test_an_explosion_in_an_epochs_last_step_is_not_saved(
    tmp_path: Path, settings: list[str]
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InputError, match="NaN or infinite at step 1 "):
        run(folder, "data.limit=20", "optimizer.lr=1e30", *settings)
    assert not (folder / "checkpoints").exists()


@pytest.mark.parametrize("beta", ["linear_warmup", "cyclical"])
def test_validation_is_scored_with_the_schedule_at_rest(tmp_path: Path, beta: str) -> None:
    length = "period" if beta == "cyclical" else "epochs"
    metrics = run(
        tmp_path / "run", "data=digits", f"objective/beta={beta}", f"objective.beta.{length}=3",
        "trainer.max_epochs=4",
    ).metrics  # fmt: skip
    for split in ("val", "test"):
        assert metrics[f"{split}/objective"] == pytest.approx(metrics[f"{split}/elbo"], rel=1e-5)
    if beta == "cyclical":  # the fourth epoch trains at beta below 1, and says so
        assert metrics["train/objective"] > metrics["train/elbo"] + 0.1


def test_figures_are_drawn_at_the_end_also_without_a_test(tmp_path: Path) -> None:
    quick = [o for o in QUICK if "figures" not in o]
    train([*quick, "test=false", "data.limit=32", f"hydra.run.dir={tmp_path / 'r'}"], quiet=True)
    assert (tmp_path / "r" / "figures" / "samples.png").is_file()


def test_optimal_sigma_is_refit_each_epoch_from_training_residuals(tmp_path: Path) -> None:
    finished = run(
        tmp_path / "run", "model/likelihood=gaussian", "model/likelihood/sigma=optimal",
        "trainer.max_epochs=3",
    )  # fmt: skip
    content = torch.load(finished.folder / "checkpoints" / "last.ckpt", weights_only=True)
    sigma = float(content["state_dict"]["model.likelihood.sigma.sigma"])
    # The last epoch was scored under the sigma before; its residuals are what the new one fits.
    # At its own sigma the distortion is D (log sigma + log(2 pi) / 2 + 1/2); any other costs more.
    at_best = 64 * (math.log(sigma) + 0.5 * math.log(2 * math.pi) + 0.5)
    assert sigma != 0.25
    assert at_best <= finished.metrics["train/distortion"] < at_best + 1


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adamax"])
def test_optimisers(tmp_path: Path, optimizer: str) -> None:
    assert math.isfinite(run(tmp_path / "r", f"optimizer={optimizer}").metrics["val/elbo"])


@pytest.mark.parametrize("scheduler", ["cosine", "step", "plateau"])
def test_learning_rate_schedules(tmp_path: Path, scheduler: str) -> None:
    finished = run(
        tmp_path / "r", f"scheduler={scheduler}", "trainer.gradient_clip_val=1.0",
        "trainer.max_epochs=2", "data.limit=64",
    )  # fmt: skip
    assert math.isfinite(finished.metrics["val/elbo"])


def test_bf16_training_reports_float32_figures(tmp_path: Path) -> None:
    full = run(tmp_path / "a", "trainer.max_epochs=3").metrics["val/elbo"]
    mixed = run(tmp_path / "b", "trainer.max_epochs=3", "trainer.precision=bf16-mixed")
    assert mixed.metrics["val/elbo"] == pytest.approx(full, rel=0.02)


def test_without_validation_the_last_weights_stand(tmp_path: Path) -> None:
    finished = run(tmp_path / "run", "data.val_size=0")
    assert finished.best is None
    assert "val/elbo" not in finished.metrics
    assert (finished.folder / "checkpoints" / "last.ckpt").is_file()
    assert math.isfinite(finished.metrics["test/elbo"])
    with pytest.raises(InputError, match="val_size"):
        run(tmp_path / "other", "data.val_size=0", "early_stopping=patience")


def test_gradient_reaches_every_parameter_of_a_conditional_model() -> None:
    module = training(prior=ClassMeans)
    data = datamodule(Digits(), Support.BINARY, limit=320)
    batch = next(data.batches("train", 320, torch.device("cpu")))
    outcome = step(module.model, module.objective, module.estimator, batch, torch.tensor(0.0))
    outcome.surrogate.mean().backward()
    for name, parameter in module.model.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name
