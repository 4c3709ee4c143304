"""A job of a sweep: one line, named after what varies."""

from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from vae_lab.storage.files import read_json
from vae_lab.sweeps.differences import short, value


def as_job(cfg: DictConfig) -> DictConfig:
    """The configuration of a job, which is one line and has no progress bar."""
    if cfg.callbacks and "progress" in cfg.callbacks:
        cfg.callbacks.progress = None
    return cfg


def job_name(sweep: Path, overrides: Mapping[str, str]) -> tuple[str, str]:
    """A job's name, which tells the choices that its sweep varies, "" where it varies none.

    And how many jobs there are, in words, such as "/12"; "" where that is not known. Raises
    InputError where the sweep's own note cannot be read.
    """
    path = sweep / "sweep.json"
    note = read_json(path, varied=list) if path.is_file() else {"varied": []}
    varied, count = note["varied"], note.get("jobs")
    ordered = sorted(overrides, key=lambda key: key == "seed")
    told = in_words({key: overrides[key] for key in ordered if key in varied})
    return ", ".join(told), f"/{count}" if count else ""


def in_words(choices: Mapping[str, str]) -> list[str]:
    """Choices in few words: `encoder=conv`, `lr=0.0007`; a model or data set is its own.

    >>> in_words({"model": "cvae", "model/encoder": "conv", "optimizer.lr": "0.00069999999"})
    ['cvae', 'encoder=conv', 'lr=0.0007']
    """
    names = short([key.replace("/", ".") for key in choices])
    numbers = [value(text) for text in choices.values()]
    said = [
        f"{n:.3g}" if isinstance(n, float) else t
        for n, t in zip(numbers, choices.values(), strict=True)
    ]
    return [
        text if key in ("model", "data") else f"{name}={text}"
        for key, name, text in zip(choices, names, said, strict=True)
    ]
