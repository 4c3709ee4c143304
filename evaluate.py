"""Score a trained VAE on its test split: `python evaluate.py run=<run folder or checkpoint>`."""

from vae_lab.launch import main
from vae_lab.score import evaluate_task

if __name__ == "__main__":
    main(evaluate_task, "evaluate")
