"""What a run and a job of a sweep are called."""

import json
from pathlib import Path

import pytest
from conftest import QUICK

from vae_lab import InputError
from vae_lab.commands.train import _labels
from vae_lab.config.compose import compose_config
from vae_lab.sweeps.names import job_name


def name(*overrides: str) -> str:
    return _labels(compose_config("train", overrides, return_hydra_config=True).hydra)["name"]


def test_runs_that_differ_in_their_encoder_bear_different_names() -> None:
    assert name("data=digits", *QUICK) == "mlp_vae-digits"
    assert name("data=digits", "model/encoder=conv") == "mlp_vae-digits encoder=conv"
    asked = ("data=digits", "model/prior=standard_normal", "ema=default", "optimizer.lr=1e-4")
    assert name(*asked) == name(*asked[::-1]) == "mlp_vae-digits ema=default prior=standard_normal"


def sweep(folder: Path, note: str) -> Path:
    (folder / "sweep.json").write_text(note)
    return folder


def test_a_job_is_named_after_what_varies_in_short_numbers(tmp_path: Path) -> None:
    varied = ["seed", "optimizer.lr", "model/encoder", "model"]
    note = sweep(tmp_path, json.dumps({"varied": varied, "jobs": 12}))
    overrides = {
        "seed": "1", "model": "cvae", "model/encoder": "conv", "optimizer.lr": "0.00069999999",
        "data.limit": "9",
    }  # fmt: skip
    assert job_name(note, overrides) == ("cvae, encoder=conv, lr=0.0007, seed=1", "/12")
    assert job_name(tmp_path / "none", overrides) == ("", "")


@pytest.mark.parametrize("note", ["", '{"varied": ["se', "[]", "3", '{"varied": 3, "jobs": 1}'])
def test_a_note_of_a_sweep_that_cannot_be_read_is_one_line(tmp_path: Path, note: str) -> None:
    with pytest.raises(InputError, match=r"sweep\.json is damaged") as caught:
        job_name(sweep(tmp_path, note), {"seed": "1"})
    assert "\n" not in str(caught.value)
