"""Vector quantisation: codes are learned, as running means of what they stand for.

van den Oord, Vinyals and Kavukcuoglu, Neural Discrete Representation Learning, 2017
(https://arxiv.org/abs/1711.00937), appendix A.1; codes that fell out of use begin anew as in
Dhariwal et al., Jukebox, 2020 (https://arxiv.org/abs/2005.00341).
"""

from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor, distributed
from torch.distributions import Distribution

from vae_lab.arguments import Count
from vae_lab.errors import InputError
from vae_lab.model.distributions.quantised import Quantised
from vae_lab.model.posteriors.quantised import QuantisedFamily
from vae_lab.trace import Shape, full_precision

_MOST_NUMBERS = 2**28  # of a codebook: 1 GiB in float32
_FEWER = "lower model.posterior.codes"


class VectorQuantised(QuantisedFamily):
    """Each position of the encoder's output becomes the nearest of K learned codes.

    No gradient learns them: after each training step a code is the mean of all outputs that became
    it, those of earlier steps weighing less. One that hardly any output becomes is put where an
    output of the batch lies, which others may follow; so the first step places all of them.
    Several processes take their sums together, and stay alike.

    >>> VectorQuantised((16, 49), codes=512).param_shape
    (16, 49)
    """

    codebook: Tensor
    uses: Tensor
    sums: Tensor

    def __init__(
        self,
        event_shape: Shape,
        codes: Count,
        decay: Annotated[float, Ge(0), Lt(1)] = 0.99,
        restart: Annotated[float, Ge(0), Lt(1)] = 0.02,
    ) -> None:
        """Raises InputError for a z without positions, or more codes than memory.

        Args:
            event_shape: Of z: the size D of a code, then the sizes of positions.
            codes: K.
            decay: What running means keep at each step.
            restart: A code begins anew where its running use is below this share of the codes'
                mean; 0 lets none.
        """
        super().__init__(event_shape, codes, _FEWER)
        if codes * self.code_size > _MOST_NUMBERS:
            gib = codes * self.code_size / 2**28
            raise InputError(
                f"{codes:,} codes of {self.code_size:,} numbers would take {gib:.0f} GiB: {_FEWER} "
                "or the first of model.z_shape."
            )
        self.decay, self.restart = decay, restart
        self.register_buffer("codebook", torch.randn(codes, self.code_size))
        self.register_buffer("uses", torch.zeros(codes))  # a step, a running mean from 0
        self.register_buffer("sums", torch.zeros(codes, self.code_size))  # likewise

    def nearest(self, vectors: Tensor) -> Tensor:
        closeness = vectors @ self.codebook.T - self.codebook.square().sum(1) / 2
        return closeness.argmax(-1)  # |v - e|^2 = |v|^2 - 2 of it

    def values(self, indices: Tensor) -> Tensor:
        return self.codebook[indices]

    @torch.no_grad()
    @full_precision
    def observe(self, value: Tensor, p: Distribution) -> None:
        assert isinstance(p, Quantised)
        outputs = self.vectors(p.output).reshape(-1, self.code_size).to(self.sums)  # (N, D)
        finite = outputs.isfinite().all(1)  # of a step that will be skipped, perhaps
        outputs = torch.where(finite.unsqueeze(1), outputs, 0)
        order = torch.randperm(len(outputs), device=outputs.device)
        picked = order[torch.arange(self.num_codes, device=order.device) % len(order)]
        member = outputs.new_zeros(len(outputs), self.num_codes)
        member.scatter_(1, p.indices.reshape(-1, 1), finite.to(outputs).unsqueeze(1))
        fresh, may_restart = outputs[picked], finite[picked].to(outputs)
        uses, sums, fresh, may_restart = _over_processes(
            member.sum(0), member.T @ outputs, fresh, may_restart
        )
        self.uses.lerp_(uses, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        mean_use = self.uses.mean()
        dead = (self.uses < self.restart * mean_use) & (may_restart > 0)
        self.uses.copy_(torch.where(dead, mean_use, self.uses))
        self.sums.copy_(torch.where(dead.unsqueeze(1), mean_use * fresh, self.sums))
        is_used = self.uses.unsqueeze(1) > 0
        self.codebook.copy_(torch.where(is_used, self.sums / self.uses.unsqueeze(1), self.codebook))


def _over_processes(
    uses: Tensor, sums: Tensor, fresh: Tensor, may_restart: Tensor
) -> tuple[Tensor, ...]:
    """The first two summed over all processes, the other two the first process's."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return uses, sums, fresh, may_restart
    first = float(distributed.get_rank() == 0)
    columns = [uses.unsqueeze(1), sums, first * fresh, first * may_restart.unsqueeze(1)]
    every = torch.cat(columns, 1)
    distributed.all_reduce(every)
    summed = every.split([column.shape[1] for column in columns], 1)
    return summed[0].squeeze(1), summed[1], summed[2], summed[3].squeeze(1)
