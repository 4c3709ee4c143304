"""Fetching a torchvision dataset, or saying in one line why that cannot be."""

from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from sys import stderr
from typing import TypeVar

from vae_lab.errors import InputError, one_line

Data = TypeVar("Data")


def fetch(name: str, folder: Path, dataset: Callable[[bool], Data]) -> Data:
    """What `dataset(download)` finds in its `folder`, where nothing else lies.

    Raises InputError where files are damaged, or are missing and cannot be downloaded.
    """
    try:
        return dataset(False)
    except (RuntimeError, ValueError, AssertionError, OSError, EOFError) as error:
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(
                f"{name} in {folder} is incomplete, cut short or has a wrong sum: delete that "
                "folder and run again to download it, or point data.root at an intact copy."
            ) from error
    return download(f"{name} is not in {folder}", folder, dataset)


def download(state: str, folder: Path, dataset: Callable[[bool], Data]) -> Data:
    """What `dataset(True)` downloads into `folder`.

    Raises InputError where it cannot; `state` begins its sentence.
    """
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with redirect_stdout(stderr):
            return dataset(True)
    except Exception as error:
        for path in absent:
            with suppress(OSError):
                path.rmdir()
        raise InputError(
            f"{state} and could not be downloaded ({one_line(error)}): set VAE_LAB_DATA or "
            "data.root to the folder that holds it."
        ) from error
