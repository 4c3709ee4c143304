"""What goes wrong in a run, in one line that names the fix."""

import torch

from vae_lab.errors import InputError, one_line
from vae_lab.experiment.prepare import Job

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def cannot_start(error: Exception) -> InputError:
    """What to say of any error before training begins."""
    return InputError(f"the run cannot start: {one_line(error)} (HYDRA_FULL_ERROR=1 shows where)")


def cannot_go_on(job: Job, error: Exception) -> InputError | None:
    """What to say where a machine has run out of something while it trains; None of a fault."""
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return InputError(
            f"cannot write{where} ({error.strerror}): mend that. What was saved is intact: "
            f"python train.py resume={job.folder}"
        )
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
    ):
        return InputError(
            f"out of memory: lower data.batch_size ({job.cfg.data.batch_size}), "
            f"estimator.num_draws or the model's sizes ({one_line(error)[:120]})."
        )
    return None
