"""Samples judged: whose labels they obey, and how far they are from real images."""

import pytest
import torch
from parts import datamodule
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_lab.data import Digits, ImageDataModule
from vae_lab.evaluation.classifier import drawn, of_images
from vae_lab.evaluation.samples import Judged, decoder_means, judge
from vae_lab.model.context import Context


class Copies(nn.Module):
    """A model that gives training images: of the label it was asked for, or of the next."""

    num_classes = 10

    def __init__(self, data: ImageDataModule, off: int = 0, reads_labels: bool = True) -> None:
        super().__init__()
        train = drawn(data, "train", None)
        self.x, self.y, self.off, self.reads_labels = (
            of_images(train),
            train.labels,
            off,
            reads_labels,
        )
        self.anchor = nn.Parameter(torch.zeros(()))

    def context(self) -> Context:
        return Context((1, 8, 8), 10)  # of several layers: nothing is fitted to its codes

    def sample(self, n: int, y: Tensor | None) -> Distribution:
        if y is None:
            return Normal(self.x[torch.randint(len(self.x), (n,))], 1.0)
        wanted = (y + self.off) % 10
        order = torch.randperm(len(self.x))
        found = [order[self.y[order] == label][0] for label in wanted]
        return Normal(self.x[torch.stack(found)], 1.0)


class Coded(Copies):
    """Its codes of class y lie about (y, -y) and decode to y; its prior draws the next class."""

    def __init__(self, data: ImageDataModule) -> None:
        super().__init__(data, off=1)

    def context(self) -> Context:
        return Context((1, 8, 8), 10, (2,), q_z=self.q_z, p_x=self.p_x)

    def q_z(self, x: Tensor, y: Tensor | None) -> Distribution:
        assert y is not None
        return Independent(Normal(torch.stack([y, -y], 1).float(), 0.05), 1)

    def p_x(self, z: Tensor, y: Tensor | None) -> Distribution:
        assert torch.allclose(z[:, 0], -z[:, 1], atol=1)
        return super().sample(len(z), (z[:, 0].round().long() - self.off) % 10)


@pytest.fixture(scope="module")
def data() -> ImageDataModule:
    return datamodule(Digits(), val_size=300, test_size=297)


def judged(model: nn.Module, data: ImageDataModule, frechet: bool = False) -> Judged:
    return judge(model, data, 20, frechet, None, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(("off", "least", "most"), [(0, 0.97, 1), (1, 0, 0.03)])
def test_samples_of_the_wrong_class_are_not_recognised(
    data: ImageDataModule, off: int, least: float, most: float
) -> None:
    found = judged(Copies(data, off), data).estimates["classifier_accuracy_samples"]
    assert least <= found.value <= most
    assert found.standard_error == pytest.approx((found.value * (1 - found.value) / 200) ** 0.5)


def test_a_prior_that_misses_the_codes_is_told_from_a_decoder_that_ignores_its_labels(
    data: ImageDataModule,
) -> None:
    found = judged(Coded(data), data).estimates
    assert found["classifier_accuracy_samples"].value < 0.03
    assert found["classifier_accuracy_samples_of_codes"].value > 0.97
    few = judge(Coded(data), data, 20, False, 30, seed=0)  # type: ignore[arg-type]
    assert "classifier_accuracy_samples_of_codes" not in few.estimates  # 3 codes a class


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
    a, b, other = (decoder_means(model, 250, None, seed) for seed in (0, 0, 1))  # type: ignore[arg-type]
    assert a.shape == (250, 1, 8, 8)
    assert torch.equal(a, b)
    assert not torch.equal(a, other)
    assert (float(a.min()), float(a.max())) == (0, 1)


def test_data_without_classes_are_not_judged(data: ImageDataModule) -> None:
    assert judge(Copies(data), data, 20, True, 1, seed=0) == Judged({}, [])  # type: ignore[arg-type]
