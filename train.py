"""Train a VAE: `python train.py model=conv_vae data=cifar10`. Choices: `python train.py --help`."""

from vae_lab.launch import main, train_task

if __name__ == "__main__":
    main(train_task, "train")
