"""One process of a group: runs the job whose configuration lies in the folder it is given."""

import sys
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from vae_lab.distributed import group
from vae_lab.errors import InputError, one_line
from vae_lab.experiment.prepare import prepare
from vae_lab.experiment.run import train


def main(folder: Path) -> None:
    """Run the job; the first member to fail leaves its reason in error.txt."""
    group.die_with_parent()
    cfg = OmegaConf.load(folder / "config.yaml")
    assert isinstance(cfg, DictConfig)
    try:
        train(prepare(cfg, folder), Console(quiet=group.rank() > 0))
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else one_line(error)
        with suppress(FileExistsError), (folder / "error.txt").open("x") as told:
            told.write(f"rank {group.rank()}: {reason}")
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]))
