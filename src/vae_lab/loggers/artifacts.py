"""What a W&B run keeps of its run folder, as artifacts that carry where they came from."""

from pathlib import Path
from typing import Any

from vae_lab.storage.checkpoint import checkpoint_path, read_checkpoint


def log_checkpoint(run: Any, folder: Path) -> None:
    """The checkpoint that stands for a finished run, as a model artifact of the W&B `run`."""
    import wandb

    kept = checkpoint_path(folder)
    content = read_checkpoint(kept)
    origin = {**_origin(content["vae_lab"]), "epochs": content["epoch"] + 1}
    model = wandb.Artifact(f"model-{run.id}", "model", metadata=origin)
    model.add_file(str(kept))
    run.log_artifact(model, aliases=["latest", kept.stem])


def log_figures(run: Any, folder: Path) -> None:
    """The run's last figures, samples among them, as one artifact of the W&B `run`."""
    import wandb

    kept = checkpoint_path(folder)
    record = read_checkpoint(kept)["vae_lab"]
    tested = record["config"]["test"] and record["data"]["sizes"]["test"]
    drawn_from = kept.stem if tested else "last"  # a test loads what was kept, and draws anew
    origin = {**_origin(record), "checkpoint": drawn_from}
    figures = wandb.Artifact(f"figures-{run.id}", "figures", metadata=origin)
    for path in sorted(folder.glob("figures/*.png")):
        figures.add_file(str(path))
    run.log_artifact(figures)


def _origin(record: dict[str, Any]) -> dict[str, Any]:
    """Without it a metric means nothing; the W&B run's own configuration says the rest."""
    config = record["config"]
    return {
        "name": config["name"],
        "seed": config["seed"],
        "dataset": config["data"]["_target_"],
        "likelihood": config["model"]["likelihood"]["_target_"],
        **{key: record[key] for key in ("data", "measure", "parameters", "commit", "versions")},
    }
