"""What goes wrong in a run, in one line that names the fix."""

import traceback

from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from vae_lab.errors import InputError, one_line, out_of_memory
from vae_lab.experiment.prepare import Job


def cannot_start(error: Exception) -> InputError:
    """What to say of any error before training begins."""
    if isinstance(error, ConfigAttributeError | ConfigKeyError):  # as `~seed` leaves it
        return InputError(f"{error.full_key} is missing: say +{error.full_key}=... or leave it in.")
    return out_of_memory(error) or InputError(
        f"the run cannot start: {one_line(error)} (HYDRA_FULL_ERROR=1 shows where)"
    )


def cannot_go_on(job: Job, error: Exception) -> InputError | None:
    """What to say where a machine has run out of something while it trains; None of a fault.

    What Lightning or its callbacks refuse is input too, such as a monitor that nothing logs.
    """
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        return InputError(
            f"cannot write{where} ({error.strerror}): mend that. What was saved is intact: "
            f"python train.py resume={job.folder}"
        )
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    refuses = str(frame.f_globals["__name__"]).startswith("lightning.pytorch.callbacks.")
    if refuses or isinstance(error, MisconfigurationException):
        return InputError(f"Lightning refuses this run: {one_line(error)}")
    return out_of_memory(error, job.cfg.data.batch_size)
