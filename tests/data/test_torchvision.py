"""torchvision's sets by name, from files in its own layout; none of them is downloaded here."""

import bz2
import gzip
import pickle
from collections.abc import Callable
from hashlib import md5
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
import torch
from parts import datamodule, idx, run
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from vae_lab.data import Images, ImageSet, Torchvision
from vae_lab.data.torchvision import SETS
from vae_lab.errors import InputError
from vae_lab.support import Support

Patch = pytest.MonkeyPatch
RANDOM = np.random.default_rng(0)
GREY = RANDOM.integers(0, 256, (60, 28, 28), dtype=np.uint8)
COLOUR = RANDOM.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8)
CLASSES = np.arange(60) % 10


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: Patch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def written(path: Path, content: bytes) -> str:
    """The sum of a file that is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5(content).hexdigest()


def source(name: str, root: Path, size: int | None = None, **options: int | str) -> Torchvision:
    return Torchvision(name, str(root), size, options)


def whole(images: ImageSet | None) -> Images:
    assert isinstance(images, Images)
    return images


def test_a_class_takes_what_is_said_for_each_half() -> None:
    for name, halves in SETS.items():
        takes = signature(getattr(datasets, name)).parameters
        assert all(key in takes or "kwargs" in takes for half in halves for key in half), name
        assert len({str(half) for half in halves}) == len(halves)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("kmnist", {}, "unknown image classification .* 'kmnist'. Did you mean 'KMNIST'.* USPS"),
        ("SVNH", {}, "Did you mean 'SVHN'"),
        ("WIDERFace", {}, "unknown image classification set .*There are: CIFAR100, .*KMNIST"),
        ("CocoDetection", {}, "unknown image classification set"),
        ("MNIST", {}, "MNIST has a choice of its own: say data=mnist"),
        ("Omniglot", {}, "say data=omniglot"),
        ("EMNIST", {}, r"EMNIST needs data.options, such as data.options=\{split: letters\}"),
        ("EMNIST", {"split": "leters"}, "EMNIST leters .*Valid values are .*letters"),
        ("SVHN", {"split": "extra"}, "unknown option of SVHN 'split'"),
        ("QMNIST", {"compat": 0}, "unknown option of QMNIST 'compat'"),
        ("KMNIST", {}, r"KMNIST is missing .*KMNIST/raw and could not be downloaded .*data\.root"),
        ("SVHN", {}, r"SVHN is missing .* could not be downloaded \(OSError: no network\)"),
        ("StanfordCars", {}, r"StanfordCars is a set of image files: set data\.size"),
    ],
)
def test_what_is_not_served_is_told_in_one_line(
    tmp_path: Path, name: str, options: dict[str, int | str], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        source(name, tmp_path / "absent", **options).read()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.name=EMNIST", "data.options={split: letters}"], "EMNIST letters is missing"),
        (["data.name=EMNIST", "+data.options.split=letters"], "EMNIST letters is missing"),
        (["data.name=EMNIST", "data.options.split=letters"], r"say \+data.options.split=..."),
        (["data.name=EMNIST"], "EMNIST needs data.options"),
        (["data.name=KMNIST", "data.options={a: 1}"], "unknown option of KMNIST 'a'"),
    ],
)
def test_options_are_said_on_the_command_line(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        run(tmp_path / "run", "data=torchvision", f"data.root={tmp_path / 'absent'}", *overrides)
    assert "\n" not in str(caught.value)


# Sets in MNIST's format

Archives = Callable[[str], Path]


@pytest.fixture
def archives(tmp_path: Path, monkeypatch: Patch) -> Archives:
    """Writes the four archives of a set in MNIST's format; its class is told their sums."""

    def write(name: str) -> Path:
        raw, known = tmp_path / name / "raw", []
        for split, turn in (("train", 0), ("t10k", 7)):
            for kind, array in (("images-idx3", GREY), ("labels-idx1", CLASSES)):
                file = f"{split}-{kind}-ubyte.gz"
                known.append(
                    (file, written(raw / file, gzip.compress(idx(np.roll(array, turn, 0)))))
                )
        monkeypatch.setattr(getattr(datasets, name), "resources", known)
        return raw

    return write


def test_kmnist_trains_from_its_archives(tmp_path: Path, archives: Archives) -> None:
    archives("KMNIST")
    finished = run(
        tmp_path / "run", "data=torchvision", "data.name=KMNIST", f"data.root={tmp_path}",
        "data.batch_size=16",
    )  # fmt: skip
    trained = finished.load()
    assert trained.record["config"]["data"]["x_shape"] == [1, 28, 28]
    assert trained.record["config"]["data"]["num_classes"] == 10
    assert trained.record["config"]["model"]["likelihood"]["_target_"].endswith("Logistic")
    assert finished.metrics["train/elbo"] < 0


def test_images_labels_and_test_split_are_those_of_the_files(
    tmp_path: Path, archives: Archives
) -> None:
    archives("FashionMNIST")
    kept = source("FashionMNIST", tmp_path)
    for images, turn in zip(kept.read(), (0, 7), strict=True):
        pixels, labels = whole(images).pixels, whole(images).labels
        assert torch.equal(pixels, torch.from_numpy(np.roll(GREY, turn, 0))[:, None])
        assert torch.equal(labels, torch.from_numpy(np.roll(CLASSES, turn)))
    data = datamodule(kept)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [40, 20, 60]
    assert (data.x_shape, data.num_classes, data.source.name) == ((1, 28, 28), 10, "FashionMNIST")


def test_a_wrong_sum_is_refused(tmp_path: Path, archives: Archives) -> None:
    raw = archives("KMNIST")
    source("KMNIST", tmp_path).read()  # which unpacks them
    packed, unpacked = raw / "t10k-images-idx3-ubyte.gz", raw / "t10k-images-idx3-ubyte"
    right, content = packed.read_bytes(), unpacked.read_bytes()
    written(unpacked, content[:-1] + b"\0")
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte is not what t10k.*\.gz holds"):
        source("KMNIST", tmp_path).read()
    written(packed, gzip.compress(content[:-1] + b"\0"))
    with pytest.raises(InputError, match=r"t10k-images-idx3-ubyte\.gz .* has the wrong sum"):
        source("KMNIST", tmp_path).read()
    written(packed, right)
    unpacked.unlink()
    source("KMNIST", tmp_path).read()  # unpacked again, without a network


def test_unpacked_files_serve_alone_and_those_of_old_do_not(
    tmp_path: Path, archives: Archives
) -> None:
    raw = archives("KMNIST")
    for packed in raw.glob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    processed = tmp_path / "KMNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(9, 28, 28, dtype=torch.uint8), torch.zeros(9)), processed / name)
    assert len(datasets.KMNIST(tmp_path)) == 9  # which torchvision prefers
    train, _ = source("KMNIST", tmp_path).read()
    assert torch.equal(whole(train).pixels, torch.from_numpy(GREY)[:, None])
    cut = raw / "train-images-idx3-ubyte"
    cut.write_bytes(cut.read_bytes()[:-9])
    with pytest.raises(InputError, match="KMNIST is missing or damaged"):
        source("KMNIST", tmp_path).read()


def test_letters_of_emnist_stand_upright_and_are_numbered_from_0(tmp_path: Path) -> None:
    labels = np.tile([1, 3, 26], 20)  # 1..26 in the files, of which some may be missing
    for half in ("train", "test"):
        for kind, array in (("images-idx3", GREY.transpose(0, 2, 1)), ("labels-idx1", labels)):
            written(tmp_path / "EMNIST" / "raw" / f"emnist-letters-{half}-{kind}-ubyte", idx(array))
    letters = source("EMNIST", tmp_path, split="letters")
    train = whole(letters.read()[0])
    assert letters.name == "EMNIST letters"
    assert torch.equal(train.pixels, torch.from_numpy(GREY)[:, None])
    assert train.labels is not None
    assert train.labels.tolist() == [0, 1, 2] * 20


# Sets in other formats


def test_svhn(tmp_path: Path, monkeypatch: Patch) -> None:
    known = {}
    for half in ("train", "test"):
        file = tmp_path / f"{half}_32x32.mat"
        labels = (CLASSES + 1)[:, None].astype(np.uint8)  # a zero is called 10
        savemat(file, {"X": COLOUR.transpose(1, 2, 3, 0), "y": labels})
        known[half] = ["nowhere", file.name, md5(file.read_bytes()).hexdigest()]
    monkeypatch.setattr(datasets.SVHN, "split_list", known)
    train = whole(source("SVHN", tmp_path).read()[0])
    assert torch.equal(train.pixels, torch.from_numpy(COLOUR).permute(0, 3, 1, 2))
    assert train.labels is not None
    assert train.labels.tolist() == [*((CLASSES + 1) % 10)]
    small = whole(source("SVHN", tmp_path, size=8).read()[0])
    assert small.x_shape == (3, 8, 8)
    known["test"][2] = "0" * 32
    with pytest.raises(InputError, match="SVHN is missing or damaged"):
        source("SVHN", tmp_path).read()


def test_cifar100(tmp_path: Path, monkeypatch: Patch) -> None:
    folder = tmp_path / "cifar-100-python"
    content = {"data": COLOUR.transpose(0, 3, 1, 2).reshape(60, -1), "fine_labels": [*CLASSES]}
    batch, meta = pickle.dumps(content), pickle.dumps({"fine_label_names": [*"abcdefghij"]})
    known = {"train_list": [["train", written(folder / "train", batch)]],
             "test_list": [["test", written(folder / "test", batch)]],
             "meta": {**datasets.CIFAR100.meta, "md5": written(folder / "meta", meta)}}  # fmt: skip
    for name, value in known.items():
        monkeypatch.setattr(datasets.CIFAR100, name, value)
    train = whole(source("CIFAR100", tmp_path).read()[0])
    assert torch.equal(train.pixels, torch.from_numpy(COLOUR).permute(0, 3, 1, 2))
    written(folder / "train", batch + b"\0")
    with pytest.raises(InputError, match="CIFAR100 is missing or damaged"):
        source("CIFAR100", tmp_path).read()


def test_sums_that_torchvision_does_not_check_are_checked(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    line = " ".join(["3", *(f"{at + 1}:{-1 + at / 128:.4f}" for at in range(256))])
    sums = [written(tmp_path / file, bz2.compress(f"{line}\n".encode() * 9)) for file in "ab"]
    known = {half: ["nowhere", file, total]
             for half, file, total in zip(("train", "test"), "ab", sums, strict=True)}  # fmt: skip
    monkeypatch.setattr(datasets.USPS, "split_list", known)
    assert whole(source("USPS", tmp_path).read()[0]).x_shape == (1, 16, 16)
    written(tmp_path / "b", bz2.compress(f"{line}\n".encode() * 8))
    datasets.USPS(tmp_path, train=False)  # which does not mind
    with pytest.raises(InputError, match="b is cut short or has the wrong sum"):
        source("USPS", tmp_path).read()


def saved(path: Path, mode: str, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.effect_noise((width, height), 60).convert(mode).save(path)


def test_sets_of_image_files_are_streamed_where_they_are_large(tmp_path: Path) -> None:
    for half in ("train", "valid", "test"):
        for country in ("AD", "AE", "AF"):
            for at in range(8):
                path = tmp_path / "country211" / half / country / f"{at}.jpg"
                saved(path, "RGB" if at else "L", 12 + at, 14)
    data = datamodule(source("Country211", tmp_path, 8), resident_gib=0, val_size=4)
    assert (data.x_shape, data.num_classes) == ((3, 8, 8), 3)
    assert [len(data.splits[name]) for name in ("train", "val", "test")] == [20, 4, 24]
    assert next(data.batches("test", 24, torch.device("cpu"))).x.shape == (24, 3, 8, 8)
    (tmp_path / "country211" / "test" / "AE" / "3.jpg").write_bytes(b"cut short")
    with pytest.raises(InputError, match=r"AE/3\.jpg cannot be read as an image"):
        list(data.batches("test", 24, torch.device("cpu")))


def test_images_of_many_sizes_and_colours_are_made_alike(tmp_path: Path) -> None:
    for label, mode in (("anchor", "L"), ("ant", "RGB"), ("barrel", "RGB")):
        for at in range(3):
            folder = tmp_path / "caltech101" / "101_ObjectCategories" / label
            saved(folder / f"image_{at + 1:04d}.jpg", mode, 12 + at, 14)
    (tmp_path / "caltech101" / "Annotations").mkdir()
    (tmp_path / "caltech101" / "101_ObjectCategories" / "BACKGROUND_Google").mkdir()
    with pytest.raises(InputError, match=r"of 3 sizes, such as \(12, 14\) and \(14, 14\) pixels"):
        source("Caltech101", tmp_path).read()
    train, test = source("Caltech101", tmp_path, size=8).read()
    assert test is None  # it has none: `data.test_size` carves one
    assert whole(train).x_shape == (3, 8, 8)
    grey = whole(train).pixels[:3]
    assert torch.equal(grey, grey[:, :1].expand(-1, 3, -1, -1))
    assert datamodule(source("Caltech101", tmp_path, 8), Support.LEVELS, val_size=2,
                      test_size=2).num_classes == 3  # fmt: skip
    damaged = tmp_path / "caltech101" / "101_ObjectCategories" / "ant" / "image_0002.jpg"
    damaged.write_bytes(b"cut short")
    with pytest.raises(InputError, match="an image of Caltech101 cannot be read"):
        source("Caltech101", tmp_path, 8).read()
