import math

import pytest
import torch
from parts import exact_trace

from vae_lab.config.allowed import check_parts
from vae_lab.errors import InputError
from vae_lab.model.context import Context
from vae_lab.objectives import ELBO, IWAE, Constant, Cyclical, LinearWarmup, Objective, elbo

CONTEXT = Context((6,), None, (3,))


def at(schedule: torch.nn.Module, *epochs: float) -> list[float]:
    return [float(schedule(torch.tensor(epoch))) for epoch in epochs]


def test_schedules() -> None:
    assert at(Constant(4.0), 0, 9) == [4, 4]
    assert at(LinearWarmup(10, start=0.5), 0, 5, 10, 20) == [0.5, 0.75, 1, 1]
    assert at(Cyclical(10, ramp=0.5), 0, 2.5, 5, 9, 10, 12.5) == [0, 0.5, 1, 1, 0, 0.5]


def test_schedules_rest_at_infinity() -> None:
    for schedule, beta in ((Constant(4.0), 4), (LinearWarmup(10, start=0.3), 1), (Cyclical(3), 1)):
        assert at(schedule, math.inf) == [pytest.approx(beta)]


@pytest.mark.parametrize(
    ("objective", "monitor"),
    [
        (ELBO(CONTEXT, Constant()), "elbo"),
        (ELBO(CONTEXT, LinearWarmup(10, start=0.3)), "elbo"),  # which is what it comes to
        (ELBO(CONTEXT, Cyclical(3)), "elbo"),
        (ELBO(CONTEXT, Constant(0.1)), "objective"),
        (IWAE(CONTEXT), "objective"),
    ],
)
def test_an_objective_selects_on_its_own_value_unless_that_is_the_elbo(
    objective: Objective, monitor: str
) -> None:
    assert objective.monitor == monitor


def test_schedules_stay_tensors() -> None:
    epoch = torch.tensor(3.0)
    for schedule in (Constant(), LinearWarmup(5), Cyclical(5)):
        assert isinstance(schedule(epoch), torch.Tensor)


def test_elbo_follows_its_schedule() -> None:
    trace, _ = exact_trace()
    objective = ELBO(CONTEXT, LinearWarmup(10))
    torch.testing.assert_close(objective(trace, torch.tensor(5.0)), elbo(trace, 0.5))
    assert objective.monitor == "elbo"
    assert objective.warmup_epochs == 10


def test_only_the_plain_elbo_says_nothing_of_itself() -> None:
    assert ELBO(CONTEXT, Constant(1.0)).describe() == ""
    assert "beta 4" in ELBO(CONTEXT, Constant(4.0)).describe()
    assert "10 epochs" in ELBO(CONTEXT, LinearWarmup(10)).describe()


def test_iwae_of_one_draw_is_refused() -> None:
    trace, _ = exact_trace(draws=1)
    with pytest.raises(InputError, match="num_draws"):
        IWAE(CONTEXT)(trace, torch.tensor(0.0))


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Constant, {"value": -1}),
        (LinearWarmup, {"epochs": 0}),
        (Cyclical, {"period": 0}),
        (Cyclical, {"period": 5, "ramp": 0}),
    ],
)
def test_senseless_schedules_are_refused(kind: type, arguments: dict[str, float]) -> None:
    node = {"_target_": f"vae_lab.objectives.{kind.__name__}", **arguments}
    with pytest.raises(InputError, match="objective.beta"):
        check_parts(node, "objective.beta")
