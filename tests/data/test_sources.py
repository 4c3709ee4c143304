"""What every source is held to, and what files may do: none misleads, none hangs."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from parts import datamodule, idx
from PIL import Image
from torch import Tensor
from torchvision.datasets import MNIST as TorchvisionMNIST

from vae_lab.data import MNIST, Folder, Images, Source, Tensors
from vae_lab.errors import InputError, out_of_memory
from vae_lab.support import Support


class Given(Source):
    """Images as they are given."""

    name = "given"

    def __init__(self, train: Images, test: Images | None = None) -> None:
        self.images = train, test

    def read(self) -> tuple[Images, Images | None]:
        return self.images


GREY = torch.linspace(0, 1, 100 * 4).reshape(100, 1, 2, 2)
BYTES = (GREY * 255).to(torch.uint8)


def with_label(label: int) -> Tensor:
    labels = torch.arange(100) % 10
    labels[3] = label
    return labels


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (Images(GREY * 255, None), "images of given are floats in 0..255: scale them to 0..1"),
        (Images(GREY - 0.5, None), "images of given are floats in -0.5..0.5: scale them"),
        (Images(GREY / (GREY != GREY[7]), None), "hold 4 values of 400 that are not finite"),
        (Images(GREY * float("nan"), None), "hold 400 values of 400 that are not finite"),
        (Images(GREY.double(), None), "of given are torch.float64: give uint8 0..255, or float32"),
        (Images((GREY * 255).long(), None), "of given are torch.int64: give uint8"),
        (Images(GREY.numpy(), None), "of given are of type ndarray: give a torch tensor"),
        (Images((BYTES > 9).to(torch.uint8), None), "of given are uint8 of 0 and 1 alone"),
        (Images(BYTES[:, 0], None), r"not \(100, 2, 2\): add the channel axis by unsqueeze\(1\)"),
        (Images(BYTES[:0], None), "images of given must be"),
        (Images(GREY, np.zeros(100, int)), "labels of given must be 100 whole .* not ndarray"),
        (Images(GREY, with_label(10**7)), "reach to 10000000, but there are 100 images: number"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("support", [Support.BINARY, Support.CONTINUOUS])
def test_no_source_may_yield_images_that_would_train_as_others(
    images: Images, said: str, support: Support
) -> None:
    with pytest.raises(InputError, match=said):
        datamodule(Given(images), support)


def test_training_and_test_images_are_stored_alike() -> None:
    with pytest.raises(InputError, match="one are uint8, the other floats"):
        datamodule(Given(Images(BYTES, None), Images(GREY, None)), Support.CONTINUOUS)


def test_many_classes_are_allowed_where_they_are_said() -> None:
    labels = with_label(10**7)
    assert datamodule(Given(Images(BYTES, labels)), num_classes=10**7 + 1).num_classes == 10**7 + 1
    data = datamodule(Given(Images(BYTES, torch.arange(100))), limit=5)  # fewer items than classes
    assert data.num_classes == 1 + max(int(s.labels.max()) for s in data.splits.values())


# Files of arrays


@pytest.mark.filterwarnings("ignore:Validating sparse")  # that it takes long
@pytest.mark.parametrize("name", ["images", "labels"])
def test_sparse_arrays_are_told_in_one_line(tmp_path: Path, name: str) -> None:
    arrays = {"images": GREY, "labels": torch.arange(100) % 10}
    torch.save(arrays | {name: arrays[name].to_sparse()}, tmp_path / "a.pt")
    with pytest.raises(InputError, match=f"'{name}' in .*a.pt is sparse or quantised: store it"):
        datamodule(Tensors(str(tmp_path / "a.pt")), Support.CONTINUOUS)


def test_images_that_a_gradient_was_asked_of_are_images(tmp_path: Path) -> None:
    torch.save({"images": GREY.clone().requires_grad_()}, tmp_path / "a.pt")
    data = datamodule(Tensors(str(tmp_path / "a.pt")), Support.CONTINUOUS)
    assert len(data.splits["train"]) == 70


# Folders


def photos(folder: Path, *classes: str) -> Path:
    for label in classes:
        (folder / label).mkdir(parents=True)
        for shade in (0, 128, 255):
            Image.new("L", (9, 9), shade).save(folder / label / f"{shade}.png")
    return folder


def test_out_of_memory_for_large_images_names_their_size() -> None:
    told = str(out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory")))
    assert "of a folder of images, data.size" in told


def names(path: Path) -> list[str]:
    images, _ = Folder(str(path), size=8, channels=1).read()
    return [str(Path(file).relative_to(path)) for file, _ in images.dataset.samples]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 255), (128, 255), (0, 65535)], ids=["0-255", "128-255", "0-65535"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bit_grey_keeps_its_greys(tmp_path: Path, channels: int, low: int, high: int) -> None:
    (tmp_path / "cat").mkdir()
    ramp = np.linspace(low, high, 16 * 16).astype("uint16").reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "cat" / "ramp.png")
    with Image.open(tmp_path / "cat" / "ramp.png") as image:
        assert image.mode.startswith("I")  # which is how Pillow says 16 bits
    pixels, _ = Folder(str(tmp_path), 16, channels).read()[0].gather(torch.tensor([0]))
    assert pixels.shape == (1, channels, 16, 16)
    for channel in pixels[0]:
        assert (channel.double() - torch.from_numpy(ramp / 257)).abs().max() <= 0.5


def test_grey_of_unknown_levels_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    Image.new("F", (9, 9), 0.5).save(tmp_path / "cat" / "a.tiff")
    with pytest.raises(InputError, match=r"a\.tiff cannot be read .*neither of 8 nor of 16 bits"):
        Folder(str(tmp_path), 8).read()[0].in_memory()


@pytest.fixture
def in_half_a_minute() -> Iterator[None]:
    """Fails what hangs, instead of waiting for it."""

    def stop(*_: object) -> None:
        raise TimeoutError("this hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("in_half_a_minute")
def test_links_that_lead_in_circles_are_not_followed(tmp_path: Path) -> None:
    path = photos(tmp_path / "photos", "cat", "dog")
    for number in range(3):
        (path / "cat" / f"up{number}").symlink_to("..")
        (path / "dog" / f"self{number}").symlink_to(path / "dog")
        (path / f"parent{number}").symlink_to(tmp_path)
    (path / "cat" / "other").symlink_to(path / "dog")  # that is no circle, and entered once
    (path / "cat" / "another").symlink_to(path / "dog")
    found = names(path)
    assert [name for name in found if name.startswith("dog")] == [
        "dog/0.png", "dog/128.png", "dog/255.png",
    ]  # fmt: skip
    assert len(found) == 9
    assert not any("up" in name or "parent" in name for name in found)


@pytest.mark.usefixtures("in_half_a_minute")
def test_pipes_are_no_images(tmp_path: Path) -> None:
    path = photos(tmp_path / "photos", "cat")
    os.mkfifo(path / "cat" / "pipe.png")
    data = datamodule(Folder(str(path), 8, 1), val_size=1, test_size=1)
    assert sum(len(split) for split in data.splits.values()) == 3
    os.mkfifo(tmp_path / "data")
    with pytest.raises(InputError, match=r"set data\.path"):
        Folder(str(tmp_path / "data"), 8).read()


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    path = photos(tmp_path / "photos", "cat")
    (path / "dog").mkdir()
    with pytest.raises(InputError, match="dog holds no image file: put some there, or remove it"):
        Folder(str(path), 8).read()


# MNIST


@pytest.fixture
def small_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its four files, with 30 black images, whose sums are taken for the true ones."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for split in ("train", "t10k"):
        (raw / f"{split}-images-idx3-ubyte").write_bytes(idx(np.zeros((30, 28, 28))))
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(idx(np.arange(30) % 10))
    monkeypatch.setattr("vae_lab.data.mnist.check_md5", lambda path, md5: True)
    return tmp_path


def test_files_of_old_beside_the_raw_ones_are_not_taken_for_mnist(small_mnist: Path) -> None:
    processed = small_mnist / "MNIST" / "processed"
    processed.mkdir()
    noise = torch.randint(256, (30, 28, 28), dtype=torch.uint8), torch.zeros(30).long()
    for name in ("training.pt", "test.pt"):
        torch.save(noise, processed / name)
    assert torch.equal(TorchvisionMNIST(small_mnist).data, noise[0])  # which is what it prefers
    for images in MNIST(str(small_mnist)).read():
        assert not images.pixels.any()
        assert images.labels is not None
        assert images.labels.tolist() == [*range(10)] * 3


def test_files_of_old_alone_are_no_mnist(
    small_mnist: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (small_mnist / "MNIST" / "raw").rename(small_mnist / "away")
    processed = small_mnist / "MNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        torch.save((torch.zeros(30, 28, 28), torch.zeros(30).long()), processed / name)

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(InputError, match="could not be downloaded"):
        MNIST(str(small_mnist)).read()
