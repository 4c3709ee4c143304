"""The one error a user may cause."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Bad input, told in one line that names the fix. The commands print it without a traceback."""


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """An InputError for a name that does not exist: says what does, and what was probably meant."""
    known = sorted(known)
    guess = get_close_matches(name, known, 1)
    hint = f" Did you mean '{guess[0]}'?" if guess else ""
    return InputError(f"unknown {what} '{name}'.{hint} There are: {', '.join(known) or 'none'}.")
