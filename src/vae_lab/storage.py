"""Files that are written whole or not at all, and folders that one run holds at a time."""

import fcntl
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from vae_lab.errors import InputError

LOCK = ".lock"
"""The file in a run folder by which a process holds it."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to; when the block ends well, what lies there becomes `path`, in one step.

    A crash or a power cut leaves the old file or the new one, never a part of either.
    """
    part = path.with_name(path.name + ".part")
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
    except BaseException:
        part.unlink(missing_ok=True)
        raise


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints written whole or not at all, and read without running code from them.

    The last.ckpt before the newest one stays beside it as previous.ckpt.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        torch.save(checkpoint, content)
        with whole_file(path) as part:
            part.write_bytes(content.getvalue())  # a getbuffer() in a traceback crashes 3.12.1
            if path.name == "last.ckpt" and path.exists():
                with whole_file(path.with_name("previous.ckpt")) as linked:
                    os.link(path, linked)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        return super().load_checkpoint(path, map_location, weights_only=True)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run folder for the length of the block, or of this process, however that ends.

    Raises InputError where another process holds it.
    """
    with (folder / LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"{folder} is in use by another process: wait for its end, or choose another."
            ) from error
        yield


def is_held(folder: Path) -> bool:
    """Whether some process trains in `folder`."""
    try:
        with held(folder):
            return False
    except InputError:
        return True
