"""Score a trained VAE on its test split: `python evaluate.py run=<run folder or checkpoint>`."""

from vae_lab.commands.start import start

if __name__ == "__main__":
    start("evaluate")
