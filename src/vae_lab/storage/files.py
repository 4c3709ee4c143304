"""Files that are written whole or not at all, and read as what they should be or not at all."""

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import UnionType
from typing import Any

from vae_lab.errors import InputError, explained, one_line

_FOLDER = 0x10
"""The attribute by which a zip archive marks a folder."""


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A name to write to; when the block ends well, what lies there becomes `path`, in one step.

    A crash or a power cut leaves the old file or the new one, never a part of either.
    """
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)  # a crash's: it may be a link to a file that is to stay as it is
    try:
        yield part
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        part.unlink(missing_ok=True)  # also where both were links to one file: that moves nothing


def check_zip(path: Path) -> None:
    """Read a zip archive, which .ckpt, .pt and .npz files are, against the sums that it carries.

    Raises zipfile.BadZipFile where a byte of its content has changed, or for another file.
    """
    with zipfile.ZipFile(path) as archive:
        for file in archive.infolist():  # testzip overlooks what makes torch read other memory:
            stored = file.compress_type == zipfile.ZIP_STORED
            if (stored and file.file_size != file.compress_size) or file.external_attr & _FOLDER:
                raise zipfile.BadZipFile(f"{file.filename} has a wrong length or kind")
        damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"{damaged} has a wrong sum")


def read_json(path: Path, **kinds: type | UnionType) -> dict[str, Any]:
    """The object in a JSON file that this project wrote.

    Args:
        path: The file.
        kinds: The keys that it must have, each with the type of its value.

    Raises:
        InputError: Where the file is cut short, or holds anything else.
    """
    with explained(lambda error: InputError(f"{path} is damaged ({one_line(error)}): remove it.")):
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise TypeError("no object")
        for key, kind in kinds.items():
            if not isinstance(content[key], kind):
                raise TypeError(f"{key} is no {getattr(kind, '__name__', kind)}")
    return content
