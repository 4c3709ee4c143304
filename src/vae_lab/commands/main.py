"""The console command: `vae-lab train model=conv_vae`, or `python -m vae_lab train ...`."""

import os
import sys
from importlib import import_module

from vae_lab.errors import unknown

COMMANDS = {
    "train": "train a VAE: model=conv_vae data=cifar10",
    "evaluate": "score one on its test split: run=RUN",
    "export": "write one for use elsewhere: run=RUN",
    "table": "compare runs: RUN_OR_FOLDER ...",
    "dashboard": "create W&B's panels: ENTITY/PROJECT",
}


def main() -> None:
    """Run the command that the first argument names, with the others; alone, list them all."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        listed = [f"  vae-lab {command:<11}{does}" for command, does in COMMANDS.items()]
        print(*listed, "`vae-lab train --help` tells what it takes.", sep="\n")
        return
    if name not in COMMANDS:
        sys.exit(f"error: {unknown('command', name, COMMANDS)}")
    sys.argv = [f"vae-lab {name}", *arguments]
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as train.py does, before torch is read
    if name == "table":
        import_module("vae_lab.sweeps.table").main()
    elif name == "dashboard":
        import_module("vae_lab.loggers.dashboard").main()
    else:
        task = getattr(import_module(f"vae_lab.commands.{name}"), f"{name}_task")
        import_module("vae_lab.commands.cli").main(task, name)
