"""What a run says: at its start what may surprise, at its end a short table."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from vae_lab.experiment.prepare import Job
from vae_lab.loggers import WandB
from vae_lab.support import Support


def announcement(job: Job) -> list[str]:
    """The lines that say what is about to happen, above all where one would not assume it."""
    cfg, datamodule, module = job.cfg, job.datamodule, job.module
    sizes = "/".join(str(count) for count in module.record["data"]["sizes"].values())
    how = datamodule.preparation.describe()
    lines = [
        f"{cfg.name}: {module.record['parameters']:,} parameters, {datamodule.source.name} {sizes} "
        f"(split {datamodule.split_hash}, {how}), seed {cfg.seed}",
        f"Run folder: {job.folder}",
    ]
    if job.start is not None:
        path, content = job.start
        lost = "" if path.name == "last.ckpt" else "last.ckpt cannot be read: "
        lines.append(
            f"{lost}goes on from {path.name}, epoch {content['epoch']}, step "
            f"{content['global_step']}."
        )
    elif cfg.init_from is not None:
        lines.append(f"Starts from the weights of {cfg.init_from}.")
    lines += _global_batch(job)
    if cfg.ema:
        lines.append(
            f"EMA of weights, decay {cfg.ema.decay}: validated, selected, tested and kept are the "
            "averaged ones."
        )
    if module.objective.describe():
        lines.append(f"Trains another objective than the ELBO: {module.objective.describe()}.")
    if not all(latent.has_closed_form_kl for latent in job.trace.latents):
        lines.append("The KL has no closed form here: rate and ELBO are Monte Carlo estimates.")
    if module.model.likelihood.support is Support.GREY:
        lines.append(
            "Cross-entropy on grey pixels is no likelihood: its values are not log-likelihoods."
        )
    return lines + [logger.how_to_view() for logger in job.loggers if isinstance(logger, WandB)]


def _global_batch(job: Job) -> list[str]:
    """What one step sees, where that is more than the batch that was asked for."""
    accumulated, size = job.cfg.trainer.accumulate_grad_batches, job.cfg.data.batch_size
    shares = [f"{job.processes} processes"] * (job.processes > 1)
    shares += [f"{accumulated} batches a step"] * (accumulated > 1)
    total = job.processes * accumulated * size
    told = f"each of {size}: a global batch of {total}, learning rate {job.cfg.optimizer.lr}"
    return [f"{', '.join(shares)}, {told} as configured."] if shares else []


def say(console: Console, line: str) -> None:
    """Print a line as it is, whatever its length and the characters in it."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def report(console: Console, job: Job, best: float | None, metrics: Mapping[str, float]) -> None:
    """Print the short table at the end."""
    module = job.module
    table = Table(title=str(job.cfg.name), title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    nats = "nats (log p(x|y))" if module.model.reads_labels else "nats"
    if best is not None:
        table.add_row(f"best {module.monitor}, {nats}", f"{best:.2f}")
    else:
        table.add_row(f"train/elbo of the last epoch, {nats}", f"{metrics['train/elbo']:.2f}")
    units = {"bits_per_dim": "", "active_units": f" of {module.model.num_units}"}
    for name, value in metrics.items():
        split, _, metric = name.partition("/")
        if split == "test":
            digits = 3 if metric == "bits_per_dim" else 2
            table.add_row(f"{name}{units.get(metric, ', nats')}", f"{value:.{digits}f}")
    console.print(table)
    say(console, f"Run folder: {job.folder}")
    say(console, f"Score it: python evaluate.py run={job.folder}")
