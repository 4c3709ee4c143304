"""What a run says: at its start what may surprise, at its end a short table."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from vae_lab.experiment.prepare import Job
from vae_lab.loggers import WandB
from vae_lab.support import Support
from vae_lab.training.module import VAEModule


def announce(console: Console, job: Job) -> None:
    """Say what is about to happen, above all where it is not what one would assume."""
    cfg, datamodule, module, processes = job.cfg, job.datamodule, job.module, job.processes
    sizes = "/".join(str(count) for count in module.record["data"]["sizes"].values())
    preparation = datamodule.preparation
    how = preparation.describe()
    said = [
        f"{cfg.name}: {module.record['parameters']:,} parameters, {datamodule.source.name} {sizes} "
        f"(split {datamodule.split_hash}, {how}), seed {cfg.seed}",
        f"Run folder: {module.record['config']['run_dir']}",
    ]
    if job.start is not None:
        path, content = job.start
        lost = "" if path.name == "last.ckpt" else "last.ckpt cannot be read: "
        said.append(
            f"{lost}goes on from {path.name}, epoch {content['epoch']}, step "
            f"{content['global_step']}."
        )
    elif cfg.init_from is not None:
        said.append(f"Starts from the weights of {cfg.init_from}.")
    accumulated = cfg.trainer.accumulate_grad_batches
    if processes * accumulated > 1:
        shares = [f"{processes} processes"] * (processes > 1)
        shares += [f"{accumulated} batches a step"] * (accumulated > 1)
        size = cfg.data.batch_size
        said.append(
            f"{', '.join(shares)}, each of {size}: a global batch of "
            f"{processes * accumulated * size}, learning rate {cfg.optimizer.lr} as configured."
        )
    if cfg.ema:
        said.append(
            f"EMA of weights, decay {cfg.ema.decay}: validated, selected, tested and kept are the "
            "averaged ones."
        )
    if module.objective.describe():
        said.append(f"Trains another objective than the ELBO: {module.objective.describe()}.")
    if not all(latent.has_closed_form_kl for latent in job.trace.latents):
        said.append("The KL has no closed form here: rate and ELBO are Monte Carlo estimates.")
    if module.model.likelihood.support is Support.GREY:
        said.append(
            "Cross-entropy on grey pixels is no likelihood: its figures are not log-likelihoods."
        )
    hyperparameters = {
        **module.record["config"],
        "split_hash": datamodule.split_hash,
        "eval_hash": datamodule.eval_hash,
        "commit": module.record["commit"],
        "parameters": module.record["parameters"],
    }
    for logger in job.loggers:
        logger.log_hyperparams(hyperparameters)
        if isinstance(logger, WandB):
            logger.define_summaries(module.monitor)
            said.append(logger.how_to_view())
    for line in said:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def report(
    console: Console,
    module: VAEModule,
    folder: Path,
    best: float | None,
    metrics: Mapping[str, float],
) -> None:
    """The short table at the end."""
    table = Table(title=f"{module.record['config']['name']}", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    conditional = " (log p(x|y))" if module.model.reads_labels else ""
    if best is not None:
        table.add_row(f"best {module.monitor}, nats{conditional}", f"{best:.2f}")
    else:
        last = metrics["train/elbo"]
        table.add_row(f"train/elbo of the last epoch, nats{conditional}", f"{last:.2f}")
    units = {"bits_per_dim": "", "active_units": f" of {module.model.num_units}"}
    for name, value in metrics.items():
        split, _, figure = name.partition("/")
        if split == "test":
            unit = units.get(figure, ", nats")
            table.add_row(f"{name}{unit}", f"{value:.{3 if figure == 'bits_per_dim' else 2}f}")
    console.print(table)
    console.print(f"Run folder: {folder}", highlight=False, markup=False, soft_wrap=True)
    console.print(
        f"Score it: python evaluate.py run={folder}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
