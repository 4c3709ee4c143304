"""The classifier that judges samples: deterministic, kept once, and of these data alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from parts import datamodule
from torch import nn

from vae_lab import InputError
from vae_lab.data import Digits, ImageDataModule, Images, Source
from vae_lab.evaluation import classifier as module
from vae_lab.evaluation.classifier import FEATURES, Classifier, classifier_for, drawn, of_images
from vae_lab.support import Support


class Bars(Source):
    """Bright on the left (0) or on the right (1), of any shape."""

    name = "bars"

    def __init__(self, *shape: int, labelled: bool = True, seed: int = 0) -> None:
        self.shape, self.labelled, self.seed = shape, labelled, seed

    def read(self) -> tuple[Images, None]:
        random = torch.Generator().manual_seed(self.seed)
        x = torch.randint(100, (120, *self.shape), generator=random, dtype=torch.uint8)
        y = torch.arange(120) % 2
        half = self.shape[-1] // 2
        x[y == 0, ..., :half] += 150
        x[y == 1, ..., half:] += 150
        return Images(x, y if self.labelled else None), None


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[Path]]:
    """What lies in a cache of the test's own."""
    monkeypatch.setenv("VAE_LAB_CACHE", str(tmp_path / "cache"))
    return lambda: sorted((tmp_path / "cache").glob("*"))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each training was given."""
    seen, whole = [], module._trained

    def counted(network: nn.Sequential, images: Images, *rest: object) -> nn.Sequential:
        seen.append(len(images))
        return whole(network, images, *rest)

    monkeypatch.setattr(module, "_trained", counted)
    return seen


def bars(*shape: int, **settings: object) -> ImageDataModule:
    return datamodule(Bars(*shape), test_size=20, **settings)


def alike(a: Classifier, b: Classifier) -> bool:
    x = torch.rand(9, 1, 8, 8)
    return a.accuracy == b.accuracy and torch.equal(a.features(x), b.features(x))


def test_it_recognises_digits_and_says_how_many() -> None:
    data = datamodule(Digits(), val_size=300, test_size=297)
    found = classifier_for(data)
    assert (found.trained_on, found.tested_on) == (1200, 297)
    assert found.accuracy > 0.95
    test = drawn(data, "test", None)
    right = found.predict(of_images(test)) == test.labels
    assert found.accuracy == pytest.approx(float(right.double().mean()))
    assert found.features(of_images(test)).shape == (297, FEATURES)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14), (1, 28, 28), (3, 40, 64)])
def test_images_of_any_size_and_colour(shape: tuple[int, ...], cache: Callable) -> None:
    found = classifier_for(bars(*shape))
    assert found.accuracy == 1
    assert found.predict(torch.rand(3, *shape)).shape == (3,)


def test_it_is_trained_once_and_its_cache_gives_the_same(
    cache: Callable[[], list[Path]], trainings: list[int]
) -> None:
    data, state = bars(1, 8, 8), torch.get_rng_state()
    first, again = classifier_for(data), classifier_for(bars(1, 8, 8))
    assert torch.equal(torch.get_rng_state(), state)  # of the caller's own draws
    assert alike(first, again)
    assert trainings == [80]
    assert len(cache()) == 1


def test_it_is_a_function_of_its_data_alone(
    cache: Callable[[], list[Path]], trainings: list[int]
) -> None:
    torch.manual_seed(1)
    first = classifier_for(bars(1, 8, 8))
    cache()[0].unlink()
    torch.manual_seed(2)
    assert alike(first, classifier_for(bars(1, 8, 8)))
    assert len(trainings) == 2


def test_it_sees_grey_whatever_the_likelihood_needs(trainings: list[int]) -> None:
    grey, bits = (
        datamodule(Bars(1, 8, 8, seed=3), support, test_size=20)
        for support in (Support.LEVELS, Support.BINARY)
    )
    assert alike(classifier_for(grey), classifier_for(bits))
    assert len(trainings) == 1


def test_other_images_and_another_recipe_are_not_mistaken_for_it(
    cache: Callable[[], list[Path]], trainings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier_for(bars(1, 8, 8))
    classifier_for(bars(1, 8, 8, split_seed=1))
    monkeypatch.setattr(module, "_recipe", lambda: "another")
    classifier_for(bars(1, 8, 8))
    assert len(trainings) == len(cache()) == 3


def test_a_limited_one_is_small_and_leaves_the_whole_one_alone(
    cache: Callable[[], list[Path]], trainings: list[int]
) -> None:
    data = bars(1, 8, 8)
    small = classifier_for(data, limit=10)
    assert (small.trained_on, small.tested_on) == (10, 10)
    assert classifier_for(data).trained_on == 80
    assert classifier_for(data, limit=10).trained_on == 10
    assert trainings == [10, 80]


@pytest.mark.parametrize("damage", [b"", b"no archive", None])
def test_a_damaged_one_is_made_anew(
    damage: bytes | None, cache: Callable[[], list[Path]], trainings: list[int]
) -> None:
    first = classifier_for(bars(1, 8, 8))
    (kept,) = cache()
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1  # of the weights
    kept.write_bytes(content if damage is None else damage)
    assert alike(first, classifier_for(bars(1, 8, 8)))
    assert alike(first, classifier_for(bars(1, 8, 8)))
    assert trainings == [80, 80]
    assert cache() == [kept]


def test_a_cache_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("VAE_LAB_CACHE", str(tmp_path / "file"))
    assert classifier_for(bars(1, 8, 8)).accuracy == 1
    assert "the classifier is not kept" in capsys.readouterr().err


def test_two_at_once_write_files_of_their_own(
    cache: Callable[[], list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, names = torch.save, []

    def meanwhile(content: object, part: Path) -> None:
        whole(content, part)
        names.append(part)
        if len(names) == 1:  # while this one is written, another process writes the same
            monkeypatch.setattr(module.os, "getpid", lambda: 1)
            classifier_for(bars(1, 8, 8))

    monkeypatch.setattr(module.torch, "save", meanwhile)
    first = classifier_for(bars(1, 8, 8))
    assert len(set(names)) == 2
    assert len(cache()) == 1
    assert alike(first, classifier_for(bars(1, 8, 8)))


def test_how_long_it_takes_is_told_once(
    cache: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "_TOLD_AFTER", 2)
    classifier_for(bars(1, 8, 8), limit=40, quiet=True)
    for _ in range(2):
        classifier_for(bars(1, 8, 8))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Trains a classifier on 80 images of bars, once: ")


def test_what_cannot_be_classified_is_refused() -> None:
    for data in (
        datamodule(Bars(64)),
        datamodule(Bars(1, 8, 8, labelled=False)),
        datamodule(Bars(1, 8, 8), limit=1),
    ):
        with pytest.raises(InputError, match="a classifier needs images"):
            classifier_for(data)
