"""A VAE's encoder and decoder as programs: fixed functions of plain tensors, the batch size B free.

A distribution cannot leave a program: the encoder gives mean and standard deviation of q(z|x), the
decoder the mean of p(x|z). Another kind of model says what its programs are by registering `parts`
and `cases`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.export import Dim, ExportedProgram

from vae_lab.errors import InputError
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.seeding import seeded_generator
from vae_lab.trace import mean

Tensors = dict[str, Tensor]


def moments(q: Distribution) -> Tensors:
    """What of q(z|x) leaves a program: where no moments have a closed form, a mean of draws.

    No fixed function gives that, so `traced` refuses it; the weights alone are exported still.
    """
    try:
        return {"z_mean": q.mean, "z_stddev": q.stddev}
    except NotImplementedError:
        return {"z_mean": mean(q)}


class Encoder(nn.Module):
    """x (B, *X) in [0, 1] and, where it is read, y (B,) -> mean and stddev of q(z|x), (B, *Z)."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.network, self.posterior = model.encoder, model.posterior

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensors:
        return moments(self.posterior(self.network(x, y)))


class Decoder(nn.Module):
    """z (B, *Z) and, where it is read, y (B,) -> mean of p(x|z), (B, *X)."""

    def __init__(self, model: VAE) -> None:
        super().__init__()
        self.network, self.likelihood = model.decoder, model.likelihood

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensors:
        return {"x_mean": self.likelihood(self.network(z, y)).mean}


@singledispatch
def parts(model: LatentVariableModel) -> dict[str, nn.Module]:
    """What is a program of its own, by name. Raises InputError for a model without such a thing."""
    raise InputError(f"a {type(model).__name__} has no one encoder and decoder to export.")


@parts.register
def _(model: VAE) -> dict[str, nn.Module]:
    return {"encoder": Encoder(model), "decoder": Decoder(model)}


@dataclass(frozen=True)
class Case:
    """Inputs of one batch size, and what the model itself makes of them."""

    inputs: Tensors
    outputs: Tensors


@singledispatch
def cases(model: LatentVariableModel, n: int) -> dict[str, Case]:
    """For each part, a case of batch size `n`; for the same `n` always the same inputs."""
    parts(model)  # which refuses it
    return {}


@cases.register
def _(model: VAE, n: int) -> dict[str, Case]:
    noise = seeded_generator("export", n)
    x = torch.rand(n, *model.x_shape, generator=noise)
    z = torch.randn(n, *model.z_shape, generator=noise)
    y = torch.randint(model.num_classes or 1, (n,), generator=noise)
    with same_draws():
        q_z = moments(model.q_z(x, y))
    with same_draws():
        p_x = {"x_mean": model.p_x(z, y).mean}
    to_encoder = {"x": x, "y": y} if model.encoder.reads_labels else {"x": x}
    to_decoder = {"z": z, "y": y} if model.decoder.reads_labels else {"z": z}
    return {"encoder": Case(to_encoder, q_z), "decoder": Case(to_decoder, p_x)}


@contextmanager
def same_draws() -> Iterator[None]:
    """The same draws each time, for a mean that is a Monte Carlo estimate."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        yield


def traced(part: nn.Module, case: Case) -> ExportedProgram:
    """A part as a program, from its inputs in `case`. Raises InputError if it draws randomly."""
    batch = Dim("batch")
    sizes = {name: {0: batch} for name in case.inputs}
    whole = torch.export.export(part, tuple(case.inputs.values()), dynamic_shapes=sizes)
    plain = whole.run_decompositions({})  # contexts such as autocast are resolved
    for node in plain.graph.nodes:
        node.meta.pop("stack_trace", None)  # which names files of this machine
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise InputError(
                f"the {type(part).__name__.lower()} draws random numbers ({node.target}), so it is "
                "no fixed function: export its weights alone, export.formats=[safetensors]."
            )
    return plain
