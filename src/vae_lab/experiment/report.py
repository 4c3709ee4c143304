"""What a run says: at its start what may surprise, at its end a short table."""

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from vae_lab.evaluation.draws import NO_LIMIT, has_limit
from vae_lab.evaluation.measure import COMPLETES
from vae_lab.evaluation.metrics import BoundMetrics, by_layer
from vae_lab.experiment.prepare import Job
from vae_lab.loggers import WandB
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.model.networks import Network
from vae_lab.objectives import WeightedKL
from vae_lab.support import Support
from vae_lab.terminal import say
from vae_lab.training.module import VAEModule
from vae_lab.training.schedules import is_per_step

COLLAPSED = 0.1
"""A rate below it, in nats, is that of a posterior that does not depend on x."""


def announcement(job: Job) -> list[str]:
    """The lines that say what is about to happen, above all where one would not assume it."""
    cfg, datamodule, module = job.cfg, job.datamodule, job.module
    sizes = ", ".join(f"{count} {name}" for name, count in module.record["data"]["sizes"].items())
    how = datamodule.preparation.describe()
    lines = [
        f"{cfg.name}: {module.record['parameters']:,} parameters, seed {cfg.seed}",
        f"{datamodule.source.name}: {sizes} (split {datamodule.split_hash}, {how})",
        f"Run folder: {job.folder}",
    ]
    if job.start is not None:
        path, content = job.start
        lost = "" if path.name == "last.ckpt" else "last.ckpt cannot be used: "
        begun = content["epoch"] + 1  # as people count
        lines += job.notes
        lines.append(
            f"{lost}goes on from {path.name}, epoch {begun}, step {content['global_step']}."
        )
    elif cfg.init_from is not None:
        lines.append(f"Starts from the weights of {cfg.init_from}.")
    lines += _global_batch(job)
    if cfg.trainer.get("max_time") is not None and is_per_step(module.scheduler):
        lines.append(
            "The learning rate falls towards the end of trainer.max_epochs, which trainer.max_time "
            "may cut off: set these to what the time allows."
        )
    if cfg.ema:
        lines.append(
            f"EMA of weights, decay warming up to {cfg.ema.decay}: validated, selected, tested and "
            "kept are the averaged ones."
        )
    if module.trained:
        lines.append(
            f"Trains another objective than the ELBO: {module.trained}. "
            f"{module.monitor} selects (monitor={cfg.monitor})."
        )
    lines += _places_lost(module.model)
    if not job.trace.has_elbo:
        lines.append(
            "The posterior is a point mass: there is no ELBO, no rate and no NLL, and codes lie "
            "where they like. To sample, fit a prior to them afterwards: vae-lab fit_prior."
        )
    if module.model.observed:
        lines.append(f"{COMPLETES[0].upper()}{COMPLETES[1:]}.".format(module.model.observed))
    if not module.model.num_units:
        lines.append("There is no latent: what is called ELBO is the log-likelihood, no bound.")
    if not all(latent.has_closed_form_kl for latent in job.trace.latents):
        lines.append("The KL has no closed form here: rate and ELBO are Monte Carlo estimates.")
    if job.trace.has_elbo and not has_limit(job.trace.latents):
        lines.append(f"{NO_LIMIT[0].upper()}{NO_LIMIT[1:]}")
    if module.model.likelihood.support is Support.GREY:
        lines.append(
            "Cross-entropy on grey pixels is no likelihood: its values are not log-likelihoods."
        )
    wandb = [logger for logger in job.loggers if isinstance(logger, WandB)]
    return lines + [line for logger in wandb for line in logger.how_to_view()]


def _places_lost(model: LatentVariableModel) -> list[str]:
    """A word where z is made an image of codes, and its decoder makes nothing of their places."""
    if not isinstance(model, VAE) or len(model.z_shape) != 3:
        return []
    flat = [m for m in model.decoder.modules() if isinstance(m, Network) and not m.reads_images]
    return [
        f"z is an image of codes, {model.z_shape}, which the decoder, {type(network).__name__}, "
        "reads as a vector: model/decoder=spatial suits it."
        for network in flat
    ]


def _global_batch(job: Job) -> list[str]:
    """What one step sees, where that is more than the batch that was asked for."""
    accumulated, size = job.trainer.accumulate_grad_batches, job.cfg.data.batch_size
    shares = [f"{job.processes} processes"] * (job.processes > 1)
    shares += [f"{accumulated} batches a step"] * (accumulated > 1)
    total = job.processes * accumulated * size
    rate = job.cfg.optimizer.get("lr", "torch's own")
    told = f"each of {size}: a global batch of {total}, learning rate {rate}"
    lines = [f"{', '.join(shares)}, {told} as configured."] if shares else []
    if shares and job.module.objective.reads_batch:
        lines.append(f"The objective compares data: within each {size}, not the global batch.")
    return lines


def report(
    console: Console,
    job: Job,
    best: float | None,
    best_epoch: int | None,
    metrics: Mapping[str, float],
) -> None:
    """Print the short table at the end, and what should not be overlooked."""
    module = job.module
    table = Table()
    table.add_column("metric", overflow="fold")
    table.add_column("value", justify="right", no_wrap=True)
    given = "y" if module.model.reads_labels else module.model.observed
    nats = f"nats (log p(x|{given}))" if given else "nats"
    if best is not None:
        own = f" ({module.trained})" if module.monitor == "val/objective" else ""
        table.add_row(f"best {module.monitor}{own}, {nats}", f"{best:.2f}")
        table.add_row("its epoch", f"{best_epoch} of {job.trainer.current_epoch}")
    else:
        name = "train/elbo" if "train/elbo" in metrics else "train/objective"
        table.add_row(f"{name} of the last epoch, {nats}", f"{metrics[name]:.2f}")
    sizes = module.model.layer_sizes
    active = {"active_units": sum(sizes), **by_layer("active_units", sizes)}
    units = {
        "bits_per_dim": "",
        **by_layer("rate", [", nats"] * len(sizes)),
        **{metric: f" of {size}" for metric, size in active.items()},
        "objective": f" ({module.trained}), nats",
        "codebook_use": ", a share",
        "codebook_perplexity": ", codes",
    }
    for name, value in metrics.items():
        split, _, metric = name.partition("/")
        shown = metric in BoundMetrics.NAMES or metric in units
        if split == "test" and shown and (metric != "objective" or module.trained):
            digits = {"bits_per_dim": 3, **dict.fromkeys(active, 0)}.get(metric, 2)
            error = metrics.get(f"{name}_standard_error")
            within = "" if error is None else f" +- {error:.2f}"
            table.add_row(f"{name}{units.get(metric, ', nats')}", f"{value:.{digits}f}{within}")
    say(console, str(job.cfg.name))
    console.print(table)
    for line in remarks(module, best_epoch, job.trainer.current_epoch, metrics):
        say(console, line)
    has_test = len(job.datamodule.splits["test"]) > 0
    told = "Score it: python evaluate.py run=" if has_test else "Run folder: "
    say(console, f"{told}{job.folder}")


def remarks(
    module: VAEModule, best_epoch: int | None, epochs: int, metrics: Mapping[str, float]
) -> list[str]:
    """Lines on what a table of numbers does not show.

    Args:
        module: What was trained.
        best_epoch: Counted from 1; None where nothing was selected.
        epochs: How many there were.
        metrics: Each one's last value.
    """
    lines = []
    if best_epoch is not None and best_epoch <= epochs / 10:
        helps = "a smaller optimizer.lr, a smaller model, or early_stopping=patience"
        if module.monitor == "val/elbo" and module.objective.monitor != "elbo":
            helps = "monitor=objective, which selects on what is trained"
        lines.append(
            f"The best epoch was {best_epoch} of {epochs}: by {module.monitor}, all that followed "
            f"was worse, and what is kept is hardly trained. What helps: {helps}."
        )
    split = next((name for name in ("test", "val", "train") if f"{name}/rate" in metrics), None)
    if split is None or not module.model.num_units:
        return lines  # of a point mass, which nothing draws to the prior, or of no latent
    rate, active = metrics[f"{split}/rate"], metrics.get(f"{split}/active_units")
    found = ""
    if rate < COLLAPSED:
        units = "" if active is None else f", {active:.0f} units active"
        found = f"Collapsed: the posterior is nearly the prior (rate {rate:.2g} nats{units}), so z"
    elif active == 0:
        found = f"No unit's mean varies with x (0 active), though the rate is {rate:.2g} nats: it"
    if found:
        helps = "a weaker decoder"
        if isinstance(module.objective, WeightedKL):
            helps = (
                "a warm-up (objective/beta=linear_warmup), a smaller weight of the KL "
                f"(objective.beta.value), free bits (objective=free_bits), {helps}"
            )
        lines.append(f"{found} tells little of x. What helps: {helps}.")
    return lines
