"""What samples are worth beside real images, as a classifier of these sees both."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vae_lab.data import ImageDataModule
from vae_lab.data.preparation import AS_STORED
from vae_lab.evaluation.classifier import (
    FEATURES,
    Classifier,
    can_be_classified,
    classifier_for,
    drawn,
    of_images,
)
from vae_lab.evaluation.frechet import frechet_estimate
from vae_lab.evaluation.sharpness import gradient_magnitude
from vae_lab.evaluation.statistics import Estimate, mean_estimate
from vae_lab.model.sampler import Sampler
from vae_lab.seeding import reseed

_AT_ONCE = 100  # images that are decoded together
_LOOKED_AT = 1000  # test images and samples, at the most, for their sharpness

STEEPNESS = "grey a pixel, the mean gradient"

Samplers = Mapping[str, Sampler]
"""By what the names of their estimates end in: nothing for the model's own prior."""


@dataclass(frozen=True)
class Judged:
    """What is found of samples: estimates by name, and a sentence on each kind of them."""

    estimates: dict[str, Estimate]
    notes: list[str]

    def __add__(self, other: "Judged") -> "Judged":
        return Judged(self.estimates | other.estimates, self.notes + other.notes)


def judge(
    own: Sampler,
    fitted: Sampler | None,
    data: ImageDataModule,
    samples_per_class: int,
    frechet: bool,
    limit: int | None,
    seed: int,
) -> Judged:
    """Judge samples by their sharpness and, where there can be one, by the classifier of the data.

    Args:
        own: From the model's own prior. The accuracy is found of a sampler that reads labels.
        fitted: From the prior that was fitted afterwards, where one was. Where its samples obey
            and the own ones do not, decoder and labels are well: the prior is not.
        data: Those that the model was trained with.
        samples_per_class: For the accuracy.
        frechet: Whether the Frechet distance is wanted.
        limit: Of the images that the classifier sees, and that samples are compared with.
        seed: Of the draws.
    """
    samplers = {"": own} | ({} if fitted is None else {"_fitted_prior": fitted})
    found = sharpness_of_samples(samplers, data, limit, seed)
    by_label = {name: each for name, each in samplers.items() if each.reads_labels}
    if not (frechet or by_label) or not can_be_classified(data, limit):
        return found
    classifier = classifier_for(data, own.device, limit)
    if by_label:
        found += accuracy_of_samples(by_label, data, classifier, samples_per_class, seed)
    if frechet:
        found += frechet_of_samples(samplers, data, classifier, limit, seed)
    if fitted is not None:
        found.notes.append(
            f"samples_fitted_prior: z is drawn from {fitted.prior} (prior.ckpt); where it is not "
            f"said, from {own.prior}."
        )
    return found


def accuracy_of_samples(
    samplers: Samplers, data: ImageDataModule, classifier: Classifier, per_class: int, seed: int
) -> Judged:
    """How often the classifier agrees with the label that a sample was drawn for.

    Args:
        samplers: They read labels.
        data: Those that the model was trained with.
        classifier: Theirs.
        per_class: How many samples of each class: decoder means.
        seed: Of the draws.
    """
    y = torch.arange(data.num_classes or 0).repeat_interleave(per_class)
    estimates = {}
    for name, sampler in samplers.items():
        right = classifier.predict(decoder_means(sampler, len(y), y, seed)) == y
        share = _share(float(right.double().mean()), len(y))
        estimates[f"classifier_accuracy_samples{name}"] = share
    real = _share(classifier.accuracy, classifier.tested_on)
    estimates["classifier_accuracy_test_images"] = real
    note = (
        f"the classifier is a CNN, trained on {classifier.trained_on} training images as stored; "
        f"samples are {per_class} decoder means a class."
    )
    return Judged(estimates, [note])


def frechet_of_samples(
    samplers: Samplers,
    data: ImageDataModule,
    classifier: Classifier,
    limit: int | None,
    seed: int,
) -> Judged:
    """The Frechet distance from test images to as many samples, and to as many training images.

    The second is what real images reach. Nothing is found of fewer images than features, whose
    covariance says little.

    Args:
        samplers: One that reads labels is given those of the test images.
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
    estimates = {}
    for name, sampler in samplers.items():
        y = test.labels if sampler.reads_labels else None
        samples = classifier.features(decoder_means(sampler, len(test), y, seed))
        estimates[f"frechet_distance_samples{name}"] = frechet_estimate(real, samples, seed)
    estimates["frechet_distance_train_images"] = frechet_estimate(real, other, seed)
    note = (
        f"Frechet distances are over {FEATURES} features of this data's own classifier, from "
        f"{len(test)} test images as stored to as many decoder means and to {len(train)} "
        "training images: they compare with no others."
    )
    return Judged(estimates, [note])


def sharpness_of_samples(
    samplers: Samplers, data: ImageDataModule, limit: int | None, seed: int
) -> Judged:
    """The mean gradient magnitude of samples and of test images; nothing, where x are no images.

    Args:
        samplers: One that reads labels is given those of the test images.
        data: Those that the model was trained with.
        limit: Look at no more test images than so many, and in no case at more than 1000.
        seed: Of the draws.
    """
    test = drawn(data, "test", min(limit or _LOOKED_AT, _LOOKED_AT))
    if len(data.x_shape) != 3 or min(data.x_shape[1:]) < 2 or not len(test):
        return Judged({}, [])
    images = {"test_images": AS_STORED(test.gather(torch.arange(len(test)))[0])}
    for name, sampler in samplers.items():
        y = test.labels if sampler.reads_labels else None
        images[f"samples{name}"] = decoder_means(sampler, len(test), y, seed)
    return Judged(
        {
            f"sharpness_{name}": mean_estimate(gradient_magnitude(x).double(), STEEPNESS)
            for name, x in images.items()
        },
        [],
    )


@torch.no_grad()
def decoder_means(sampler: Sampler, n: int, y: Tensor | None, seed: int) -> Tensor:
    """The means of p(x|z) at n draws of z, (n, *X), in [0, 1] and on the CPU.

    `y`, (n,), are the labels of a sampler that reads some.
    """
    reseed(sampler.device, seed, "samples")
    means = []
    for index in torch.arange(n).split(_AT_ONCE):
        labels = None if y is None else y[index].to(sampler.device)
        means.append(sampler.draw(len(index), labels).mean.clamp(0, 1).cpu())
    return torch.cat(means)


def _share(p: float, count: int) -> Estimate:
    error = math.sqrt(p * (1 - p) / count)
    return Estimate(p, error or None, "share")  # all or none: how far others lie is not told
