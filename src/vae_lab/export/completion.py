"""What completes images as programs, x being images of which the given pixels alone are read.

A network's `completer` gives the mean of p(x|x_o), whole images. Of a VAE, `prior` gives mean and
standard deviation of p(z|x_o), and `decoder` the mean of p(x|z, x_o) at any z drawn from it;
`encoder` those of q(z|x), which reads all of x.
"""

import torch
from torch import Tensor, nn

from vae_lab.export.programs import Case, Tensors, cases, moments, parts, same_draws
from vae_lab.model import CompletionNetwork, CompletionVAE
from vae_lab.seeding import seeded_generator


class Encoder(nn.Module):
    """x (B, *X) -> mean and stddev of q(z|x), (B, *Z)."""

    def __init__(self, model: CompletionVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensors:
        return moments(self.model.q_z(x))


class Prior(nn.Module):
    """x (B, *X) -> mean and stddev of p(z|x_o), (B, *Z)."""

    def __init__(self, model: CompletionVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensors:
        return moments(self.model.p_z(x))


class Decoder(nn.Module):
    """z (B, *Z) and x (B, *X) -> mean of p(x|z, x_o), (B, *X)."""

    def __init__(self, model: CompletionVAE) -> None:
        super().__init__()
        self.model = model

    def forward(self, z: Tensor, x: Tensor) -> Tensors:
        return {"x_mean": self.model.p_x(z, x).mean}


class Completer(nn.Module):
    """x (B, *X) -> mean of p(x|x_o), (B, *X)."""

    def __init__(self, model: CompletionNetwork) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensors:
        return {"x_mean": self.model.p_x(x).mean}


@parts.register
def _(model: CompletionVAE) -> dict[str, nn.Module]:
    return {"encoder": Encoder(model), "prior": Prior(model), "decoder": Decoder(model)}


@parts.register
def _(model: CompletionNetwork) -> dict[str, nn.Module]:
    return {"completer": Completer(model)}


@cases.register
def _(model: CompletionVAE, n: int) -> dict[str, Case]:
    noise = seeded_generator("export", n)
    x = torch.rand(n, *model.x_shape, generator=noise)
    z = torch.randn(n, *model.z_shape, generator=noise)
    with same_draws():
        q_z = moments(model.q_z(x))
    with same_draws():
        p_z = moments(model.p_z(x))
    p_x = {"x_mean": model.p_x(z, x).mean}
    return {
        "encoder": Case({"x": x}, q_z),
        "prior": Case({"x": x}, p_z),
        "decoder": Case({"z": z, "x": x}, p_x),
    }


@cases.register
def _(model: CompletionNetwork, n: int) -> dict[str, Case]:
    x = torch.rand(n, *model.x_shape, generator=seeded_generator("export", n))
    return {"completer": Case({"x": x}, {"x_mean": model.p_x(x).mean})}
