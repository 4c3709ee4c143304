"""Every posterior with every prior: they train, or are refused in one line, and by a rule."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from parts import CONF, batch, choices, needs, training

from vae_lab import InputError
from vae_lab.config import build
from vae_lab.config.compose import compose_config
from vae_lab.estimators import sampled
from vae_lab.experiment.first_pass import first_pass
from vae_lab.trace import is_discrete
from vae_lab.training.module import VAEModule

POSTERIORS, PRIORS = choices("model/posterior"), choices("model/prior")
DATA = batch((1, 8, 8), 8)


@cache
def composed(*overrides: str) -> DictConfig:
    small = ("data=digits", "model.encoder.widths=[8]", "model.decoder.widths=[8]")
    cfg = compose_config("train", [*small, *overrides])
    cfg.data.x_shape = [1, 8, 8]
    return cfg


def job(model: str, posterior: str, prior: str, num_classes: int | None = 10) -> VAEModule:
    """What trains a model with these parts, and with what they say that they need beside them."""
    parts = {"posterior": posterior, "prior": prior}
    said = [need for group, name in parts.items() for need in needs(f"model/{group}", name)]
    beside = [need for need in said if not need.startswith("model/")]
    cfg = composed(f"model={model}", *beside).copy()
    cfg.data.num_classes = num_classes
    for group, name in parts.items():
        cfg.model[group] = OmegaConf.load(CONF / "model" / group / f"{name}.yaml")
    module = training()
    module.model = build.model(cfg.model)
    module.model.initialise(lambda n: DATA[slice(n)])
    context = replace(module.model.context(), num_data=8)
    module.objective = build.instance(cfg.objective, "objective")(context)
    module.monitor = f"val/{module.objective.monitor}"
    module.estimator = build.instance(cfg.estimator, "estimator")
    return module


@torch.no_grad()
def fits(module: VAEModule) -> bool:
    """The rule: both are over the same codes or none, p has mass wherever q draws, and can learn.

    A point mass has no KL that a prior could learn from.
    """
    trace = module.model(DATA, sampled(20))
    (latent,) = trace.latents
    if not trace.has_elbo and list(module.model.prior.parameters()):
        return False
    if is_discrete(latent.q) != is_discrete(latent.p):
        return False
    if is_discrete(latent.q) and not latent.p.support.check(latent.z).all():  # other codes
        return False
    return bool((latent.p.log_prob(latent.z) > -torch.inf).all())


def of_own_shape(posterior: str, prior: str) -> bool:
    """Whether one of them says which shape z must have."""
    said = needs("model/posterior", posterior), needs("model/prior", prior)
    return any(need.startswith("model.z_shape") for each in said for need in each)


@pytest.mark.parametrize("model", ["mlp_vae", "cvae"])
def test_every_posterior_meets_every_prior(model: str) -> None:
    refused, unbuilt = {}, {}
    for posterior, prior in product(POSTERIORS, PRIORS):
        try:
            module = job(model, posterior, prior)
        except InputError as error:
            unbuilt[posterior, prior] = str(error)
            continue
        try:
            trace = first_pass(module, DATA)
        except InputError as error:
            refused[posterior, prior] = str(error)
        else:
            assert trace.log_px.isfinite().all()
        assert ((posterior, prior) not in refused) == fits(module), (posterior, prior)
    assert ("uniform", "vamp") in refused
    assert ("diagonal_gaussian", "standard_normal") not in refused
    for pair, reason in unbuilt.items():  # the one needs a z of another shape than the other
        assert of_own_shape(*pair)
        assert "model.z_shape" in reason
    for pair, reason in refused.items():
        print(*pair, reason)
        assert "\n" not in reason
        assert "model/prior" in reason  # it names the fix


@pytest.mark.parametrize("prior", PRIORS)
def test_priors_that_read_labels_refuse_data_without(prior: str) -> None:
    said = dict(need.split("=", 1) for need in needs("model/prior", prior))
    partner = said.get("model/posterior", "diagonal_gaussian")
    if job("mlp_vae", partner, prior).model.prior.reads_labels:
        with pytest.raises(InputError, match="labels"):
            job("mlp_vae", partner, prior, num_classes=None)
    else:
        assert not job("mlp_vae", partner, prior, num_classes=None).model.reads_labels


@pytest.mark.process
def test_a_multirun_over_both(
    command: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    finished = command(
        "train.py", "-m", "model/prior=mixture,vamp", "model/posterior=flow,uniform", "data=digits",
        "data.limit=8", "++trainer.limit_train_batches=1", "trainer.max_epochs=1", "logger=none",
        "trainer.accelerator=cpu", "callbacks.progress=null", "callbacks.figures=null",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )  # fmt: skip
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr + finished.stdout
    (refused,) = re.findall(r"error in job \d/4  (.*)", finished.stderr)
    assert "vamp" in refused
    assert "uniform" in refused
    assert "the prior leaves out all but a part of z" in refused
    assert len(list((tmp_path / "sweep").glob("*/result.json"))) == 3
