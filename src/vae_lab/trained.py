"""A trained model, for use from Python: what goes in and comes out are images."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.arguments import Count, NonNegative, checked
from vae_lab.config.restore import data_from_config, model_from_checkpoint, prior_beside
from vae_lab.data import ImageDataModule
from vae_lab.data.preparation import Preparation, as_numbers, as_pixels
from vae_lab.errors import InputError
from vae_lab.evaluation import moves
from vae_lab.evaluation.evidence import log_evidence
from vae_lab.evaluation.inputs import Inputs, Labels
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.model.priors.standardized import Standardized
from vae_lab.model.sampler import Sampler, from_fitted_prior, from_own_prior
from vae_lab.seeding import seeded
from vae_lab.storage.checkpoint import checkpoint_path, read_checkpoint, run_folder
from vae_lab.storage.prior_file import prior_path


def load(run: str | os.PathLike[str], device: str | torch.device = "cpu") -> "TrainedVAE":
    """The trained model of a run, its folder (best checkpoint, else last) or a checkpoint file.

    Also of the weights that export wrote, model.safetensors or its folder. Raises InputError where
    there is none, or it is cut short, of another model, or not ours. No code from it is run.
    """
    path = checkpoint_path(run)
    content = read_checkpoint(path)
    model = model_from_checkpoint(path, content).to(device)
    record = {key: of for key, of in content["vae_lab"].items() if key != "ranks"}  # for resuming
    preparation = Preparation(record["data"]["binarize"], record["data"]["dequantize"])
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
        record: Where it came from: configuration, data, commit, checkpoint, epoch (from 0), step.
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
        self._inputs = Inputs(model, preparation)

    @cached_property
    def fitted_prior(self) -> Standardized | None:
        """The prior that `fit_prior` has fitted to this model's codes; None where none was.

        Raises InputError for one that is damaged, or was fitted to other weights.
        """
        return None if self.path is None else prior_beside(self.path, self.model)

    @property
    def fitted_sampler(self) -> Sampler | None:
        """Samples from that prior. Raises InputError as `fitted_prior` does."""
        prior = self.fitted_prior
        return None if prior is None else from_fitted_prior(self._vae, prior)

    def __repr__(self) -> str:
        model, record = self.model, self.record
        z = f"z {model.z_shape}" if isinstance(model, VAE) else f"{model.num_units} latent units"
        told = "y" if model.reads_labels else model.observed
        given = f" given {told}" if told else ""
        has_prior = self.path is not None and prior_path(run_folder(self.path)).exists()
        fitted = "; samples from the prior fitted afterwards, prior.ckpt" if has_prior else ""
        return (
            f"TrainedVAE({record['config']['name']}: {record['parameters']:,} parameters, {z}, "
            f"{type(model.likelihood).__name__} over {model.x_shape}{given}; trained on "
            f"{record['measure']['data']}, {record['checkpoint']} of epoch {record['epoch'] + 1}; "
            f"on {self._inputs.device}{fitted})"
        )

    def to(self, device: str | torch.device) -> "TrainedVAE":
        """Move the model to `device`, where its results will lie; itself."""
        self.model.to(device)
        self.__dict__.pop("fitted_prior", None)  # which is read again
        return self

    def data(self) -> ImageDataModule:
        """The data it was trained with, split and prepared as they were then.

        `data().random_items("test", 10, torch.device("cpu"), seed=0)` has `x` and `y` of ten unseen
        images. Raises InputError where the data are missing.
        """
        return data_from_config(self.record["config"])

    @torch.no_grad()
    def sample(
        self, n: int, y: Labels = None, *,
        mean: bool = True, seed: int | None = None, fitted: bool = True,
    ) -> Tensor:  # fmt: skip
        """`n` images from the prior: decoder means, or draws of x with `mean=False`.

        The prior is the one that `fit_prior` has fitted afterwards, where it has; with
        `fitted=False` the model's own. A conditional model or prior given no y draws labels
        uniformly. Raises InputError for n below 1, a label outside the classes, any label where
        none is read, and a fitted prior that is damaged or of other weights.
        """
        n, mean = checked("n", n, Count), checked("mean", mean, bool)
        wanted = self.fitted_sampler if checked("fitted", fitted, bool) else None
        sampler = wanted or from_own_prior(self.model)
        with seeded(seed):
            if y is None and sampler.reads_labels:
                y = torch.randint(self.model.num_classes or 0, (n,))
            p_x = sampler.draw(n, self._inputs.labels(y, n, reads_labels=sampler.reads_labels))
            return p_x.mean if mean else p_x.sample()

    @torch.no_grad()
    def encode(self, x: Any, y: Labels = None, *, seed: int | None = None) -> Distribution:
        """q(z|x), batch shape (N,); its `mean`, of a flow `vae_lab.trace.centre(q)`, is (N, *Z)."""
        with seeded(seed):
            batch = self._inputs.batch(x, y)
            return self._vae.q_z(batch.x, batch.y)

    @torch.no_grad()
    def decode(
        self, z: Any, y: Labels = None, *, mean: bool = True, seed: int | None = None
    ) -> Tensor:
        """The images of latents z, (N, *Z): decoder means, or draws of x with `mean=False`.

        Of a discrete model draws of z are one-hot; what lies between is decoded as it is. Raises
        InputError for z of another shape or not finite, and for labels as `sample` does.
        """
        model, mean = self._vae, checked("mean", mean, bool)
        latents = self._inputs.latents(z, model)
        with seeded(seed):
            p_x = model.p_x(latents, self._inputs.labels(y, len(latents)))
            return p_x.mean if mean else p_x.sample()

    @torch.no_grad()
    def reconstruct(self, x: Any, y: Labels = None, *, seed: int | None = None) -> Tensor:
        """The decoder's means at the posterior means of x."""
        with seeded(seed):
            return self.model.reconstruct(self._inputs.batch(x, y)).mean

    @torch.no_grad()
    def interpolate(
        self, a: Any, b: Any, n: int, y: Labels = None, *, seed: int | None = None
    ) -> Tensor:
        """`n` decoder means on the line between the posterior means of two images, each (*X).

        y, for a conditional model: the two images' labels.
        """
        n, shape = checked("n", n, Count), self.model.x_shape
        pair = [as_pixels(as_numbers("images", image)[None], shape) for image in (a, b)]
        with seeded(seed):
            ends = self._inputs.batch(torch.cat(pair), y)
            return moves.interpolate(self._vae, ends, n)[1:-1]

    @torch.no_grad()
    def traverse(
        self, x: Any, unit: int | Sequence[int], values: Sequence[float] | Tensor,
        y: Labels = None, *, seed: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Decoder means of the codes of x with one unit of z set to each of V `values`.

        (N, V, *X). The code is the posterior's mean; its other units stay as they are, and so does
        y. `unit` is a place in z: a number, or one for each dimension where z has several. Raises
        InputError for a unit that z does not have and for values that are no list of numbers.
        """
        model = self._vae
        place = moves.place_in(model.z_shape, unit)
        told = moves.wanted_values(values)
        with seeded(seed):
            batch = self._inputs.batch(x, y)
            return moves.traverse(model, moves.codes(model, batch), batch.y, place, told)

    @torch.no_grad()
    def transfer(self, x: Any, y: Labels, to: Labels, *, seed: int | None = None) -> Tensor:
        """Images x of the classes y, re-rendered as the classes `to`: decoder means, (N, *X).

        What the model draws beside the class is kept. The code z, the posterior's mean given y, is
        decoded as `to`; where the prior reads labels, z first moves to the same place among the
        draws of that class: mu_to + sigma_to (z - mu_y) / sigma_y, of p(z|to) and p(z|y). Raises
        InputError for a model whose prior and decoder read no labels, or whose p(z|y) is no product
        of Gaussians, in which alone that is one place; and for labels as `sample` does.
        """
        model = self._vae
        if reason := moves.no_transfer(model):
            raise InputError(reason)
        with seeded(seed):
            batch = self._inputs.batch(x, y)
            classes = self._inputs.labels(to, len(batch.x), "to")
            assert batch.y is not None  # as is told where a model that reads labels is given none
            assert classes is not None
            return moves.transfer(model, moves.codes(model, batch), batch.y, classes)

    @torch.no_grad()
    def complete(self, x: Any, n: int, *, mean: bool = True, seed: int | None = None) -> Tensor:
        """`n` completions of each x, (N, n, *X): decoder means, or draws of x with `mean=False`.

        Its given pixels stay. Raises InputError for a model that is given no part of x.
        """
        n, mean = checked("n", n, Count), checked("mean", mean, bool)
        with seeded(seed):
            p_x = moves.complete(self.model, self._inputs.batch(x, None), n)
            return (p_x.mean if mean else p_x.sample()).movedim(0, 1)

    def log_prob(
        self, x: Any, num_draws: int = 1000, y: Labels = None, *,
        seed: int | None = None, memory_mib: float | None = None,
    ) -> Tensor:  # fmt: skip
        """The importance-weighted bound on log p(x), or of what is given too; (N,), nats.

        Of densities (continuous data) it is the log-density. `num_draws` is how many samples, and
        `memory_mib` the MiB computed at once (None: what suits the device). Raises InputError for
        grey pixels, which have no likelihood, and a point mass as posterior, which has no density.
        """
        num_draws = checked("num_draws", num_draws, Count)
        memory_mib = checked("memory_mib", memory_mib, NonNegative | None)
        with seeded(seed):
            draws = int(torch.randint(2**31, ()))
            return log_evidence(self.model, self._inputs.batch(x, y), num_draws, memory_mib, draws)

    @property
    def _vae(self) -> VAE:
        if not isinstance(self.model, VAE):
            kind = type(self.model).__name__
            raise InputError(f"a {kind} has no latent layer that stands alone, to be encoded into.")
        return self.model
