"""Samples judged: whose labels they obey, and how far they are from real images."""

import math

import pytest
import torch
from parts import datamodule
from torch import Tensor
from torch.distributions import Distribution, Normal

from vae_lab.data import Digits, ImageDataModule
from vae_lab.evaluation.classifier import drawn, of_images
from vae_lab.evaluation.samples import Judged, decoder_means, judge
from vae_lab.model.sampler import Sampler


class Copies:
    """A sampler that gives training images: of the label it was asked for, or of the next."""

    def __init__(self, data: ImageDataModule, off: int = 0, reads_labels: bool = True) -> None:
        train = drawn(data, "train", None)
        self.x, self.y = of_images(train), train.labels
        self.off, self.reads_labels = off, reads_labels

    def sample(self, n: int, y: Tensor | None) -> Distribution:
        if y is None:
            return Normal(self.x[torch.randint(len(self.x), (n,))], 1.0)
        wanted = (y + self.off) % 10
        order = torch.randperm(len(self.x))
        found = [order[self.y[order] == label][0] for label in wanted]
        return Normal(self.x[torch.stack(found)], 1.0)


@pytest.fixture(scope="module")
def data() -> ImageDataModule:
    return datamodule(Digits(), val_size=300, test_size=297)


def sampler(copies: Copies) -> Sampler:
    return Sampler(copies.sample, copies.reads_labels, torch.device("cpu"), "a prior of the test's")


def judged(
    own: Copies, data: ImageDataModule, frechet: bool = False, fitted: Copies | None = None
) -> Judged:
    afterwards = None if fitted is None else sampler(fitted)
    return judge(sampler(own), afterwards, data, 20, frechet, None, seed=0)


@pytest.mark.parametrize(("off", "least", "most"), [(0, 0.97, 1), (1, 0, 0.03)])
def test_samples_of_the_wrong_class_are_not_recognised(
    data: ImageDataModule, off: int, least: float, most: float
) -> None:
    found = judged(Copies(data, off), data).estimates["classifier_accuracy_samples"]
    assert least <= found.value <= most
    error = (found.value * (1 - found.value) / 200) ** 0.5
    assert found.standard_error == (pytest.approx(error) if error else None)  # of all right: none


def test_a_prior_that_misses_the_codes_is_told_from_a_decoder_that_ignores_its_labels(
    data: ImageDataModule,
) -> None:
    found = judged(Copies(data, off=1), data, fitted=Copies(data))
    assert found.estimates["classifier_accuracy_samples"].value < 0.03
    assert found.estimates["classifier_accuracy_samples_fitted_prior"].value > 0.97
    assert "samples_fitted_prior: z is drawn from a prior of the test's" in found.notes[-1]


def test_only_a_fitted_prior_may_read_labels(data: ImageDataModule) -> None:
    blurred = Copies(data, reads_labels=False)
    blurred.x = blurred.x / 2
    found = judged(blurred, data, frechet=True, fitted=Copies(data)).estimates
    assert "classifier_accuracy_samples" not in found
    assert found["classifier_accuracy_samples_fitted_prior"].value > 0.97
    far, near = (found[f"frechet_distance_samples{name}"] for name in ("", "_fitted_prior"))
    assert far.value > near.value + 10 * (near.standard_error or 0)


def test_real_images_given_as_samples_reach_the_floor(data: ImageDataModule) -> None:
    found = judged(Copies(data, reads_labels=False), data, frechet=True).estimates
    near, floor = found["frechet_distance_samples"], found["frechet_distance_train_images"]
    assert near.standard_error is not None
    assert abs(near.value - floor.value) < 4 * near.standard_error
    blurred = Copies(data, reads_labels=False)
    blurred.x = blurred.x / 2
    far = judged(blurred, data, frechet=True).estimates["frechet_distance_samples"]
    assert far.value > floor.value + 10 * near.standard_error


def test_means_are_drawn_by_their_seed_and_kept_within_grey(data: ImageDataModule) -> None:
    model = Copies(data, reads_labels=False)
    model.x = 2 * model.x - 0.5
    a, b, other = (decoder_means(sampler(model), 250, None, seed) for seed in (0, 0, 1))
    assert a.shape == (250, 1, 8, 8)
    assert torch.equal(a, b)
    assert not torch.equal(a, other)
    assert (float(a.min()), float(a.max())) == (0, 1)


def test_data_without_classes_are_judged_by_their_sharpness_alone(data: ImageDataModule) -> None:
    found = judge(sampler(Copies(data)), None, data, 20, True, 1, seed=0)
    assert found.estimates.keys() == {"sharpness_samples", "sharpness_test_images"}
    assert found.notes == []


def test_real_images_given_as_samples_are_as_sharp_and_blurred_ones_less(
    data: ImageDataModule,
) -> None:
    copies, pale = Copies(data, reads_labels=False), Copies(data, reads_labels=False)
    pale.x = pale.x / 2
    found, less = (judged(each, data).estimates for each in (copies, pale))
    near, real = found["sharpness_samples"], found["sharpness_test_images"]
    errors = [near.standard_error or 0, real.standard_error or 0]
    assert abs(near.value - real.value) < 4 * math.hypot(*errors)
    assert less["sharpness_samples"].value == pytest.approx(near.value / 2)
    assert less["sharpness_test_images"] == real
