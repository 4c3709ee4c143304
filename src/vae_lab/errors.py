"""The one error a user may cause."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec


class InputError(ValueError):
    """Bad input, told in one line that names the fix. The commands print it without a traceback."""


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """An InputError for a name that does not exist: says what does, and what was probably meant.

    >>> unknown("model", "vea", ["vae", "ladder"])
    InputError("unknown model 'vea'. Did you mean 'vae'? There are: ladder, vae.")
    """
    known = sorted(known)
    lowered = {each.lower(): each for each in known}
    guess = get_close_matches(name.lower(), lowered, 1)
    hint = f" Did you mean '{lowered[guess[0]]}'?" if guess else ""
    return InputError(f"unknown {what} '{name}'.{hint} There are: {', '.join(known) or 'none'}.")


def require(extra: str, *packages: str) -> None:
    """Raises InputError unless these packages, of an optional extra of vae-lab, are installed."""
    lacking = [package for package in packages if find_spec(package) is None]
    if lacking:
        raise InputError(f"this needs {' and '.join(lacking)}: pip install 'vae-lab[{extra}]'")


def one_line(error: BaseException) -> str:
    """What an exception says, with its kind, in one line without a terminal's colours."""
    text = " ".join(re.sub(r"\x1b\[[\d;]*m", "", str(error)).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def out_of_memory(
    error: BaseException, batch_size: int | None = None, lower: str | None = None
) -> InputError | None:
    """What to say where the memory of a device or of the machine ran out; None of other errors.

    `lower` names the sizes to be lowered, where they are not those of a training.
    """
    told = isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)
    if not told and not isinstance(error, MemoryError):
        return None
    size = f" ({batch_size})" if batch_size else ""
    lower = lower or (
        f"data.batch_size{size}, estimator.num_draws, the model's sizes or, of a folder of images, "
        "data.size"
    )
    return InputError(f"out of memory: lower {lower} ({one_line(error)[:120]}).")


def cannot_write(place: object, fix: str, error: Exception) -> InputError | None:
    """What to say where a file cannot be written, with what to set; None of other errors."""
    if not isinstance(error, OSError):
        return None
    return InputError(f"{error.filename or place} cannot be written ({error.strerror}): {fix}.")


@contextmanager
def explained(explain: Callable[[Exception], InputError | None]) -> Iterator[None]:
    """Let an error leave the block as what `explain` makes of it; None leaves it as it is.

    An InputError, which explains itself, passes.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        told = explain(error)
        if told is None:
            raise
        raise told from error
