"""Fetching a torchvision dataset, or saying in one line why that cannot be."""

from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from sys import stderr

from vae_lab.errors import InputError


def fetch(name: str, folder: Path, dataset: Callable[[bool], object]) -> None:
    """Make sure that `dataset(download)` finds its files in `folder`.

    Raises InputError where files are damaged, or are missing and cannot be downloaded.
    """
    try:
        dataset(False)
        return
    except (RuntimeError, ValueError, AssertionError, OSError, EOFError) as error:
        if folder.is_dir() and any(folder.iterdir()) and "not found" not in str(error).lower():
            raise InputError(
                f"{name} in {folder} is cut short or damaged: delete that folder, and run again."
            ) from error
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            f"{name} in {folder} is incomplete, cut short or has a wrong sum: delete that folder "
            "and run again to download it, or point data.root at an intact copy."
        )
    try:
        with redirect_stdout(stderr):
            dataset(True)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{name} is not in {folder} and could not be downloaded ({reason}): set VAE_LAB_DATA "
            "or data.root to the folder that holds it."
        ) from error
