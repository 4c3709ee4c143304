"""How well a model explains data: the ELBO's terms and the importance-weighted evidence."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vae_lab.estimators import sampled
from vae_lab.evaluation.metrics import centres
from vae_lab.model import LatentVariableModel
from vae_lab.objectives import elbo
from vae_lab.seeding import reseed
from vae_lab.trace import Batch


@dataclass(frozen=True)
class Evidence:
    """Per datum, in nats, each (N,) in float64; rows of different data are independent."""

    elbo: Tensor  # one-draw estimates, averaged over the K draws
    rate: Tensor  # KL(q(z|x) || p(z))
    distortion: Tensor  # -E_q log p(x|z)
    log_px: Tensor  # importance-weighted bound on log p(x), K draws
    codes: Tensor  # (N, units), the centre of q(z|x)


@torch.no_grad()
def evidence(
    model: LatentVariableModel,
    batches: Iterable[Batch],
    num_draws: int,
    memory_mib: float,
    seed: int,
) -> Iterator[Evidence]:
    """The evidence of each batch, with `num_draws` draws of z per datum taken in chunks.

    A chunk takes as many draws as `memory_mib` MiB allow, at least one. The importance-weighted
    bound (Burda et al. 2016) rises towards log p(x) with `num_draws`; at 1 its mean is the ELBO's.
    """
    per_draw = bytes_per_draw(model)
    for number, batch in enumerate(batches):
        reseed(batch.x.device, seed, "evidence", number)
        trace_of = model.given(batch)
        chunk = max(1, min(num_draws, int(memory_mib * 2**20 / (per_draw * len(batch.x)))))
        log_w, bound, rate, distortion = [], [], [], []
        for start in range(0, num_draws, chunk):
            draws = min(chunk, num_draws - start)
            trace = trace_of(sampled(draws))
            log_w.append(trace.log_w.double())
            bound.append(elbo(trace).double() * draws)
            rate.append(trace.kl.sum(0).mean(0).double() * draws)
            distortion.append(-trace.log_px.mean(0).double() * draws)
        log_px = torch.cat(log_w).logsumexp(0) - math.log(num_draws)
        mean_bound, mean_rate, mean_distortion = (
            torch.stack(sums).sum(0).cpu() / num_draws for sums in (bound, rate, distortion)
        )
        codes = centres(trace).double().cpu()
        yield Evidence(mean_bound, mean_rate, mean_distortion, log_px.cpu(), codes)


@torch.no_grad()
def bytes_per_draw(model: LatentVariableModel) -> int:
    """Bytes that one draw of one datum takes at the most: all that its operations allocate."""
    device = next(model.parameters()).device
    y = None if model.num_classes is None else torch.zeros(1, dtype=torch.long, device=device)
    batch = Batch(torch.zeros(1, *model.x_shape, device=device), y, torch.zeros(1))
    trace_of = model.given(batch)
    with torch.random.fork_rng(), _Allocations() as allocations:
        _ = trace_of(sampled(1)).log_w
    return max(allocations.total, 1)


class _Allocations(TorchDispatchMode):
    """Counts the bytes of all that operations return, views aside."""

    total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.total += sum(t.nbytes for t in tree_leaves(found) if isinstance(t, Tensor))
        return found
