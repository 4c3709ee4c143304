"""Train a VAE: `python train.py model=conv_vae data=cifar10`. Choices: `python train.py --help`."""

from vae_lab.commands.start import start

if __name__ == "__main__":
    start("train")
