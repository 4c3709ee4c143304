"""Fetching a torchvision dataset, or saying in one line why that cannot be."""

from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from sys import stderr

from vae_lab.errors import InputError, one_line


def fetch(name: str, folder: Path, dataset: Callable[[bool], object]) -> None:
    """Make sure that `dataset(download)` finds its files in `folder`.

    Raises InputError where files are damaged, or are missing and cannot be downloaded.
    """
    try:
        dataset(False)
        return
    except (RuntimeError, ValueError, AssertionError, OSError, EOFError) as error:
        if folder.is_dir() and any(folder.iterdir()):
            raise InputError(
                f"{name} in {folder} is incomplete, cut short or has a wrong sum: delete that "
                "folder and run again to download it, or point data.root at an intact copy."
            ) from error
    absent = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        with redirect_stdout(stderr):
            dataset(True)
    except Exception as error:
        for path in absent:
            with suppress(OSError):
                path.rmdir()
        reason = one_line(error)
        raise InputError(
            f"{name} is not in {folder} and could not be downloaded ({reason}): set VAE_LAB_DATA "
            "or data.root to the folder that holds it."
        ) from error
