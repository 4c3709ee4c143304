"""Files that may come from elsewhere: bytes changed, ends cut off. Read as they were, or refused.

A refusal is an InputError of one line; nothing is ever unpickled.
"""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vae_lab import InputError
from vae_lab.data import Tensors
from vae_lab.storage.checkpoint import FORMAT, read_checkpoint, sealed
from vae_lab.storage.run_config import write_config
from vae_lab.storage.run_folder import RunFolder
from vae_lab.sweeps.names import job_name

CASES = 300

CONFIG = """\
seed: 0
name: mlp_vae-digits
run_dir: /runs/a
run_id: 1a2b3c4d
config_digest: 0123456789ab
model:
  _target_: vae_lab.model.VAE
  z_shape: [2]
data:
  _target_: vae_lab.data.MNIST
  root: /data
optimizer: {lr: 0.001, betas: [0.9, 0.999]}
"""

RECORD = {
    "format": FORMAT,
    "config": {"name": "a", "model": {"z_shape": [2]}},
    "data": {"binarize": True, "dequantize": False, "sizes": {"train": 3}},
    "measure": {"data": "digits"},
    "commit": "abc",
    "parameters": 12,
    "epoch": 3,
}


def damaged(content: bytes) -> Iterator[bytes]:
    """As many cases as CASES: bits flipped, bytes overwritten, the end cut off."""
    chance = random.Random(0)
    for case in range(CASES):
        changed, at = bytearray(content), chance.randrange(len(content))
        match case % 4:
            case 0 | 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                for place in range(at, min(at + chance.randrange(1, 9), len(content))):
                    changed[place] = chance.randrange(256)
            case 3:
                del changed[at:]
        yield bytes(changed)


def refused(path: Path, read: Callable[[], Any], valid: Callable[[Any], bool]) -> int:
    """How many cases are; each of the others must be `valid`."""
    assert valid(read())
    whole, lines = path.read_bytes(), []
    for content in damaged(whole):
        path.write_bytes(content)
        try:
            found = read()
        except InputError as error:
            lines.append(str(error))
        else:
            assert valid(found), content
    assert not [line for line in lines if "\n" in line]
    return len(lines)


def same(one: Any, other: Any) -> bool:
    """Equal, tensors bit by bit."""
    match one:
        case Tensor():
            return one.dtype == other.dtype and torch.equal(one, other)
        case dict():
            return one.keys() == other.keys() and all(same(v, other[k]) for k, v in one.items())
    return bool(one == other)


WEIGHTS = {"encoder.weight": torch.arange(12.0).view(3, 4), "decoder.bias": torch.ones(5)}


def test_a_checkpoint_of_which_any_byte_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    content = {"state_dict": WEIGHTS, "vae_lab": RECORD, "epoch": 3, "optimizer_states": [{}]}
    torch.save(content, path)
    count = refused(path, lambda: read_checkpoint(path), lambda found: same(found, content))
    assert count > CASES / 2  # the rest hit what no reader reads: padding, times


def test_exported_weights_of_which_any_byte_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(sealed(WEIGHTS, json.dumps(RECORD)))
    whole = read_checkpoint(path)
    count = refused(path, lambda: read_checkpoint(path), lambda found: same(found, whole))
    assert count > 0.9 * CASES


@pytest.mark.parametrize("suffix", ["npz", "pt"])
def test_arrays_of_which_any_byte_has_changed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"images.{suffix}"
    images, labels = np.arange(90, dtype=np.uint8).reshape(10, 3, 3), np.arange(10)
    if suffix == "npz":
        np.savez(path, images=images, labels=labels)
    else:
        torch.save({"images": torch.tensor(images), "labels": torch.tensor(labels)}, path)

    def valid(found: Any) -> bool:
        pixels, numbers = found[0].pixels, found[0].labels
        return bool((pixels[:, 0].numpy() == images).all() and (numbers.numpy() == labels).all())

    assert refused(path, Tensors(str(path)).read, valid) > CASES / 4


def test_a_configuration_is_plain_values_or_refused(tmp_path: Path) -> None:
    write_config(tmp_path / "config.yaml", CONFIG)
    config = RunFolder(tmp_path).config

    def valid(found: Any) -> bool:
        return isinstance(found["config_digest"], str) and bool(json.dumps(found))

    assert refused(tmp_path / "config.yaml", config, valid) > CASES / 4


def test_how_a_run_ended_is_numbers_or_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.finish({"metrics": {"val/elbo": -24.5, "epoch": 3.0}, "best": -24.5, "measure": {}})

    def valid(found: Any) -> bool:
        numbers = [*found["metrics"].values(), found["best"] or 0.0]
        return all(isinstance(number, int | float) for number in numbers)

    assert refused(tmp_path / "result.json", folder.result, valid) > CASES / 4


def test_how_a_job_failed_is_told_or_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.fail({"seed": "1"}, "no reason", "Traceback ...")
    valid: Callable[[Any], bool] = lambda found: isinstance(found["overrides"], dict)  # noqa: E731
    assert refused(tmp_path / "failed.json", folder.failure, valid) > CASES / 4


def test_what_a_sweep_varies_is_keys_or_refused(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text('{"varied": ["optimizer.lr", "seed"]}\n')
    told = {"optimizer.lr": "0.1", "seed": "3"}
    names = ("lr=0.1, seed=3", "lr=0.1", "seed=3", "")
    assert refused(tmp_path / "sweep.json", lambda: job_name(tmp_path, told)[0], names.__contains__)


@pytest.mark.parametrize(
    "text", ["a: &b [1]\nc: *b\n", "when: 2026-11-21\n", "data: !!set {a}\n", "[" * 2000, "\0",
             "z: ${seed}\n", "z: ${oc.env:HOME}\n"],
    ids=["alias", "date", "set", "deep", "nul", "interpolation", "environment"],
)  # fmt: skip
def test_what_no_run_writes_into_its_configuration(tmp_path: Path, text: str) -> None:
    write_config(tmp_path / "config.yaml", CONFIG + text)
    with pytest.raises(InputError, match=r"config\.yaml (is no run's|has interpolations)"):
        RunFolder(tmp_path).config()
