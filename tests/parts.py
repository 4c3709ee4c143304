"""What the tests build and look at: small models, data, trainers, and what runs leave behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from conftest import QUICK, SMALL
from linear_gaussian import LinearGaussian
from torch import Tensor
from torch.distributions import Independent, Normal
from warm import run_script

from vae_lab import Run, train
from vae_lab.callbacks.averaging import averaged_weights
from vae_lab.config import compose
from vae_lab.data import (
    DataSettings,
    ImageDataModule,
    Source,
)
from vae_lab.estimators import Pathwise, sampled
from vae_lab.model import VAE
from vae_lab.model.conditioning import NoConditioning
from vae_lab.model.context import Context
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.likelihoods import (
    Bernoulli,
)
from vae_lab.model.networks import MLP, ConvDecoder, ConvEncoder, ResNetDecoder, ResNetEncoder
from vae_lab.model.posteriors import DiagonalGaussian
from vae_lab.model.priors import StandardNormal
from vae_lab.objectives import ELBO, Constant, Objective
from vae_lab.support import Support
from vae_lab.trace import Batch, Latent, Trace
from vae_lab.training.module import VAEModule
from vae_lab.training.nan_guard import NaNGuard

ENCODERS = [
    partial(MLP, widths=[16]),
    partial(ConvEncoder, channels=[4, 8], widths=[16]),
    partial(ResNetEncoder, channels=[4, 8], blocks=1, widths=[16]),
]


DECODERS = [
    partial(MLP, widths=[16]),
    partial(ConvDecoder, channels=[8, 4], widths=[16]),
    partial(ResNetDecoder, channels=[8, 4], blocks=1, widths=[16]),
]


def vae(**parts: object) -> VAE:
    usual = {
        "x_shape": (1, 8, 8),
        "z_shape": (4,),
        "num_classes": 10,
        "encoder": ENCODERS[0],
        "decoder": DECODERS[0],
        "encoder_conditioning": NoConditioning,
        "decoder_conditioning": NoConditioning,
        "posterior": DiagonalGaussian,
        "likelihood": Bernoulli,
        "prior": StandardNormal,
    }
    return VAE(**{**usual, **parts})  # type: ignore[arg-type]


def batch(shape: tuple[int, ...], n: int = 5) -> Batch:
    return Batch(torch.rand(n, *shape).round(), torch.arange(n), torch.arange(n))


def datamodule(
    source: Source, support: Support = Support.LEVELS, **settings: Any
) -> ImageDataModule:
    usual: dict[str, Any] = {
        "seed": 0, "x_shape": None, "num_classes": None, "batch_size": 32, "val_size": 20,
        "test_size": 10, "split_seed": 0, "limit": None, "binarize": "auto", "dequantize": "auto",
        "eval_seed": 0, "resident_gib": 4, "num_workers": 0,
    }  # fmt: skip
    asked = {**usual, **settings}
    seed = asked.pop("seed")
    return ImageDataModule(source, DataSettings(**asked), support, seed)


def idx(values: np.ndarray) -> bytes:
    """An array of bytes as MNIST's files have it."""
    sizes = np.array(values.shape, ">u4").tobytes()
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype("uint8").tobytes()


def run(folder: Path, *overrides: str) -> Run:
    """Train on digits, with small networks unless `overrides` say others."""
    return train([*QUICK, *SMALL, f"hydra.run.dir={folder}", *overrides], quiet=True)


def trainer(*callbacks: L.Callback, epochs: int = 1, **settings: Any) -> L.Trainer:
    return L.Trainer(
        max_epochs=epochs, accelerator="cpu", callbacks=list(callbacks),
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        **{"logger": False, "enable_checkpointing": False, **settings},
    )  # fmt: skip


PLAIN = partial(ELBO, beta=Constant())


def training(
    objective: Callable[[Context], Objective] = PLAIN,
    seed: int = 0,
    kind: type[VAEModule] = VAEModule,
    guard: NaNGuard | None = None,
    **parts: Any,
) -> VAEModule:
    torch.manual_seed(seed)
    model = vae(**parts)
    return kind(
        model=model,
        objective=objective(model.context()),
        estimator=Pathwise(),
        optimizer=lambda p: torch.optim.Adam(p, lr=1e-2),
        scheduler=None,
        seed=seed,
        dequantized=False,
        record={"format": 1},
        guard=guard,
    )


Weights = dict[str, Tensor]


class Weighed(L.Callback):
    """Keeps the weights after every step, during every validation, and those shown in figures."""

    def __init__(self) -> None:
        self.steps: list[Weights] = []
        self.validated: list[Weights] = []
        self.shown: list[Weights] = []

    def on_train_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        self.steps.append(weights(module))

    def on_validation_batch_end(self, trainer: Any, module: Any, *args: Any) -> None:
        self.validated.append(weights(module))

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        if not self.validated:
            return  # nor looked at: nothing has touched the average since the last step
        with averaged_weights(trainer, module):
            self.shown.append(weights(module))


def weights(module: VAEModule) -> Weights:
    return {name: value.detach().clone() for name, value in module.model.state_dict().items()}


def same(one: Weights, other: Weights, tolerance: float = 0.0) -> bool:
    return all(torch.allclose(one[name], other[name], 0, tolerance) for name in one)


def one_line_of(finished: "subprocess.CompletedProcess[str]") -> str:
    """What a command said of bad input: status 1, one line, no traceback."""
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr + finished.stdout
    lines = [line for line in finished.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, finished.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


CONF = compose.conf_dir()


choices, needs = (partial(find, arguments=()) for find in (compose.choices, compose.needs))


GROUPS = sorted(f.relative_to(CONF).as_posix() for f in CONF.rglob("*") if f.is_dir())


def inspect(run: Path, *options: str) -> str:
    """A W&B run's files, through W&B's own reader."""
    wandb = Path(sys.executable).parent / "wandb"
    read = run_script([wandb, "leet", "inspect", *options, "--json", run], timeout=120)
    read.check_returncode()
    return read.stdout


def wandb_runs(folder: Path) -> list[dict]:
    """State, configuration and summary, for each time that the run was begun or gone on with."""
    runs = sorted((folder / "wandb").glob("offline-run-*"))
    return [json.loads(inspect(run, "--summary")) for run in runs]


def inspected(folder: Path) -> dict:
    """The same of a run in one go: W&B must have one run, once."""
    (run,) = wandb_runs(folder)
    return run


def exact_trace(draws: int = 5, data: int = 7) -> tuple[Trace, torch.Tensor]:
    model = LinearGaussian(torch.randn(6, 3), torch.randn(6), torch.tensor(0.4))
    x = model.sample(data)
    prior = Independent(Normal(torch.zeros(3).double(), torch.ones(3).double()), 1)
    latent = sampled(draws)(model.posterior(x), prior)
    return Trace(x, None, model.likelihood(latent.z), (latent,)), model.log_evidence(x)


def gaussian_trace(
    draws: int = 3, mean: Tensor | None = None, scale: Tensor | None = None
) -> Trace:
    """Of diagonal Gaussian posteriors, `mean` and `scale` (B, units), under N(0, I), in float64."""
    mean = torch.randn(7, 4).double() if mean is None else mean.double()
    scale = torch.rand(mean.shape).double() + 0.1 if scale is None else scale.double()
    zeros = torch.zeros(mean.shape[1:]).double()
    q, p = diagonal_normal(mean, scale, 1), diagonal_normal(zeros, zeros + 1, 1)
    latent = Latent(q.rsample((draws,)), q, p)
    x = torch.randn(mean.shape).double()
    return Trace(x, None, diagonal_normal(latent.z.tanh(), torch.ones_like(latent.z), 1), (latent,))
