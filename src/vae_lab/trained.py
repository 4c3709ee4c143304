"""A trained model, for use from Python: what goes in and comes out are images."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.arguments import Count, checked
from vae_lab.config.restore import model_from_checkpoint, prior_beside
from vae_lab.data import Preparation
from vae_lab.errors import InputError
from vae_lab.estimators import sampled
from vae_lab.evaluation.evidence import evidence
from vae_lab.evaluation.figures import interpolate
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.model.priors.standardized import Standardized
from vae_lab.storage.checkpoint import checkpoint_path, read_checkpoint, run_folder
from vae_lab.storage.prior_file import prior_path
from vae_lab.support import Support
from vae_lab.trace import Batch

Labels = int | Sequence[int] | Tensor | None


def load(run: str | os.PathLike[str], device: str | torch.device = "cpu") -> "TrainedVAE":
    """The trained model of a run, its folder (best checkpoint, else last) or a checkpoint file.

    Also of the weights that export wrote, model.safetensors or its folder. Raises InputError where
    there is none, or it is cut short, of another model, or not ours. No code from it is run.
    """
    path = checkpoint_path(run)
    content = read_checkpoint(path)
    model = model_from_checkpoint(path, content).to(device)
    record = {**content["vae_lab"]}
    record.pop("ranks", None)  # tensors, which resuming alone reads
    facts = record["data"]
    preparation = Preparation(facts["binarize"], facts["dequantize"])
    step = content.get("global_step", record.get("step"))  # of exported weights: as recorded
    record |= {"checkpoint": path.name, "epoch": content["epoch"], "step": step}
    return TrainedVAE(model, preparation, record, path)


class TrainedVAE:
    """A model with the preparation its numbers are true under.

    Images x are (N, *X), tensor or numpy array, uint8 or float in [0, 1]; floats are read as k/255
    where the model was trained on 8-bit data. They are prepared (binarised, dequantised) here as
    they were in training, so results vary with `seed` where that draws noise. Labels y are an int
    for all, or N of them; conditional models need them, others refuse them. Images that come out
    are (N, *X) float in [0, 1], on the model's device. A `seed` makes a result reproducible and
    leaves torch's own generators as they were.

    Attributes:
        model: The torch module.
        preparation: From pixels to the model's x.
        record: Where the model came from: its configuration, data, commit, checkpoint, epoch (from
            0) and step.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        preparation: Preparation,
        record: dict[str, Any],
        path: Path | None = None,
    ) -> None:
        """`path` is the checkpoint's: a prior fitted afterwards lies beside it."""
        self.model, self.preparation, self.record, self.path = model, preparation, record, path

    @cached_property
    def fitted_prior(self) -> Standardized | None:
        """The prior that `fit_prior` has fitted to this model's codes; None where none was.

        Raises InputError for one that is damaged, or was fitted to other weights.
        """
        if self.path is None or not isinstance(self.model, VAE):
            return None
        return prior_beside(self.path, self.model)

    def __repr__(self) -> str:
        model, record = self.model, self.record
        z = f"z {model.z_shape}" if isinstance(model, VAE) else f"{model.num_units} latent units"
        given = " given y" if model.reads_labels else ""
        has_prior = self.path is not None and prior_path(run_folder(self.path)).is_file()
        fitted = "; samples from the prior fitted afterwards, prior.ckpt" if has_prior else ""
        return (
            f"TrainedVAE({record['config']['name']}: {record['parameters']:,} parameters, {z}, "
            f"{type(model.likelihood).__name__} over {model.x_shape}{given}; trained on "
            f"{record['measure']['data']}, {record['checkpoint']} of epoch {record['epoch'] + 1}; "
            f"on {self._device}{fitted})"
        )

    def to(self, device: str | torch.device) -> "TrainedVAE":
        """Move the model to `device`, where its results will lie; itself."""
        self.model.to(device)
        self.__dict__.pop("fitted_prior", None)  # which is read again
        return self

    @torch.no_grad()
    def sample(
        self,
        n: int,
        y: Labels = None,
        *,
        mean: bool = True,
        seed: int | None = None,
        fitted: bool = True,
    ) -> Tensor:
        """`n` images from the prior: decoder means, or draws of x with `mean=False`.

        The prior is the one that `fit_prior` has fitted afterwards, where it has; with
        `fitted=False` the model's own. A conditional model or prior given no y draws labels
        uniformly. Raises InputError for n below 1, a label outside the classes, any label where
        none is read, and a fitted prior that is damaged or of other weights.
        """
        checked("n", n, Count)
        prior = self.fitted_prior if fitted else None
        reads_labels = self.model.reads_labels or (prior is not None and prior.reads_labels)
        with self._seeded(seed):
            if y is None and reads_labels:
                y = torch.randint(self.model.num_classes or 0, (n,))
            labels = self._labels(y, n, reads_labels)
            if prior is None:
                p_x = self.model.sample(n, labels)
            else:
                p_x = self._vae.sample_from(prior(labels), n, labels)
            return p_x.mean if mean else p_x.sample()

    @torch.no_grad()
    def encode(self, x: Any, y: Labels = None, *, seed: int | None = None) -> Distribution:
        """q(z|x), batch shape (N,); its `mean` and `stddev` are (N, *Z)."""
        with self._seeded(seed):
            batch = self._batch(x, y)
            return self._vae.q_z(batch.x, batch.y)

    @torch.no_grad()
    def decode(
        self, z: Any, y: Labels = None, *, mean: bool = True, seed: int | None = None
    ) -> Tensor:
        """The images of latents z, (N, *Z): decoder means, or draws of x with `mean=False`.

        Raises InputError for z of another shape, and for labels as `sample` does.
        """
        model = self._vae
        latents = torch.as_tensor(z, dtype=torch.float32, device=self._device)
        if latents.shape[1:] != model.z_shape or not len(latents):
            wanted = ", ".join(map(str, model.z_shape))
            raise InputError(f"latents must be (N, {wanted}), not {tuple(latents.shape)}.")
        with self._seeded(seed):
            p_x = model.p_x(latents, self._labels(y, len(latents)))
            return p_x.mean if mean else p_x.sample()

    @torch.no_grad()
    def reconstruct(self, x: Any, y: Labels = None, *, seed: int | None = None) -> Tensor:
        """The decoder's means at the posterior means of x."""
        with self._seeded(seed):
            return self.model.reconstruct(self._batch(x, y)).mean

    @torch.no_grad()
    def interpolate(
        self, a: Any, b: Any, n: int, y: Labels = None, *, seed: int | None = None
    ) -> Tensor:
        """`n` decoder means on the line between the posterior means of two images, each (*X).

        y, for a conditional model: the two images' labels.
        """
        checked("n", n, Count)
        pair = [torch.as_tensor(a), torch.as_tensor(b)]
        for image in pair:
            if image.shape != self.model.x_shape:
                wanted, found = tuple(self.model.x_shape), tuple(image.shape)
                raise InputError(f"interpolate takes two images, each {wanted}, not {found}.")
        with self._seeded(seed):
            ends = self._batch(torch.stack(pair), y)
            return interpolate(self._vae, ends, n)[1:-1]

    def log_prob(
        self,
        x: Any,
        num_draws: int = 1000,
        y: Labels = None,
        *,
        seed: int | None = None,
        memory_mib: float = 512,
    ) -> Tensor:
        """The importance-weighted bound on log p(x), or log p(x|y); (N,), nats.

        Of densities (continuous data) it is the log-density. `num_draws` is how many importance
        samples. Raises InputError below 1, for a model of grey pixels, which has no likelihood, and
        for a point mass as posterior, which has no density.
        """
        checked("num_draws", num_draws, Count)
        if self.model.likelihood.support is Support.GREY:
            raise InputError(
                "cross-entropy on grey pixels is no likelihood: this model has no log_prob. Train "
                "with model/likelihood=bernoulli or continuous_bernoulli for one."
            )
        with self._seeded(seed):
            draws = int(torch.randint(2**31, ()))
            batch = self._batch(x, y)
            with torch.no_grad():
                if not self.model(batch[:1], sampled(1)).has_elbo:
                    raise InputError(
                        "the posterior is a point mass, which has no density: this model has no "
                        "log_prob. Train with another model/posterior for one."
                    )
            starts = range(0, len(batch.x), 100)
            batches = (batch[start : start + 100] for start in starts)
            scored = evidence(self.model, batches, num_draws, memory_mib, draws)
            return torch.cat([part.log_px for part in scored])

    @property
    def _vae(self) -> VAE:
        if not isinstance(self.model, VAE):
            kind = type(self.model).__name__
            raise InputError(f"a {kind} has no single latent layer to encode into.")
        return self.model

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _batch(self, x: Any, y: Labels) -> Batch:
        pixels = torch.as_tensor(np.asarray(x) if not isinstance(x, Tensor) else x)
        shape = self.model.x_shape
        if pixels.shape[1:] != shape and (1, *pixels.shape[1:]) == shape:
            pixels = pixels.unsqueeze(1)
        if pixels.shape[1:] != shape or not len(pixels):
            raise InputError(
                f"images must be (N, {', '.join(map(str, shape))}), not {tuple(pixels.shape)}."
            )
        if pixels.dtype != torch.uint8:
            pixels = pixels.to(torch.float32)
            if not (pixels.min() >= 0 and pixels.max() <= 1):
                raise InputError("float images must lie in [0, 1]: scale them, or give uint8.")
            if self.preparation.dequantize:
                pixels = (pixels * 255).round().to(torch.uint8)
        prepared = self.preparation(pixels).to(self._device)
        return Batch(prepared, self._labels(y, len(prepared)), torch.arange(len(prepared)))

    def _labels(self, y: Labels, n: int, reads_labels: bool | None = None) -> Tensor | None:
        if y is not None:
            if not (self.model.reads_labels if reads_labels is None else reads_labels):
                raise InputError("this model reads no labels: leave y out.")
            y = torch.as_tensor(y, device=self._device).long()
            if y.shape not in ((), (n,)):
                raise InputError(f"y must be one label or {n} of them, not {tuple(y.shape)}.")
            y = y.expand(n)
        self.model.check_labels(y)
        return y

    @contextmanager
    def _seeded(self, seed: int | None) -> Iterator[None]:
        if seed is None:
            yield
            return
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
