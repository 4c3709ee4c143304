"""Score a trained VAE on its test split: `python evaluate.py run=<run folder or checkpoint>`."""

import os

# Threads that wait should sleep: spinning, they make small models several times slower on a
# busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch is imported

from vae_lab.commands.cli import main
from vae_lab.commands.evaluate import evaluate_task

if __name__ == "__main__":
    main(evaluate_task, "evaluate")
