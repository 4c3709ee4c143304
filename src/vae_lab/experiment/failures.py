"""What goes wrong in a run, in one line that names the fix."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from vae_lab.errors import InputError, one_line
from vae_lab.experiment.prepare import Job

if TYPE_CHECKING:
    pass


_STARTED = time.time()


@contextmanager
def _refused_cleanly(folder: Path) -> Iterator[None]:
    """Where the block fails, say why in one line, and take back the folder that Hydra has made."""
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            if folder.stat().st_mtime >= _STARTED:
                folder.rmdir()  # only ever an empty one
        if isinstance(error, InputError) or not isinstance(error, Exception):
            raise
        raise InputError(
            f"the run cannot start: {one_line(error)} (HYDRA_FULL_ERROR=1 shows where)"
        ) from error


@contextmanager
def _told(job: Job) -> Iterator[None]:
    """What a machine may run out of, said in one line that names the fix."""
    last = f"What was saved is intact: python train.py resume={job.folder}"
    try:
        yield
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        raise InputError(f"cannot write{where} ({error.strerror}): mend that. {last}") from error
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        raise InputError(
            f"out of memory: lower data.batch_size ({job.cfg.data.batch_size}), "
            f"estimator.num_draws or the model's sizes ({one_line(error)[:120]})."
        ) from error


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    said = ("out of memory", "can't allocate memory", "not enough memory")
    return any(words in str(error) for words in said)
