"""The export command."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table

from vae_lab.errors import InputError
from vae_lab.export.formats import export
from vae_lab.storage.checkpoint import checkpoint_path, run_folder
from vae_lab.trained import load


def export_task(settings: DictConfig) -> None:
    """The export command: write `run` in every format asked for, and print a table.

    Raises InputError, before any work, for settings or a run that cannot be exported.
    """
    if OmegaConf.is_missing(settings, "run"):
        raise InputError("which run? Say run=<run folder or checkpoint>.")
    formats, place = settings.export.formats, settings.export.out
    if not OmegaConf.is_list(formats) or not formats:
        raise InputError(f"export.formats must be a list, such as [onnx], not {formats}.")
    path = checkpoint_path(settings.run)
    out = Path(place) if place else run_folder(path) / "export"
    differences = export(load(path), out, formats)
    table = Table()
    for column in ("file", "bytes", "largest difference"):
        table.add_column(column, justify="left" if column == "file" else "right")
    for path, off in differences.items():
        table.add_row(path.name, f"{path.stat().st_size:,}", f"{off:.1g}")
    console = Console()
    console.print(table)
    console.print(f"Written: {out}, with config.json", highlight=False, soft_wrap=True)
