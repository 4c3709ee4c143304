"""One process of a group: runs the job whose configuration lies in the folder it is given."""

import sys

from vae_lab.commands.start import importing

with importing():
    from omegaconf import OmegaConf
    from rich.console import Console
    from torch.distributed.elastic.multiprocessing.errors import record

    from vae_lab.distributed import group
    from vae_lab.distributed.signals import Interruption
    from vae_lab.experiment.prepare import prepare
    from vae_lab.experiment.run import train
    from vae_lab.storage.run_folder import RunFolder


@record
def main(path: str, parent: str, quiet: str = "") -> None:
    """Run the job; a failure is recorded for the agent, in process `parent`, of the group."""
    group.die_with_parent(int(parent))
    folder = RunFolder(path)
    with Interruption.heeded():
        job = prepare(OmegaConf.create(folder.config()), folder, labels={})
        train(job, Console(quiet=bool(quiet) or group.rank() > 0))


if __name__ == "__main__":
    main(*sys.argv[1:])
