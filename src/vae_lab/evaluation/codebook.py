"""How many of its codes a quantised z uses, and how evenly."""

import torch
from torch import Tensor
from torchmetrics import Metric

from vae_lab.evaluation.statistics import Estimate, mean_estimate
from vae_lab.model import LatentVariableModel
from vae_lab.model.context import Context
from vae_lab.model.distributions.quantised import Quantised
from vae_lab.model.posteriors.quantised import QuantisedFamily
from vae_lab.trace import Trace


class CodeUse(Metric):
    """Which codes the data become, at all positions together; of other z than quantised, nothing.

    `compute` returns the `codebook_use`, a share of all K codes, and the `codebook_perplexity`,
    exp of the entropy of how often each is used: K where all are used as much, 1 where one is.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, context: Context) -> None:
        """`context` is the model's."""
        super().__init__()
        family = context.posterior
        self.num_codes = family.num_codes if isinstance(family, QuantisedFamily) else 0
        zeros = torch.zeros(max(self.num_codes, 1), dtype=torch.long)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, trace: Trace) -> None:
        """Add a batch."""
        for latent in trace.latents:
            if isinstance(latent.q, Quantised):
                found = latent.q.indices.flatten()
                self.counts += torch.bincount(found, minlength=self.num_codes)

    def compute(self) -> dict[str, Tensor]:
        """Both, by name."""
        if not self.num_codes:
            return {}
        p = self.counts.double() / self.counts.sum()
        entropy = torch.special.entr(p).sum()
        use, perplexity = (p > 0).float().mean(), entropy.exp().float()
        return {"codebook_use": use, "codebook_perplexity": perplexity}


def code_use(model: LatentVariableModel, centres: Tensor) -> dict[str, Estimate]:
    """The same of the centres of data, (N, units); nothing of a model whose z is not quantised.

    The standard error of a perplexity is that of the entropy, the mean of -log p of the codes that
    each datum has, times the perplexity.
    """
    family = model.context().posterior
    if not isinstance(family, QuantisedFamily):
        return {}
    z = centres.to(next(model.parameters())).reshape(-1, *family.event_shape)
    indices = family.indices_of(z).cpu()  # (N, M)
    counts = torch.bincount(indices.flatten(), minlength=family.num_codes).double()
    surprise = -(counts / counts.sum()).log()[indices].mean(1)
    entropy = mean_estimate(surprise, "nats")
    perplexity = torch.tensor(entropy.value).exp().item()
    error = entropy.standard_error and entropy.standard_error * perplexity
    return {
        "codebook_use": Estimate(float((counts > 0).double().mean()), None, "share"),
        "codebook_perplexity": Estimate(perplexity, error, f"of {family.num_codes}"),
    }
