"""The `--help` of a command that Hydra composes: its YAML says it all, so no torch is needed."""

import sys
from contextlib import suppress

import hydra

from vae_lab.config.compose import VERSION_BASE, conf_dir, in_multirun


def show(command: str) -> None:
    """Print what a command takes, and leave; return where the rest of the command line is wrong.

    The command itself then tells what is wrong with it.
    """
    sys.argv[1:] = in_multirun(sys.argv[1:])
    nothing = hydra.main(config_path=str(conf_dir()), config_name=command, **VERSION_BASE)
    with suppress(Exception):
        nothing(lambda cfg: None)()
