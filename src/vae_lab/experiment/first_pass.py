"""Whether the parts of a job fit together: one step that nothing is learned from shows it."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.errors import InputError
from vae_lab.estimators import sampled
from vae_lab.trace import Batch, Latent, Trace, has_fixed_support, is_discrete
from vae_lab.training.module import VAEModule
from vae_lab.training.step import step


def first_pass(module: VAEModule, batch: Batch) -> Trace:
    """Try one step, forward and backward; the trace of a plain draw, as evaluation sees the model.

    Raises InputError, naming the fix, for parts that refuse each other, for a posterior and a prior
    over different things, for a prior that leaves a part of z out, for an objective or a monitor
    that is not finite, and for weights that training would never change.
    """
    with torch.no_grad():
        trace: Trace = module.model(batch, sampled(1))
    for latent in trace.latents:
        _check_same_kind(latent)
        _check_prior_reaches(latent.p)
        _check_same_codes(latent)
    outcome = step(module.model, module.objective, module.estimator, batch, torch.tensor(0.0))
    with torch.no_grad():
        at_rest = module.objective(outcome.trace, torch.tensor(torch.inf))  # as validation asks it
    for when, values in (("first step", outcome.objective), ("end of its schedule", at_rest)):
        _check_finite(module, trace, values, when)
    outcome.surrogate.mean().backward()
    _check_all_learn(module)
    module.zero_grad()
    return trace


def _check_same_kind(latent: Latent) -> None:
    kinds = {True: "discrete", False: "continuous"}
    q, p = kinds[is_discrete(latent.q)], kinds[is_discrete(latent.p)]
    if q != p:
        raise InputError(
            f"the posterior is {q} and the prior {p}: choose a model/prior that is {q} too."
        )


def _check_finite(module: VAEModule, trace: Trace, values: Tensor, when: str) -> None:
    name, is_finite = type(module.objective).__name__, bool(values.isfinite().all())
    if trace.has_elbo:
        if not is_finite:
            raise InputError(
                f"{name} is not finite at the {when}: choose other values of objective.*, nearer "
                "to those of its YAML."
            )
        return
    why = "the posterior is a point mass, which has no ELBO"
    if not is_finite:
        raise InputError(
            f"{name} is infinite here, since {why}: say objective=reconstruction, or choose "
            "another model/posterior."
        )
    if module.monitor == "val/elbo":
        raise InputError(f"monitor=elbo selects nothing, since {why}: say monitor=objective.")


def _check_prior_reaches(p: Distribution) -> None:
    """Where q draws outside of it, log p(z) is -inf."""
    if not has_fixed_support(p):
        raise InputError(
            "the prior leaves out all but a part of z, where log p(z) would be -inf: choose "
            "model/prior=standard_normal, or a posterior that reaches everywhere."
        )


def _check_same_codes(latent: Latent) -> None:
    """One-hot rows are no codes of a codebook, though a prior over them gives these a log p too."""
    if is_discrete(latent.q) and not bool(latent.p.support.check(latent.z).all()):  # type: ignore[union-attr]
        raise InputError(
            "the prior is over other codes than the posterior: choose another model/prior, such as "
            "uniform_codes or uniform_categorical."
        )


def _check_all_learn(module: VAEModule) -> None:
    """A weight without a gradient is no part of what is trained: several processes would stop."""
    weights = module.named_parameters()
    still = [name for name, weight in weights if weight.requires_grad and weight.grad is None]
    if not still:
        return
    part = ".".join(still[0].split(".")[:2])
    fix = "choose another"
    if part == "model.prior":
        fix = "say model/prior=standard_normal, and fit this one afterwards by vae-lab fit_prior"
    raise InputError(
        f"{type(module.objective).__name__} does not train {part} ({still[0]} gets no gradient): "
        f"{fix}."
    )
