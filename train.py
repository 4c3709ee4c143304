"""Train a VAE: `python train.py model=conv_vae data=cifar10`. Choices: `python train.py --help`."""

import os

# Threads that wait should sleep: spinning, they make small models several times slower on a
# busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch is imported

from vae_lab.commands.cli import main
from vae_lab.commands.train import train_task

if __name__ == "__main__":
    main(train_task, "train")
