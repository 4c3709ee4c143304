"""How well a model explains data: the ELBO's terms and the importance-weighted evidence."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vae_lab.cpu.matmul import fast_matmul
from vae_lab.errors import InputError
from vae_lab.estimators import sampled
from vae_lab.evaluation.bound import GroupedBound, draw_counts
from vae_lab.evaluation.metrics import centres, means
from vae_lab.model import LatentVariableModel
from vae_lab.objectives import elbo
from vae_lab.seeding import reseed
from vae_lab.support import Support
from vae_lab.trace import Batch

SHARES = 10
"""Equal shares of the draws: what one alone would have found tells whether more would help."""


@dataclass(frozen=True)
class Evidence:
    """Per datum, in nats where not said, each (N,) in float64; rows of data are independent."""

    elbo: Tensor  # one-draw estimates, averaged over the K draws
    rate: Tensor  # KL(q(z|x) || p(z))
    distortion: Tensor  # -E_q log p(x|z)
    log_px: Tensor  # importance-weighted bound on log p(x), K draws
    rise: Tensor  # of that bound, 0 or more, from one share of the draws (their mean) to all K
    effective_draws: Tensor  # (sum w)^2 / sum w^2, of weights w = p(x, z) / q(z|x): from 1 to K
    codes: Tensor  # (N, units), the centre of q(z|x)
    means: Tensor  # (N, units), E_q[z|x]: other than the centre where z is discrete
    bounds: Tensor  # (N, counts), the importance-weighted bound of each of `draw_counts(K)`
    rates: Tensor  # (N, L), of each latent layer, top to bottom


@torch.no_grad()
def evidence(
    model: LatentVariableModel,
    batches: Iterable[Batch],
    num_draws: int,
    memory_mib: float | None,
    seed: int,
) -> Iterator[Evidence]:
    """The evidence of each batch, with `num_draws` draws of z per datum taken in chunks.

    A chunk takes as many draws as `memory_mib` MiB allow (None: as `memory_for` has it), at least
    one, and no weight is kept. The importance-weighted bound (Burda et al. 2016) rises towards
    log p(x) with `num_draws`; at 1 its mean is the ELBO's.
    """
    per_draw = bytes_per_draw(model)
    if memory_mib is None:
        memory_mib = memory_for(next(model.parameters()).device)
    for number, batch in enumerate(batches):
        reseed(batch.x.device, seed, "evidence", number)
        trace_of = model.given(batch)
        chunk = max(1, min(num_draws, int(memory_mib * 2**20 / (per_draw * len(batch.x)))))
        weights, terms = _Weights(num_draws), torch.zeros((), dtype=torch.float64)
        bounds = [GroupedBound(k) for k in draw_counts(num_draws)]
        for start in range(0, num_draws, chunk):
            draws = min(chunk, num_draws - start)
            trace = trace_of(sampled(draws))
            log_w = trace.log_w.double().cpu()
            weights.add(log_w)
            for bound in bounds:
                bound.add(log_w)
            found = elbo(trace), -trace.log_px.mean(0), *trace.kl.mean(1)
            terms = terms + torch.stack(found).double().cpu() * draws / num_draws
        codes, mean = centres(trace).double().cpu(), means(trace).double().cpu()
        value, distortion, rates = terms[0], terms[1], terms[2:]
        tightening = torch.stack([bound.mean for bound in bounds], 1)
        yield Evidence(
            value, rates.sum(0), distortion, *weights.summary(), codes, mean, tightening, rates.T
        )


@fast_matmul()
def log_evidence(
    model: LatentVariableModel, batch: Batch, num_draws: int, memory_mib: float | None, seed: int
) -> Tensor:
    """The importance-weighted bound on log p(x) of each datum, (B,), in nats.

    Raises InputError for a model of grey pixels, which has no likelihood, and for a point mass as
    posterior, which has no density.
    """
    if model.likelihood.support is Support.GREY:
        raise InputError(
            "cross-entropy on grey pixels is no likelihood: this model has no log_prob. Train with "
            "model/likelihood=bernoulli or continuous_bernoulli for one."
        )
    with torch.no_grad():
        if not model(batch[:1], sampled(1)).has_elbo:
            raise InputError(
                "the posterior is a point mass, which has no density: this model has no log_prob. "
                "Train with another model/posterior for one."
            )
    batches = (batch[start : start + 100] for start in range(0, len(batch.x), 100))
    scored = evidence(model, batches, num_draws, memory_mib, seed)
    return torch.cat([part.log_px for part in scored])


class _Weights:
    """What K importance weights of each datum say, of which only sums are kept."""

    def __init__(self, num_draws: int) -> None:
        shares = min(SHARES, num_draws)
        self.edges = torch.arange(shares + 1) * num_draws // shares
        self.seen, self.shares, self.squares = 0, torch.tensor(-torch.inf), torch.tensor(-torch.inf)

    def add(self, log_w: Tensor) -> None:
        """Add the next draws, (S, B)."""
        cuts = (self.edges - self.seen).clamp(0, len(log_w))[1:-1].tolist()
        shares = torch.stack([share.logsumexp(0) for share in log_w.tensor_split(cuts)])
        self.shares = torch.logaddexp(self.shares, shares)
        self.squares = torch.logaddexp(self.squares, (2 * log_w).logsumexp(0))
        self.seen += len(log_w)

    def summary(self) -> tuple[Tensor, Tensor, Tensor]:
        """The bound, its rise from one share to all, and the effective draws, each (B,)."""
        sizes = self.edges.diff().double()
        total = self.shares.logsumexp(0)
        bound = total - math.log(self.seen)
        alone = (sizes / self.seen) @ (self.shares - sizes.log().unsqueeze(1))
        return bound, (bound - alone).clamp(min=0), (2 * total - self.squares).exp()


def memory_for(device: torch.device) -> float:
    """MiB of activations that are computed at once, unless one says otherwise.

    A CPU is twice as fast where its caches hold them.
    """
    return 32 if device.type == "cpu" else 512


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
