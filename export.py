"""Write a trained VAE for use elsewhere: `python export.py run=<run folder or checkpoint>`."""

from vae_lab.commands.start import start

if __name__ == "__main__":
    start("export")
