"""The export command."""

from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Column, Table

from vae_lab.commands.cli import wanted_checkpoint
from vae_lab.config.settings import ExportSettings, check_settings
from vae_lab.export.formats import export
from vae_lab.storage.checkpoint import run_folder
from vae_lab.storage.prior_file import prior_path
from vae_lab.terminal import say
from vae_lab.trained import load


def export_task(cfg: DictConfig) -> None:
    """The export command: write `run` in every format asked for, and print a table.

    Raises InputError, before any work, for settings or a run that cannot be exported.
    """
    path, formats, place = wanted_checkpoint(cfg), cfg.export.formats, cfg.export.out
    check_settings(cfg.export, [ExportSettings], "export.")
    out = Path(str(place)) if place else run_folder(path) / "export"
    differences = export(load(path), out, formats)
    numbers = (Column(name, justify="right") for name in ("bytes", "largest difference"))
    table = Table("file", *numbers)
    for file, off in differences.items():
        table.add_row(file.name, f"{file.stat().st_size:,}", f"{off:.1g}")
    console = Console()
    console.print(table)
    say(console, f"Written: {out}, with config.json")
    if prior_path(run_folder(path)).exists():
        say(
            console,
            "Not the prior fitted afterwards, prior.ckpt: vae_lab.load(RUN) samples from it.",
        )
