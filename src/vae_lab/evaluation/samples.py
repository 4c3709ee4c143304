"""What samples are worth beside real images, as a classifier of these sees both."""

import math
from dataclasses import dataclass

import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from vae_lab.data import ImageDataModule
from vae_lab.evaluation.classifier import (
    FEATURES,
    Classifier,
    can_be_classified,
    classifier_for,
    drawn,
    of_images,
)
from vae_lab.evaluation.frechet import frechet_estimate
from vae_lab.evaluation.statistics import Estimate
from vae_lab.model import LatentVariableModel
from vae_lab.seeding import reseed
from vae_lab.trace import is_discrete

_AT_ONCE = 100  # images that are decoded together
_MOST_CODES, _COMPONENTS = 10_000, 3  # that a mixture is fitted to, and of each class


@dataclass(frozen=True)
class Judged:
    """What a classifier finds: estimates by name, and a sentence on each kind of them."""

    estimates: dict[str, Estimate]
    notes: list[str]

    def __add__(self, other: "Judged") -> "Judged":
        return Judged(self.estimates | other.estimates, self.notes + other.notes)


def judge(
    model: LatentVariableModel,
    data: ImageDataModule,
    samples_per_class: int,
    frechet: bool,
    limit: int | None,
    seed: int,
) -> Judged:
    """Judge samples by the classifier of the data: nothing, where there can be none.

    Args:
        model: In eval mode; the accuracy is found of one that reads labels.
        data: Those that it was trained with.
        samples_per_class: For the accuracy.
        frechet: Whether the Frechet distance is wanted.
        limit: Of the images that the classifier sees, and that samples are compared with.
        seed: Of the draws.
    """
    found = Judged({}, [])
    if not (frechet or model.reads_labels) or not can_be_classified(data, limit):
        return found
    classifier = classifier_for(data, next(model.parameters()).device, limit)
    if model.reads_labels:
        found += accuracy_of_samples(model, classifier, samples_per_class, seed)
        found += accuracy_of_codes(model, data, classifier, samples_per_class, limit, seed)
    if frechet:
        found += frechet_of_samples(model, data, classifier, limit, seed)
    return found


def accuracy_of_samples(
    model: LatentVariableModel, classifier: Classifier, per_class: int, seed: int
) -> Judged:
    """How often the classifier agrees with the label that a sample was drawn for.

    Args:
        model: A conditional one, in eval mode.
        classifier: That of the data which the model was trained with.
        per_class: How many samples of each class: decoder means, at draws from the prior.
        seed: Of the draws.
    """
    y = torch.arange(model.num_classes or 0).repeat_interleave(per_class)
    right = (classifier.predict(decoder_means(model, len(y), y, seed)) == y).double().mean()
    estimates = {
        "classifier_accuracy_samples": _share(float(right), len(y)),
        "classifier_accuracy_test_images": _share(classifier.accuracy, classifier.tested_on),
    }
    note = (
        f"the classifier is a CNN, trained on {classifier.trained_on} training images as stored; "
        f"samples are {per_class} decoder means a class, drawn from the prior."
    )
    return Judged(estimates, [note])


@torch.no_grad()
def accuracy_of_codes(
    model: LatentVariableModel,
    data: ImageDataModule,
    classifier: Classifier,
    per_class: int,
    limit: int | None,
    seed: int,
) -> Judged:
    """The same of samples whose z is drawn where codes of their class lie, not from the prior.

    Where these obey and the prior's do not, decoder and labels are well, and the prior reaches
    where no code lies: the prior needs replacing. For each class a mixture of Gaussians with full
    covariances is fitted to draws from q(z|x) of at most 10,000 training images, as Ghosh et al.,
    From Variational to Deterministic Autoencoders, 2020, do. Nothing is found where z has several
    layers or is discrete, or where a class has too few codes.
    """
    place, device = model.context(), next(model.parameters()).device
    if place.q_z is None or place.p_x is None or place.z_shape is None:
        return Judged({}, [])
    reseed(device, seed, "codes")
    some = data.random_items("train", min(limit or _MOST_CODES, _MOST_CODES), device, seed)
    parts = [some[slice(at, at + _AT_ONCE)] for at in range(0, len(some.x), _AT_ONCE)]
    if some.y is None or is_discrete(place.q_z(parts[0].x, parts[0].y)):
        return Judged({}, [])
    z = torch.cat([place.q_z(part.x, part.y).sample() for part in parts]).flatten(1).double().cpu()
    drawn_for, means = [], []
    for label in range(model.num_classes or 0):
        own = z[some.y.cpu() == label]
        if len(own) <= _COMPONENTS * z.shape[1]:
            return Judged({}, [])
        mixture = GaussianMixture(_COMPONENTS, reg_covar=1e-3, random_state=seed).fit(own.numpy())
        found = torch.from_numpy(mixture.sample(per_class)[0]).to(device, torch.float32)
        y = torch.full((per_class,), label, device=device)
        for at, labels in zip(found.split(_AT_ONCE), y.split(_AT_ONCE), strict=True):
            p_x = place.p_x(at.unflatten(1, place.z_shape), labels)
            means.append(p_x.mean.clamp(0, 1).cpu())
        drawn_for.append(y.cpu())
    right = (classifier.predict(torch.cat(means)) == torch.cat(drawn_for)).double().mean()
    share = _share(float(right), per_class * len(drawn_for))
    note = (
        f"samples_of_codes: z is drawn not from the prior but from {_COMPONENTS} Gaussians that "
        f"were fitted to the codes of each class, of {len(z)} training images."
    )
    return Judged({"classifier_accuracy_samples_of_codes": share}, [note])


def frechet_of_samples(
    model: LatentVariableModel,
    data: ImageDataModule,
    classifier: Classifier,
    limit: int | None,
    seed: int,
) -> Judged:
    """The Frechet distance from test images to as many samples, and to as many training images.

    The second is what real images reach. Nothing is found of fewer images than features, whose
    covariance says little.

    Args:
        model: In eval mode; one that reads labels is given those of the test images.
        data: Those that the model was trained with.
        classifier: Theirs: the features are of its layer before the last.
        limit: Compare at most so many test images.
        seed: Of the draws.
    """
    test = drawn(data, "test", limit)
    if len(test) <= FEATURES:
        return Judged({}, [])
    train = drawn(data, "train", len(test))
    real, other = (classifier.features(of_images(images)) for images in (test, train))
    y = test.labels if model.reads_labels else None
    samples = classifier.features(decoder_means(model, len(test), y, seed))
    estimates = {
        "frechet_distance_samples": frechet_estimate(real, samples, seed),
        "frechet_distance_train_images": frechet_estimate(real, other, seed),
    }
    note = (
        f"Frechet distances are over {FEATURES} features of this data's own classifier, from "
        f"{len(test)} test images as stored to {len(samples)} decoder means and to {len(train)} "
        "training images: they compare with no others."
    )
    return Judged(estimates, [note])


@torch.no_grad()
def decoder_means(model: LatentVariableModel, n: int, y: Tensor | None, seed: int) -> Tensor:
    """The means of p(x|z) at n draws from the prior, (n, *X), in [0, 1] and on the CPU.

    `y`, (n,), are the labels of a model that reads some.
    """
    device = next(model.parameters()).device
    reseed(device, seed, "samples")
    means = []
    for index in torch.arange(n).split(_AT_ONCE):
        labels = None if y is None else y[index].to(device)
        means.append(model.sample(len(index), labels).mean.clamp(0, 1).cpu())
    return torch.cat(means)


def _share(p: float, count: int) -> Estimate:
    error = math.sqrt(p * (1 - p) / count)
    return Estimate(p, error or None, "share")  # all or none: how far others lie is not told
