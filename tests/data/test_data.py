"""Splits, preparation, order and noise: disjoint, right for the likelihood, stateless."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parts import datamodule
from PIL import Image
from torch import Tensor

from vae_lab.data import (
    CIFAR10,
    MNIST,
    Digits,
    Folder,
    ImageDataModule,
    Images,
    Preparation,
    Source,
    Tensors,
)
from vae_lab.data.preparation import preparation_for
from vae_lab.errors import InputError
from vae_lab.support import Support
from vae_lab.trace import Batch

CPU = torch.device("cpu")


class Numbered(Source):
    """100 images whose pixels all say which one they are; a test split apart, if asked for."""

    name = "numbered"

    def __init__(self, test: int = 0, labels: Tensor | None = None) -> None:
        self.test, self.labels = test, labels

    def read(self) -> tuple[Images, Images | None]:
        test = Images(self._pixels(self.test) + 100, None) if self.test else None
        return Images(self._pixels(100), self.labels), test

    def _pixels(self, n: int) -> Tensor:
        return torch.arange(n, dtype=torch.uint8).reshape(n, 1, 1, 1).expand(n, 1, 2, 2).clone()


def numbers(data: ImageDataModule, split: str) -> list[int]:
    return [int(v * 255 + 0.5) for b in data.batches(split, 16, CPU) for v in b.x[:, 0, 0, 0]]


def joined(data: ImageDataModule, split: str, batch_size: int = 32) -> Tensor:
    return torch.cat([batch.x for batch in data.batches(split, batch_size, CPU)])


class Place:
    """As much of a trainer as the data read."""

    def __init__(self, epoch: int = 0, rank: int = 0, processes: int = 1) -> None:
        self.current_epoch, self.global_rank, self.world_size = epoch, rank, processes


def served(data: ImageDataModule, place: Place, split: str = "train") -> list[Batch]:
    data.trainer = place  # type: ignore[assignment]
    loader = getattr(data, f"{split}_dataloader")()
    return [data.transfer_batch_to_device(picked, CPU, 0) for picked in loader]


# Splits


def test_splits_are_disjoint_and_complete() -> None:
    data = datamodule(Numbered())
    parts = [numbers(data, name) for name in ("train", "val", "test")]
    assert [len(part) for part in parts] == [70, 20, 10]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(100))


def test_a_source_with_a_test_split_keeps_it() -> None:
    data = datamodule(Numbered(test=30))
    assert numbers(data, "test") == list(range(100, 130))
    assert sorted(numbers(data, "train") + numbers(data, "val")) == list(range(100))


def test_split_seed_decides_the_split_and_its_hash_tells() -> None:
    one, same, other = (datamodule(Numbered(), split_seed=seed) for seed in (0, 0, 1))
    assert numbers(one, "val") == numbers(same, "val") != numbers(other, "val")
    assert one.split_hash == same.split_hash != other.split_hash


def test_without_a_split_seed_the_last_items_validate() -> None:
    data = datamodule(Numbered(test=30), split_seed=None)
    assert numbers(data, "val") == list(range(80, 100))


def test_the_training_seed_does_not_move_the_split() -> None:
    assert datamodule(Numbered(), seed=5).split_hash == datamodule(Numbered()).split_hash


def test_limit_keeps_some_of_each_split() -> None:
    whole, few = datamodule(Numbered()), datamodule(Numbered(), limit=15)
    for name in ("train", "val", "test"):
        assert set(numbers(few, name)) <= set(numbers(whole, name))
        assert len(numbers(few, name)) == min(15, len(numbers(whole, name)))


def test_limit_of_a_file_sorted_by_class_keeps_every_class() -> None:
    data = datamodule(Numbered(labels=torch.arange(100) // 50), limit=15)
    for name in ("train", "val"):
        labels = data.splits[name].labels
        assert labels is not None
        assert set(labels.tolist()) == {0, 1}


def test_sizes_may_be_shares() -> None:
    data = datamodule(Numbered(), val_size=0.25, test_size=0.2)
    assert {n: len(s) for n, s in data.splits.items()} == {"train": 60, "val": 20, "test": 20}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"batch_size": 0}, "batch_size"),
        ({"limit": 0}, "limit"),
        ({"val_size": 90}, "val_size"),
        ({"test_size": 101}, "test_size"),
        ({"val_size": -1}, "val_size"),
        ({"test_size": -1}, "test_size"),
        ({"split_seed": -1}, "split_seed"),
        ({"eval_seed": None}, "eval_seed"),
        ({"resident_gib": -1}, "resident_gib"),
        ({"num_workers": 0.5}, "num_workers"),
        ({"num_classes": 0}, "num_classes"),
        ({"x_shape": [1, 0, 2]}, "x_shape"),
        ({"x_shape": [1, 3, 3]}, r"set data.x_shape=\[1, 2, 2\]"),
        ({"num_classes": 10}, "no labels"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        datamodule(Numbered(), **settings)


def test_labels_outside_the_classes_are_refused() -> None:
    labels = torch.arange(100) % 10
    assert datamodule(Numbered(labels=labels)).num_classes == 10
    with pytest.raises(InputError, match="outside the 9 classes"):
        datamodule(Numbered(labels=labels), num_classes=9)
    with pytest.raises(InputError, match="from -1"):
        datamodule(Numbered(labels=labels - 1), num_classes=10)


class Given(Source):
    """Images as they are given, with test images apart."""

    name = "given"

    def __init__(self, train: Images, test: Images) -> None:
        self.images = train, test

    def read(self) -> tuple[Images, Images]:
        return self.images


BLACK = torch.zeros(30, 1, 2, 2)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (Images(BLACK[..., :1], None), r"of given are \[1, 2, 1\]"),
        (Images(BLACK, torch.zeros(30)), "of given must be 30 whole numbers"),
        (Images(BLACK, torch.zeros(30, 1).long()), "one an image"),
        (Images(BLACK, torch.zeros(31).long()), "one an image"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_source_of_another_kind_of_images_is_refused(
    images: Images, said: str, split: str
) -> None:
    both = {name: Images(BLACK, None) for name in ("train", "test")} | {split: images}
    with pytest.raises(InputError, match=said):
        datamodule(Given(**both), Support.CONTINUOUS, x_shape=[1, 2, 2])


# Preparation


@pytest.mark.parametrize(
    ("support", "is_8bit", "expected"),
    [
        (Support.BINARY, True, Preparation(True, False)),
        (Support.BINARY, False, Preparation(True, False)),
        (Support.LEVELS, True, Preparation(False, False)),
        (Support.CONTINUOUS, True, Preparation(False, True)),
        (Support.CONTINUOUS, False, Preparation(False, False)),
        (Support.GREY, True, Preparation(False, False)),
    ],
)
def test_preparation_follows_the_likelihood(
    support: Support, is_8bit: bool, expected: Preparation
) -> None:
    assert preparation_for(support, is_8bit, "auto", "auto") == expected


@pytest.mark.parametrize(
    ("support", "is_8bit", "binarize", "dequantize", "said"),
    [
        (Support.BINARY, True, False, "auto", "bernoulli_grey"),
        (Support.BINARY, True, "auto", True, "dequantize"),
        (Support.LEVELS, True, True, "auto", "drop data.binarize=true"),
        (Support.LEVELS, True, "auto", True, "dequantize"),
        (Support.LEVELS, False, "auto", "auto", "uint8"),
        (Support.CONTINUOUS, True, True, "auto", "binarize"),
        (Support.CONTINUOUS, False, "auto", True, "no levels"),
        (Support.GREY, True, True, "auto", "binarize"),
    ],
)
def test_a_forced_preparation_that_does_not_fit_is_refused(
    support: Support, is_8bit: bool, binarize: Any, dequantize: Any, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        preparation_for(support, is_8bit, binarize, dequantize)


def test_a_density_may_be_trained_on_the_grid_on_request() -> None:
    assert not preparation_for(Support.CONTINUOUS, True, "auto", False).dequantize


def test_dequantised_pixels_keep_their_level_and_fill_it() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).repeat(200)
    x = Preparation(False, True)(pixels)
    assert ((x >= 0) & (x <= 1)).all()
    assert torch.equal((x * 256).floor().clamp(max=255).to(torch.uint8), pixels)
    within = x * 256 - pixels
    assert abs(float(within.mean()) - 0.5) < 5 * (1 / 12) ** 0.5 / len(x) ** 0.5


def test_binarised_pixels_have_the_pixel_as_their_mean() -> None:
    pixels = torch.tensor([0, 64, 255], dtype=torch.uint8)
    x = Preparation(True, False)(pixels.expand(10_000, 3))
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert x.mean(0)[0] == 0
    assert x.mean(0)[2] == 1
    assert abs(float(x.mean(0)[1]) - 64 / 255) < 5 * 0.5 / 100


def test_levels_reach_the_model_on_the_grid() -> None:
    x = joined(datamodule(Digits(), Support.LEVELS), "train")
    assert torch.equal((x * 255).round() / 255, x)


# Noise and order


@pytest.mark.parametrize("support", [Support.BINARY, Support.CONTINUOUS])
def test_evaluation_noise_is_each_items_own(support: Support) -> None:
    def make(**settings: Any) -> ImageDataModule:
        return datamodule(Digits(), support, **settings)

    data = make()
    first = joined(data, "val")
    assert torch.equal(first, joined(data, "val", batch_size=7))  # whatever the batch,
    assert torch.equal(first, joined(make(seed=9), "val"))  # the training seed,
    assert torch.equal(first, joined(make(resident_gib=0), "val"))  # or where the data live
    assert not torch.equal(first, joined(make(eval_seed=1), "val"))
    assert data.split_hash == make(eval_seed=1).split_hash
    assert data.eval_hash == make().eval_hash != make(eval_seed=1).eval_hash


def test_training_noise_is_new_at_every_use_and_reproducible() -> None:
    data = datamodule(Digits(), Support.BINARY)
    by_index = []
    for epoch in (0, 1, 0):
        batches = served(data, Place(epoch))
        x, index = (torch.cat([getattr(b, f) for b in batches]) for f in ("x", "index"))
        by_index.append(x[index.argsort()])
    assert not torch.equal(by_index[0], by_index[1])
    assert torch.equal(by_index[0], by_index[2])


def test_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        data = datamodule(Numbered(), seed=seed)
        return torch.cat([b.index for b in served(data, Place(epoch))]).tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)
    assert sorted(order(0, 3)) == list(range(70))


@pytest.mark.parametrize("split", ["train", "val"])
def test_processes_share_without_duplicates(split: str) -> None:
    data = datamodule(Numbered(), val_size=21)  # 69 train, 21 val: neither divides by two
    shares = [served(data, Place(0, rank, 2), split) for rank in (0, 1)]
    items = [torch.cat([b.index for b in share]).tolist() for share in shares]
    assert not set(items[0]) & set(items[1])
    if split == "val":
        assert sorted(items[0] + items[1]) == list(range(21))
    else:
        assert len(items[0]) == len(items[1]) == 34


def test_processes_draw_different_noise() -> None:
    data = datamodule(Digits(), Support.CONTINUOUS, limit=64)
    data.splits["train"] = Images(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), None)
    a, b = (served(data, Place(0, rank, 2))[0].x for rank in (0, 1))
    assert not torch.equal(a, b)


def test_streaming_serves_what_memory_does() -> None:
    resident, streamed = (
        datamodule(Digits(), Support.BINARY, resident_gib=g, limit=100) for g in (4, 0)
    )
    for a, b in zip(served(resident, Place()), served(streamed, Place()), strict=True):
        assert torch.equal(a.index, b.index)
        assert a.y is not None
        assert b.y is not None
        assert torch.equal(a.y, b.y)


# Sources


def test_digits() -> None:
    data = datamodule(Digits())
    assert sum(len(s) for s in data.splits.values()) == 1797
    assert data.x_shape == (1, 8, 8)
    assert data.num_classes == 10


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("suffix", ["npz", "pt"])
def test_a_users_own_arrays(tmp_path: Path, suffix: str) -> None:
    images, labels = np.random.default_rng(0).random((12, 5, 4)).astype("float32"), np.arange(12)
    path = tmp_path / f"mine.{suffix}"
    if suffix == "npz":
        np.savez(path, images=images, labels=labels)
    else:
        torch.save({"images": torch.tensor(images), "labels": torch.tensor(labels)}, path)
    read, test = Tensors(str(path)).read()
    assert test is None
    assert read.pixels.shape == (12, 1, 5, 4)
    assert torch.equal(read.pixels[:, 0], torch.tensor(images))
    assert read.labels is not None
    assert read.labels.tolist() == list(range(12))


def test_bool_images_are_bits(tmp_path: Path) -> None:
    path = save(tmp_path / "bits.npz", images=np.eye(4, dtype=bool)[None].repeat(3, 0))
    read, _ = Tensors(str(path)).read()
    assert set(read.pixels.unique().tolist()) == {0, 255}
    assert read.labels is None


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"pictures": np.zeros((2, 4, 4))}, "needs an array 'images'"),
        ({"images": np.full((2, 4, 4), 2.0)}, "scale them"),
        ({"images": np.full((2, 4, 4), np.nan)}, "32 values of 32 that are not finite"),
        ({"images": np.ones((2, 4, 4), "uint8")}, "store them as bool"),
        ({"images": np.zeros((2, 4, 4), "int64")}, "uint8, bool or float"),
        ({"images": np.zeros((2, 32, 32, 3), "uint8")}, "channels last"),
        ({"images": np.zeros(4)}, "must be"),
        ({"images": np.zeros((0, 4, 4))}, "must be"),
        ({"images": np.zeros((2, 4, 4)), "labels": np.zeros(3, int)}, "one an image"),
        ({"images": np.zeros((2, 4, 4)), "labels": np.zeros(2)}, "whole numbers"),
        ({"images": np.array([{}, {}], dtype=object)}, "damaged"),
        ({"images": np.zeros((2, 4, 4)), "labels": np.array(["a", "b"])}, "array of numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        datamodule(Tensors(str(save(tmp_path / "bad.npz", **arrays))))


def test_a_pt_file_may_not_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"images": Numbered()}, path)
    with pytest.raises(InputError, match="more than plain arrays"):
        Tensors(str(path)).read()


@pytest.mark.parametrize("name", ["cut.npz", "cut.pt", "absent.npz", "text.csv"])
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("cut"):
        whole = tmp_path / f"whole{path.suffix}"
        content = {"images": torch.zeros(50, 4, 4)}
        if path.suffix == ".pt":
            torch.save(content, whole)
        else:
            np.savez(whole, images=content["images"].numpy())
        path.write_bytes(whole.read_bytes()[:-200])
    elif name == "text.csv":
        path.write_text("1,2")
    with pytest.raises(InputError, match=str(path)):
        Tensors(str(path)).read()


@pytest.mark.parametrize("resident_gib", [4, 0])
def test_a_users_own_folder(tmp_path: Path, resident_gib: float) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for i in range(6):
            colour = (255, 0, 0) if label == "cat" else (0, 0, 255)
            Image.new("RGB", (20 + i, 17), colour).save(tmp_path / label / f"{i}.png")
    data = datamodule(
        Folder(str(tmp_path), size=8), val_size=2, test_size=2, batch_size=4,
        resident_gib=resident_gib,
    )  # fmt: skip
    assert data.x_shape == (3, 8, 8)
    assert data.num_classes == 2
    for batch in served(data, Place()):
        assert batch.y is not None
        for x, y in zip(batch.x, batch.y, strict=True):
            assert x.mean((1, 2)).tolist() == ([1, 0, 0] if y == 0 else [0, 0, 1])


def test_a_folder_is_told_by_its_content_not_its_place(tmp_path: Path) -> None:
    hashes = []
    for place, shade in (("a", 10), ("b", 10), ("c", 200)):
        (tmp_path / place / "cat").mkdir(parents=True)
        for i in range(12):
            picture = Image.new("L", (9, 9), shade)
            picture.save(tmp_path / place / "cat" / f"{i}.{'bmp' if shade == 10 else 'png'}")
        data = datamodule(Folder(str(tmp_path / place), 8, 1), val_size=2, test_size=2)
        hashes.append(data.split_hash)
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="data.path"):
            Folder(str(path), size=8).read()


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("source", [MNIST, CIFAR10])
def test_missing_data_say_where_they_were_sought(tmp_path: Path, source: type) -> None:
    root = tmp_path / "nowhere"
    with pytest.raises(InputError, match=r"VAE_LAB_DATA or data\.root") as caught:
        source(str(root)).read()
    assert not root.exists()
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_mnist_is_refused(tmp_path: Path, real_data: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for file in (real_data / "MNIST" / "raw").iterdir():
        content = bytearray(file.read_bytes())
        if file.name == "train-images-idx3-ubyte":
            content[5000] ^= 1
        (raw / file.name).write_bytes(content)
    with pytest.raises(InputError, match="wrong sum"):
        MNIST(str(tmp_path)).read()
    (raw / "train-images-idx3-ubyte").write_bytes(content[:1000])
    with pytest.raises(InputError, match="cut short"):
        MNIST(str(tmp_path)).read()


def test_damaged_cifar10_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"cut short")
    with pytest.raises(InputError, match="wrong sum"):
        CIFAR10(str(tmp_path)).read()


def test_the_real_sets(real_data: Path) -> None:
    mnist = datamodule(MNIST(str(real_data)), val_size=10_000)
    assert {n: len(s) for n, s in mnist.splits.items()} == {
        "train": 50_000, "val": 10_000, "test": 10_000,
    }  # fmt: skip
    cifar = datamodule(CIFAR10(str(real_data)), val_size=5_000)
    assert cifar.x_shape == (3, 32, 32)
    assert len(cifar.splits["train"]) == 45_000
    assert cifar.num_classes == mnist.num_classes == 10
