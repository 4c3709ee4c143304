"""The codes of data: their scale, and what they know of labels, told by two simple classifiers."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from vae_lab.data import ImageDataModule
from vae_lab.estimators import sampled
from vae_lab.evaluation.disentanglement import dci, mutual_information_gap
from vae_lab.evaluation.metrics import centres
from vae_lab.evaluation.statistics import Estimate, mean_estimate
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.seeding import reseed
from vae_lab.trace import Batch, centre, is_discrete

MOST_ENCODED = 10_000
"""Training items that what reads the codes learns from, at the most."""

PROBED_WITH_LABELS = "q(z|x, y) was given the label that the probes find in its codes"

NEIGHBOURS = 5


@dataclass(frozen=True)
class Codes:
    """Some items' codes, and what is known of the items."""

    values: Tensor  # (N, units) float64, the centre of q(z|x)
    labels: Tensor | None  # (N,)
    factors: Tensor | None  # (N, F), what made each item

    @classmethod
    def of(cls, values: Tensor, data: ImageDataModule, split: str, items: Tensor) -> "Codes":
        """With what `data` know of these items (N,) of a split."""
        known = data.splits[split]
        labels, factors = (
            None if value is None else value[items].cpu() for value in (known.labels, known.factors)
        )
        return cls(values, labels, factors)

    @property
    def all_factors(self) -> Tensor | None:
        """The factors with the label, which is one more, (N, F + 1); None where there are none."""
        if self.factors is None or self.labels is None:
            return self.factors
        return torch.cat([self.labels.unsqueeze(1).to(self.factors.dtype), self.factors], 1)


@torch.no_grad()
def encode(model: LatentVariableModel, batches: Iterable[Batch]) -> Tensor:
    """The codes of data, (N, units) float64 on the CPU: the centres of every layer's posterior."""
    return torch.cat([centres(model(batch, sampled(1))).double().cpu() for batch in batches])


@torch.no_grad()
def latents(model: VAE, batches: Iterable[Batch], draw: bool, seed: int) -> Tensor:
    """Z of data, (N, *Z) on the CPU: the centres of q(z|x), or with `draw` one draw of each.

    `seed` is of the draws, and of centres that are Monte Carlo estimates.
    """
    found = []
    for number, batch in enumerate(batches):
        reseed(batch.x.device, seed, "latents", number)
        q = model.q_z(batch.x, batch.y)
        found.append((q.sample() if draw else centre(q)).float().cpu())
    return torch.cat(found)


def scale_of(z: Tensor) -> Estimate | None:
    """1 / the standard deviation of codes z, (N, *Z), over data and units together.

    By which latent diffusion multiplies codes, so that their variance is 1: Rombach et al.,
    High-Resolution Image Synthesis with Latent Diffusion Models, 2022
    (https://arxiv.org/abs/2112.10752). None where all are the same.

    >>> scale_of(torch.tensor([[-2.0, 2.0], [2.0, -2.0]]))
    Estimate(value=0.5, standard_error=None, unit='1 / std of z')
    """
    z = z.double()
    squares = mean_estimate((z - z.mean()).square().flatten(1).mean(1), "")  # of each datum
    if not squares.value:
        return None
    error = squares.standard_error and squares.standard_error / (2 * squares.value**1.5)
    return Estimate(squares.value**-0.5, error, "1 / std of z")  # the error by the delta method


@torch.no_grad()
def scale_estimate(
    model: LatentVariableModel, data: ImageDataModule, most: int, seed: int
) -> dict[str, Estimate]:
    """The `code_scale` of draws z ~ q(z|x) of at most so many training items, chosen by `seed`.

    Nothing where z has several layers, or is discrete.
    """
    if not isinstance(model, VAE):
        return {}
    device = next(model.parameters()).device
    some = data.random_items("train", 1, device, seed)
    if is_discrete(model.q_z(some.x, some.y)):
        return {}
    items = data.random_index("train", most, seed)
    batches = data.batches("train", data.batch_size, device, items)
    scale = scale_of(latents(model, batches, draw=True, seed=seed))
    return {} if scale is None else {"code_scale": scale}


def code_estimates(
    model: LatentVariableModel, data: ImageDataModule, test: Codes, most: int, seed: int
) -> dict[str, Estimate]:
    """All that the codes are found to know of labels and factors; nothing where there are none.

    Args:
        model: In eval mode, whose training items' codes are learnt from.
        data: Those it was trained with.
        test: What is judged.
        most: Training items that are encoded, at the most.
        seed: Of which those are, and of all that is drawn.
    """
    if test.labels is None and test.factors is None:
        return {}
    device = next(model.parameters()).device
    items = data.random_index("train", most, seed)
    reseed(device, seed, "codes")
    batches = data.batches("train", data.batch_size, device, items)
    train = Codes.of(encode(model, batches), data, "train", items)
    found = probe_accuracies(train, test)
    if train.all_factors is None or test.all_factors is None:
        return found
    known = train.all_factors, test.all_factors
    varies = [
        len(v.unique()) > 1 and len(w.unique()) > 1
        for v, w in zip(*(factors.T for factors in known), strict=True)
    ]
    if not any(varies):
        return found
    learnt, asked = (factors[:, varies] for factors in known)
    both = torch.cat([train.values, test.values]), torch.cat([learnt, asked])
    gap = mutual_information_gap(*both, seed)  # learns nothing: the more items, the less its bias
    return {**found, "mig": gap, **dci(train.values, learnt, test.values, asked, seed)}


def probe_accuracies(train: Codes, test: Codes) -> dict[str, Estimate]:
    """How often the labels of `test` are told from its codes, as shares; none of a single class.

    `linear` is a multinomial logistic regression on standardised codes. `knn` asks the 5 nearest
    training codes, as they are: standardised, the noise of units that are not used would count as
    much as what the others say.
    """
    if train.labels is None or test.labels is None or len(train.labels.unique()) < 2:
        return {}
    probes = {
        "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
        "knn": KNeighborsClassifier(min(NEIGHBOURS, len(train.labels))),
    }
    found = {}
    for name, probe in probes.items():
        probe.fit(train.values.numpy(), train.labels.numpy())
        told = torch.from_numpy(probe.predict(test.values.numpy()))
        right = (told == test.labels).double()
        found[f"probe_accuracy_{name}"] = mean_estimate(right, "share")
    return found
