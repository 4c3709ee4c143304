"""What goes wrong in a run, in one line that names the fix."""

from vae_lab.errors import InputError, one_line, out_of_memory
from vae_lab.experiment.prepare import Job


def cannot_start(error: Exception) -> InputError:
    """What to say of any error before training begins."""
    return out_of_memory(error) or InputError(
        f"the run cannot start: {one_line(error)} (HYDRA_FULL_ERROR=1 shows where)"
    )


def cannot_go_on(job: Job, error: Exception) -> InputError | None:
    """What to say where a machine has run out of something while it trains; None of a fault."""
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return InputError(
            f"cannot write{where} ({error.strerror}): mend that. What was saved is intact: "
            f"python train.py resume={job.folder}"
        )
    return out_of_memory(error, job.cfg.data.batch_size)
