"""What the tests share: where the real data are, and small files that stand in for them."""

import gc
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from warm import ROOT as ROOT
from warm import run_script

os.environ["OMP_NUM_THREADS"] = "1"  # of the commands that tests run
torch.set_num_threads(1)  # small models, shared machines: more threads only wait for each other
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as behind a script's `&`
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests of Ctrl-C are to hear it

if TYPE_CHECKING:
    from vae_lab import Run

QUICK = (
    "logger=none",
    "data=digits",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "callbacks.progress=null",
    "callbacks.figures=null",
)
SMALL = ("model.encoder.widths=[64]", "model.decoder.widths=[64]")
LONG = ("test_training", "test_comfort", "test_readme", "test_joints", "test_moved", "test_shown")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of processes and long files come first: the short ones fill up each worker's time."""
    items.sort(
        key=lambda item: item.get_closest_marker("process") is None and item.path.stem not in LONG
    )


def pytest_collection_finish() -> None:
    """What is imported by now stays: the garbage collector need not look through it again."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Before the interpreter ends all is the collector's again: else libraries report leaks."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_wandb_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests never reach a W&B account, whatever the machine has configured."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.delenv("WANDB_SERVICE", raising=False)  # of this process, not of its children
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path))  # where artifacts wait for their upload
    monkeypatch.setenv("WANDB_X_SERVICE_WAIT", "300")  # seconds: the machine may be a busy one


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Classifiers that tests train stay theirs, and are trained once, for all workers."""
    base = tmp_path_factory.getbasetemp()
    whole = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    os.environ["VAE_LAB_CACHE"] = str(whole / "cache")


@pytest.fixture(scope="session")
def real_data() -> Path:
    root = os.environ.get("VAE_LAB_DATA")
    if root is None or not (Path(root) / "MNIST").is_dir():
        pytest.skip("the real data are not at hand: set VAE_LAB_DATA")
    return Path(root).resolve()


@pytest.fixture
def colour_file(tmp_path: Path) -> Path:
    """60 random 8-bit colour images of 32x32, in ten classes."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 3, 32, 32), dtype=np.uint8)
    path = tmp_path / "colour.npz"
    np.savez(path, images=images, labels=np.arange(60) % 10)
    return path


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the smallest data, trained for two epochs."""
    from vae_lab import train

    folder = tmp_path_factory.mktemp("digits") / "run"
    train([*QUICK, *SMALL, "trainer.max_epochs=2", f"hydra.run.dir={folder}"], quiet=True)
    return folder


@pytest.fixture(scope="session")
def conditional_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A conditional VAE on digits, trained until it reads its labels."""
    from vae_lab import train

    folder = tmp_path_factory.mktemp("conditional") / "run"
    learned = ("model.encoder.widths=[128]", "model.decoder.widths=[128]", "optimizer.lr=3e-3")
    train(
        [*QUICK, *learned, "model=cvae", "trainer.max_epochs=12", f"hydra.run.dir={folder}"],
        quiet=True,
    )
    return folder


@pytest.fixture(scope="session")
def autoencoder_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deterministic autoencoder of the smallest data, with its figures."""
    from vae_lab import train

    folder = tmp_path_factory.mktemp("autoencoder") / "run"
    train(
        [*(o for o in QUICK if "figures" not in o), "model=autoencoder", "data.limit=400",
         *SMALL, "model.z_shape=[8]", "trainer.max_epochs=2", f"hydra.run.dir={folder}"],
        quiet=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def wandb_run(tmp_path_factory: pytest.TempPathFactory) -> "Run":
    """An offline W&B run that logs all it can, of a latent plane."""
    from vae_lab import train

    folder = tmp_path_factory.mktemp("wandb")
    overrides = [o for o in QUICK if "figures" not in o and "logger" not in o]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("MODE", "offline"), ("SILENT", "true"), ("DATA_DIR", str(folder))):
            patch.setenv(f"WANDB_{name}", value)
        return train(
            [*overrides, "model.z_shape=[2]", "data.limit=64", "trainer.max_epochs=2",
             "callbacks.histograms.every_n_steps=2", "logger.log_checkpoints=true",
             "logger.log_samples=true", f"hydra.run.dir={folder / 'run'}"],
            quiet=True,
        )  # fmt: skip


@pytest.fixture
def command() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run `python SCRIPT ARGUMENTS` from the repository's root; `cold`, just as a user does."""
    return lambda *arguments, cold=False: run_script(arguments, cold=cold)
