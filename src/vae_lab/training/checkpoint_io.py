"""How Lightning writes and reads checkpoints here."""

import io
import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from vae_lab.storage.files import atomic_file


class AtomicCheckpointIO(TorchCheckpointIO):
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
        with atomic_file(path) as part:
            part.write_bytes(content.getvalue())  # a getbuffer() in a traceback crashes 3.12.1
            if path.name == "last.ckpt" and path.exists():
                with atomic_file(path.with_name("previous.ckpt")) as linked:
                    os.link(path, linked)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        return super().load_checkpoint(path, map_location, weights_only=True)
