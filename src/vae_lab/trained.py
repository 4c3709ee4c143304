"""A trained model, for use from Python: what goes in and comes out are images."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.arguments import Count, checked
from vae_lab.config.restore import data_from_config, model_from_checkpoint
from vae_lab.data import ImageDataModule, Preparation
from vae_lab.errors import InputError
from vae_lab.evaluation.evidence import evidence
from vae_lab.evaluation.figures import interpolate
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.storage.checkpoint import checkpoint_path, read_checkpoint
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
    return TrainedVAE(model, preparation, record)


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
        self, model: LatentVariableModel, preparation: Preparation, record: dict[str, Any]
    ) -> None:
        self.model, self.preparation, self.record = model, preparation, record

    def __repr__(self) -> str:
        model, record = self.model, self.record
        z = f"z {model.z_shape}" if isinstance(model, VAE) else f"{model.num_units} latent units"
        given = " given y" if model.reads_labels else ""
        return (
            f"TrainedVAE({record['config']['name']}: {record['parameters']:,} parameters, {z}, "
            f"{type(model.likelihood).__name__} over {model.x_shape}{given}; trained on "
            f"{record['measure']['data']}, {record['checkpoint']} of epoch {record['epoch'] + 1}; "
            f"on {self._device})"
        )

    def to(self, device: str | torch.device) -> "TrainedVAE":
        """Move the model to `device`, where its results will lie; itself."""
        self.model.to(device)
        return self

    def data(self) -> ImageDataModule:
        """The data it was trained with, split and prepared as they were then.

        `data().random_items("test", 10, torch.device("cpu"), seed=0)` has `x` and `y` of ten unseen
        images. Raises InputError where the data are missing.
        """
        return data_from_config(self.record["config"])

    @torch.no_grad()
    def sample(
        self, n: int, y: Labels = None, *, mean: bool = True, seed: int | None = None
    ) -> Tensor:
        """`n` images from the prior: decoder means, or draws of x with `mean=False`.

        A conditional model given no y draws labels uniformly. Raises InputError for n below 1, a
        label outside the classes, and any label where the model reads none.
        """
        checked("n", n, Count)
        with self._seeded(seed):
            if y is None and self.model.reads_labels:
                y = torch.randint(self.model.num_classes or 0, (n,))
            p_x = self.model.sample(n, self._labels(y, n))
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
        samples. Raises InputError below 1, and for a model of grey pixels, which has no likelihood.
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

    def _labels(self, y: Labels, n: int) -> Tensor | None:
        if y is not None:
            if not self.model.reads_labels:
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
