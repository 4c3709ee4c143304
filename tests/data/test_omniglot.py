"""OMNIGLOT from a small file in its format."""

from pathlib import Path

import numpy as np
import pytest
import torch
from parts import datamodule, run
from scipy.io import savemat

from vae_lab import InputError
from vae_lab.data import Omniglot
from vae_lab.support import Support

IMAGES = np.random.default_rng(0).random((40, 28, 28)).round(2)
ALPHABETS = np.arange(40) % 50
ARRAYS = {
    "data": IMAGES[:30].transpose(0, 2, 1).reshape(30, 784).T,  # a column goes down before right
    "target": np.eye(50)[ALPHABETS[:30]].T,
    "targetchar": np.ones((1, 30)),
    "testdata": IMAGES[30:].transpose(0, 2, 1).reshape(10, 784).T,
    "testtarget": np.eye(50)[ALPHABETS[30:]].T,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "omniglot").mkdir()
    savemat(tmp_path / "omniglot" / "chardata.mat", ARRAYS)
    return tmp_path / "omniglot" / "chardata.mat"


def test_characters_stand_upright_beside_their_alphabets(file: Path) -> None:
    train, test = Omniglot(str(file.parents[1]), counts=(30, 10)).read()
    for images, part in ((train, slice(30)), (test, slice(30, 40))):
        assert torch.equal(images.pixels[:, 0], torch.from_numpy(IMAGES[part]).float())
        assert images.labels is not None
        assert images.labels.tolist() == ALPHABETS[part].tolist()


def test_the_last_training_images_validate(file: Path) -> None:
    source = Omniglot(str(file.parents[1]), counts=None)
    data = datamodule(source, Support.CONTINUOUS, split_seed=None, val_size=5, num_classes=50)
    assert torch.equal(
        data.splits["val"].in_memory().pixels[:, 0], torch.from_numpy(IMAGES[25:30]).float()
    )
    assert len(data.splits["test"]) == 10


def test_it_trains(tmp_path: Path, file: Path) -> None:
    finished = run(
        tmp_path / "run", "data=omniglot", f"data.root={file.parents[1]}", "data.counts=null",
        "data.val_size=5",
    )  # fmt: skip
    assert finished.metrics["train/elbo"] < 0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, "holds 30 training and 10 test images, not 24345 and 8070: delete it"),
        ({"testtarget": None}, "holds no array 'testtarget'"),
        ({"data": ARRAYS["data"].T}, r"holds data of \(30, 784\) and target of \(50, 30\)"),
        ({"target": ARRAYS["target"][:, 1:]}, r"and target of \(50, 29\)"),
    ],
)
def test_another_file_is_refused(file: Path, changed: dict[str, np.ndarray], said: str) -> None:
    arrays = {name: array for name, array in (ARRAYS | changed).items() if array is not None}
    savemat(file, arrays)
    with pytest.raises(InputError, match=said):
        Omniglot(str(file.parents[1]), counts=(24345, 8070)).read()


@pytest.mark.parametrize("kept", [0, 300, 5000, -40])
def test_a_file_that_is_cut_short_is_refused(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"OMNIGLOT in .*omniglot is incomplete, cut short"):
        Omniglot(str(file.parents[1]), counts=None).read()


def test_a_missing_file_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(InputError, match="OMNIGLOT is not in .*could not be downloaded"):
        Omniglot(str(tmp_path / "absent"), counts=None).read()
    assert not list(tmp_path.iterdir())
