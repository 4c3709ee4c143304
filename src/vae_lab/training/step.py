"""One step of training, as a pure function of what it is given and of torch's generators.

No metric, guard, seed or read from the device lies within, so that it can be compiled, captured as
a CUDA graph, run many times in a row, or mapped over copies of a model.
"""

from dataclasses import dataclass

from torch import Tensor

from vae_lab.estimators import Estimator
from vae_lab.model import LatentVariableModel
from vae_lab.objectives import Objective
from vae_lab.trace import Batch, Trace


@dataclass(frozen=True)
class Outcome:
    """What a step gives."""

    trace: Trace
    values: Tensor  # (S, B), nats: what each draw is worth to the objective
    objective: Tensor  # (B,), nats: what is logged
    surrogate: Tensor  # (B,), nats: what is differentiated


def step(
    model: LatentVariableModel,
    objective: Objective,
    estimator: Estimator,
    batch: Batch,
    epoch: Tensor,
) -> Outcome:
    """One pass over a batch; minus the surrogate's mean is the loss.

    `epoch` is the time, a scalar tensor that grows within an epoch.
    """
    trace: Trace = model(batch, estimator.draw)
    values = objective.values(trace, epoch)
    surrogate = estimator.surrogate(objective, values, trace)
    return Outcome(trace, values, objective.reduce(values), surrogate)
