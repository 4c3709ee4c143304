"""What holds for every objective below conf/, whatever it is."""

from dataclasses import replace
from functools import partial
from math import inf

import pytest
import torch
from parts import batch, choices, vae

from vae_lab.config.build import instance
from vae_lab.config.compose import compose_config
from vae_lab.estimators import Pathwise
from vae_lab.model.context import Context
from vae_lab.model.posteriors import VectorQuantised
from vae_lab.model.priors import UniformCodes
from vae_lab.objectives import Objective, elbo
from vae_lab.trace import Trace

DRAWS = 3
NEUTRAL = {  # the setting at which one is the ELBO
    "elbo": ["beta.value=1"],
    "free_bits": ["nats=0"],
    "free_bits_total": ["nats=0"],
    "capacity": ["nats=0", "gamma=1"],
    "beta_tc": ["alpha=1", "beta=1", "gamma=1"],
    "info_vae": ["alpha=0", "lambda_=1"],
    "dip_i": ["lambda_od=0", "lambda_d=0"],
    "dip_ii": ["lambda_od=0", "lambda_d=0"],
    "vq": ["commitment=0"],
    "vae_gan": ["weight=0"],
    "late_adversary": ["weight=0", "beta.value=1"],
}
CODES = partial(
    vae, posterior=partial(VectorQuantised, codes=8), prior=UniformCodes, z_shape=(2, 3)
)
MODELS = {"vq": CODES}  # the others serve any


def built(choice: str, context: Context, *settings: str) -> Objective:
    cfg = compose_config("train", [f"objective={choice}", *(f"objective.{s}" for s in settings)])
    objective: Objective = instance(cfg.objective, "objective")(replace(context, num_data=100))
    return objective


def at(epoch: float) -> torch.Tensor:
    return torch.tensor(epoch)


@pytest.mark.parametrize("choice", choices("objective"))
def test_an_objective_keeps_its_promises(choice: str) -> None:
    model = MODELS.get(choice, vae)()
    objective = built(choice, model.context())
    trace: Trace = model(batch((1, 8, 8)), Pathwise(DRAWS).draw)
    values = objective.values(trace, at(0.5))
    assert values.shape == (DRAWS, 5)
    assert objective.reduce(values).shape == (5,)
    objective.reduce(values).mean().backward()
    for part in (model.encoder, model.decoder):
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients)
    with torch.no_grad():  # as validation asks, once its schedule rests
        is_elbo = torch.allclose(objective(trace, at(inf)), elbo(trace))
    for size in (5, 1):  # an epoch's last batch may be of one
        trace = model(batch((1, 8, 8), size), Pathwise(DRAWS).draw)
        assert objective(trace, at(inf)).isfinite().all()
    assert (objective.monitor == "elbo") == is_elbo
    assert is_elbo or objective.describe()


@pytest.mark.parametrize("choice", choices("objective"))
def test_what_reads_no_batch_gives_each_datum_its_own_value(choice: str) -> None:
    model = MODELS.get(choice, vae)()
    objective = built(choice, model.context())
    trace: Trace = model(batch((1, 8, 8)), Pathwise(DRAWS).draw)
    latent = trace.latents[0]
    q = model.q_z(trace.x[:2], None)
    part = replace(
        trace, x=trace.x[:2], p_x=model.p_x(latent.z[:, :2], None),
        latents=(replace(latent, z=latent.z[:, :2], q=q),),
    )  # fmt: skip
    alone = torch.allclose(objective(part, at(inf)), objective(trace, at(inf))[:2], atol=1e-4)
    assert alone or objective.reads_batch


@pytest.mark.parametrize("choice", NEUTRAL)
def test_at_its_neutral_setting_it_is_the_elbo(choice: str) -> None:
    model = MODELS.get(choice, vae)()
    objective = built(choice, model.context(), *NEUTRAL[choice])
    trace: Trace = model(batch((1, 8, 8)), Pathwise(DRAWS).draw)
    torch.testing.assert_close(objective(trace, at(inf)).mean(), elbo(trace).mean())
    assert objective.monitor == "elbo"
