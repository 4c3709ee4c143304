"""The fit_prior command, and the same from Python: a prior fitted afterwards to a model's codes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Column, Table

from vae_lab.commands.cli import wanted_checkpoint
from vae_lab.commands.run_data import check_place, device_of, run_data
from vae_lab.config import build
from vae_lab.config.allowed import trusted
from vae_lab.config.compose import compose_config
from vae_lab.config.explain import check_choices, explain
from vae_lab.config.settings import FitPriorSettings, check_settings, settings_from
from vae_lab.data import ImageDataModule
from vae_lab.errors import InputError, cannot_write, explained, out_of_memory
from vae_lab.evaluation.figures import prior_samples, save_figures
from vae_lab.evaluation.statistics import Estimate, mean_estimate
from vae_lab.model import VAE
from vae_lab.model.context import Context
from vae_lab.model.priors import StandardNormal
from vae_lab.model.priors.standardized import Standardized
from vae_lab.storage.checkpoint import run_folder
from vae_lab.storage.prior_file import digest_of, prior_path, read_prior, write_prior
from vae_lab.storage.provenance import commit
from vae_lab.terminal import say
from vae_lab.trace import is_discrete
from vae_lab.trained import TrainedVAE, load
from vae_lab.training.prior_fit import Draws, FitSettings, PriorOf, aggregate_draws, fit, nll_of_all

ELSEWHERE = "move it away, or fit to a copy of the run, in a folder that can"
SIZES = "the prior's sizes, such as model.prior.components, or fit_prior.batch_size"


@dataclass(frozen=True)
class FittedPrior:
    """A prior fitted to a run's codes; `load(run)` samples from it from now on."""

    path: Path  # of prior.ckpt
    nll: dict[str, Estimate]  # of the validation data's codes, in nats, under each prior by name
    epoch: int  # the best, counted from 1; 0 where none was better than the start

    def load(self) -> TrainedVAE:
        """The trained model with its prior. See `vae_lab.load`."""
        return load(self.path.parent)


def fit_prior_task(cfg: DictConfig) -> None:
    """The fit_prior command: fit, write prior.ckpt and a figure, and print a table."""
    _fit_prior(cfg, Console())


def fit_prior(
    run: str | os.PathLike[str], overrides: Sequence[str] = (), quiet: bool = False
) -> FittedPrior:
    """Fit a prior as `vae-lab fit_prior run=RUN OVERRIDES` does.

    Args:
        run: A run or its folder, whose best checkpoint, else its last, is taken; or a checkpoint.
        overrides: Hydra overrides, such as ["model/prior=flow", "fit_prior.epochs=20"].
        quiet: No table.

    Raises:
        InputError: For bad input, in one line that names the fix, before anything is written; and
            where held-out codes are worse explained by the prior than by the model's own.
    """
    asked = [f"run={os.fspath(run)}", *overrides]
    with explained(partial(explain, overrides=asked)):
        check_choices(overrides)
        cfg = compose_config("fit_prior", overrides)
        cfg.run = os.fspath(run)
        with torch.random.fork_rng():
            return _fit_prior(cfg, Console(quiet=quiet))


def _fit_prior(cfg: DictConfig, console: Console) -> FittedPrior:
    path, asked = wanted_checkpoint(cfg), cfg.fit_prior
    check_settings(asked, [FitPriorSettings, FitSettings], "fit_prior.")
    settings = settings_from(asked, FitSettings)
    device = device_of(asked, "fit_prior")
    trained = load(path, device)
    model = trained.model
    if not isinstance(model, VAE):
        raise InputError(
            "a prior is fitted to codes that stand alone, of one latent layer, which a "
            f"{type(model).__name__} lacks: choose a run of another model."
        )
    torch.manual_seed(settings.seed)
    parts: Any = OmegaConf.to_container(cfg.model, resolve=True)
    config = parts.get("prior")
    context = Context(model.x_shape, model.num_classes, model.z_shape, posterior=model.posterior)
    prior = build.prior(config, context).to(device)
    out = prior_path(run_folder(path))
    figure = out.parent / "evaluation" / "samples_prior.png"
    check_place(out, figure, fix=ELSEWHERE)
    data = run_data(trained, asked, "fit_prior")
    is_code = _is_discrete(model, data, prior, device)
    train, held_out = _draws(model, data, settings, device)
    priors: dict[str, PriorOf] = {f"the model's own, {type(model.prior).__name__}": model.p_z}
    if not is_code:  # discrete ones have no units
        plain = Standardized(StandardNormal(Context(model.x_shape, None, model.z_shape)))
        priors["a Gaussian, unit by unit"] = plain.to(device)
        for each in (plain, prior):
            each.standardize(train.z)
    say(console, f"{len(train.z)} codes of {trained.record['config']['name']}, {path.name}")
    with console.status("") as status:
        with explained(lambda error: out_of_memory(error, lower=SIZES)):
            epoch = fit(
                prior, train, held_out, settings,
                lambda e, value: status.update(f"epoch {e} of {settings.epochs}: {value:.2f} nats"),
            )  # fmt: skip
    priors[f"fitted, {type(prior.prior).__name__}"] = prior
    nll = {name: mean_estimate(nll_of_all(p, held_out), "nats") for name, p in priors.items()}
    own, *_, fitted = nll.values()
    _check_better(own, fitted)
    before = _nll_before(out, model)
    with explained(partial(cannot_write, out, ELSEWHERE)):
        if len(model.x_shape) == 3:
            save_figures({"samples_prior": prior_samples(model, priors)}, out.parent / "evaluation")
        write_prior(out, {
            "prior": config,
            "state_dict": {name: value.cpu() for name, value in prior.state_dict().items()},
            "weights": digest_of(model.state_dict()),
            "nll": {name: [e.value, e.standard_error] for name, e in nll.items()},
            "epoch": epoch,
            "commit": commit(*trusted()),
        })  # fmt: skip
    _print(console, nll, epoch, f"{out}{before}")
    return FittedPrior(out, nll, epoch)


def _draws(
    model: VAE, data: ImageDataModule, settings: FitSettings, device: torch.device
) -> tuple[Draws, Draws]:
    """Of the training and of the validation data."""
    if not len(data.splits["val"]):
        raise InputError(
            "the run kept no validation data, which say when a prior fits: train with "
            "data.val_size above 0."
        )
    train, held_out = (
        aggregate_draws(model, data.batches(split, 1000, device), split, settings.seed)
        for split in ("train", "val")
    )
    return train, held_out


def _is_discrete(
    model: VAE, data: ImageDataModule, prior: Standardized, device: torch.device
) -> bool:
    """Whether the codes are. Raises InputError where the prior is of the other kind."""
    some = data.random_items("train", 2, device, seed=0)
    of_codes = is_discrete(model.q_z(some.x, some.y))
    if of_codes == is_discrete(prior.prior(some.y)):
        return of_codes
    if of_codes:
        raise InputError(
            "the codes are discrete, this prior is not: say model/prior=autoregressive."
        )
    raise InputError("this prior is discrete, the codes are not: choose another model/prior.")


def _check_better(own: Estimate, fitted: Estimate) -> None:
    if fitted.value > own.value:
        raise InputError(
            f"nothing is written: of held-out codes the fitted prior's NLL, {fitted.value:.2f} "
            f"nats, is worse than that of the model's own, {own.value:.2f}. Raise "
            "fit_prior.epochs, or say another model/prior."
        )


def _nll_before(out: Path, model: VAE) -> str:
    """What a prior fitted earlier reached, in words, as it is about to be replaced."""
    try:
        *_, (value, _) = read_prior(out, digest_of(model.state_dict()))["nll"].values()
    except (InputError, KeyError, ValueError):
        return ""
    return f", in place of one of {value:.2f} nats"


def _print(console: Console, nll: dict[str, Estimate], epoch: int, out: str) -> None:
    numbers = (Column(name, justify="right") for name in ("NLL, nats", "+- s.e."))
    table = Table("prior of the validation data's codes", *numbers)
    for name, found in nll.items():
        error = "" if found.standard_error is None else f"{found.standard_error:.2f}"
        table.add_row(name, f"{found.value:.2f}", error)
    console.print(table)
    best = (
        f"Epoch {epoch} was the best, by these"
        if epoch
        else "Gradient steps made it no better than its start"
    )
    say(console, f"{best}. Written: {out}. vae_lab.load samples from it.")
