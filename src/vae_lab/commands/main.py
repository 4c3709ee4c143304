"""The console command: `vae-lab train model=conv_vae`, or `python -m vae_lab train ...`."""

import sys
from importlib import import_module

from vae_lab.commands.start import begin, importing, start
from vae_lab.errors import unknown

COMMANDS = {
    "train": "train a VAE: model=conv_vae data=cifar10",
    "evaluate": "score one on its test split: run=RUN",
    "fit_prior": "fit a prior to one's codes afterwards: run=RUN",
    "encode": "write the codes of a whole data set: run=RUN",
    "gradients": "measure the noise of every estimator's gradient: run=RUN",
    "export": "write one for use elsewhere: run=RUN",
    "table": "compare runs: RUN_OR_FOLDER ...",
    "estimators": "print what each estimator serves",
    "dashboard": "create W&B's panels: ENTITY/PROJECT",
}
_OTHERS = {
    "table": "vae_lab.sweeps.table",
    "estimators": "vae_lab.commands.estimators",
    "dashboard": "vae_lab.loggers.dashboard",
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
    if name in _OTHERS:
        begin()
        with importing():
            module = import_module(_OTHERS[name])
        module.main()
    else:
        start(name)
