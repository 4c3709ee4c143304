"""What is kept while training, and how often it is written."""

import os
from pathlib import Path

import pytest
import torch
from parts import run

from vae_lab import load
from vae_lab.storage.checkpoint import read_checkpoint


def test_short_epochs_do_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forced: list[int] = []
    monkeypatch.setattr(os, "fsync", forced.append)
    folder = run(tmp_path / "run", "data=digits", "data.limit=32", "trainer.max_epochs=20").folder
    assert len(forced) < 20  # epochs; each was forced to the disk by six calls
    for name in ("best", "last"):
        assert (folder / "checkpoints" / f"{name}.ckpt").is_file()
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 19


def test_best_holds_weights_alone_and_serves_as_before(tmp_path: Path) -> None:
    quick = ("data=digits", "data.limit=64")
    folder = run(tmp_path / "run", *quick, "ema=default").folder
    best, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    assert set(read_checkpoint(best)) == {"state_dict", "epoch", "global_step", "vae_lab"}
    assert best.stat().st_size < last.stat().st_size / 3  # two moments, and plain weights
    torch.testing.assert_close(load(best).sample(2, seed=0), load(folder).sample(2, seed=0))
    begun = run(tmp_path / "other", *quick, f"init_from={best}", "optimizer.lr=1e-9")
    kept = load(begun).model.state_dict()
    for name, value in load(best).model.state_dict().items():
        torch.testing.assert_close(kept[name], value, rtol=0, atol=1e-6)
