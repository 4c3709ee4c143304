"""The encode command: the codes of a whole data set in one file, to train another model on."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

from vae_lab.commands.cli import wanted_checkpoint
from vae_lab.commands.run_data import check_place, device_of, run_data
from vae_lab.config.allowed import trusted
from vae_lab.config.settings import EncodeSettings, check_settings
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError, cannot_write, explained, out_of_memory
from vae_lab.evaluation.codes import latents, scale_of
from vae_lab.evaluation.statistics import Estimate
from vae_lab.model import VAE
from vae_lab.seeding import derive_seed
from vae_lab.storage.checkpoint import run_folder
from vae_lab.storage.files import atomic_file
from vae_lab.storage.provenance import commit
from vae_lab.terminal import say
from vae_lab.trained import load

FIX = "set encode.out to another file"


def encode_task(cfg: DictConfig) -> None:
    """The encode command: encode every split of the data of `run`, write one .npz, print a table.

    The file has, by name, for each split that has items its codes, "train" (N, *Z), and where there
    are labels "train_labels" (N,), in the split's order; "splits", their names; "scale", by which
    codes are multiplied to have a standard deviation of 1 over the training data, all units
    together; "about", a JSON object on their origin. Data that are prepared by noise are prepared
    once: training data in a way that `encode.batch_size` decides, the others as in any evaluation.

    Raises InputError, before any work, for settings, a run without one latent layer, or a place
    that cannot be written.
    """
    path, asked = wanted_checkpoint(cfg), cfg.encode
    check_settings(asked, [EncodeSettings], "encode.")
    device = device_of(asked, "encode")
    out = Path(str(asked.out)) if asked.out else run_folder(path) / "codes.npz"
    if out.suffix != ".npz":  # nor a run's own files
        raise InputError(f"encode.out={out} must end in .npz, as what is written does.")
    check_place(out, fix=FIX)
    trained = load(path, device)
    model = trained.model
    if not isinstance(model, VAE):
        raise InputError(
            f"what is written are the codes of one latent layer, which a {type(model).__name__} "
            "lacks: choose a run of another model."
        )
    data = run_data(trained, asked, "encode")
    arrays, scale = _encoded(model, data, asked, device)
    about = {
        "codes": "one draw of q(z|x) each" if asked.draw else "centres of q(z|x)",
        "seed": asked.seed,
        "model": trained.record["config"]["name"],
        "checkpoint": trained.record["checkpoint"],
        "epochs": trained.record["epoch"] + 1,
        "measure": trained.record["measure"],
        "commit": commit(*trusted()),
    }
    with explained(partial(cannot_write, out, FIX)):
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out) as part, part.open("wb") as file:
            np.savez(file, **arrays, about=np.array(json.dumps(about)))
    table = Table("split", *(Column(name, justify="right") for name in ("items", "z")))
    for split in arrays["splits"]:
        table.add_row(split, f"{len(arrays[split]):,}", "x".join(map(str, model.z_shape)))
    console = Console()
    console.print(table)
    say(console, f"{about['codes']}; scale {scale.value:.4g}, {scale.unit} over the training data")
    say(console, f"Written: {out}")


def _encoded(
    model: VAE, data: ImageDataModule, asked: DictConfig, device: torch.device
) -> tuple[dict[str, Any], Estimate]:
    """The arrays of the file, by name, and the scale of the training codes."""
    splits = [split for split, items in data.splits.items() if len(items)]
    arrays: dict[str, Any] = {"splits": np.array(splits)}
    with explained(partial(out_of_memory, lower="encode.batch_size")):
        for split in track(splits, "splits", console=Console(stderr=True), transient=True):
            batches = data.batches(split, asked.batch_size, device)
            z = latents(model, batches, asked.draw, derive_seed(asked.seed, split))
            labels = data.splits[split].labels
            arrays[split] = z.numpy()
            arrays |= {} if labels is None else {f"{split}_labels": labels.cpu().numpy()}
    scale = scale_of(torch.from_numpy(arrays["train"]))
    if scale is None:
        raise InputError(
            "all codes are the same, so nothing can be learnt from them: choose a run that has "
            "been trained, or has not collapsed."
        )
    return {**arrays, "scale": np.float32(scale.value)}, scale
