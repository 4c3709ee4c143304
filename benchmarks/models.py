"""The three models, in plain PyTorch as anybody would write them, and what train.py calls them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.datasets import CIFAR10, MNIST

from benchmarks.case import Case, data_root

Networks = tuple[nn.Sequential, nn.Sequential]
"""x (B, C, H, W) -> mu and log sigma^2 (B, 2 units); z (B, units) -> logits (B, C, H, W)."""


def _mlp(units: int) -> Networks:
    encoder = [nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 2 * units)]
    decoder = [nn.Linear(units, 512), nn.ReLU(), nn.Linear(512, 784), nn.Unflatten(1, (1, 28, 28))]
    return nn.Sequential(*encoder), nn.Sequential(*decoder)


def _notebook(units: int) -> Networks:
    encoder = nn.Sequential(
        *(nn.Conv2d(1, 16, 5, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 5, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, 2 * units)),
    )
    return encoder, _mlp(units)[1]


def _conv(units: int) -> Networks:
    encoder = nn.Sequential(
        *(nn.Conv2d(3, 32, 4, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(4096, 256), nn.ReLU(), nn.Linear(256, 2 * units)),
    )
    decoder = nn.Sequential(
        *(nn.Linear(units, 256), nn.ReLU(), nn.Linear(256, 4096), nn.Unflatten(1, (64, 8, 8))),
        *(nn.ReLU(), nn.ConvTranspose2d(64, 32, 4, 2, 1)),
        *(nn.ReLU(), nn.ConvTranspose2d(32, 3, 4, 2, 1)),
    )
    return encoder, decoder


@dataclass(frozen=True)
class Model:
    """An architecture, its data, and how train.py is asked for it."""

    networks: Callable[[int], Networks]
    units: int  # of z, where a case does not say
    data: type[MNIST] | type[CIFAR10]
    overrides: tuple[str, ...]


MODELS = {
    "mlp": Model(  # 784-512-16
        _mlp, 16, MNIST,
        ("model=mlp_vae", "data=mnist", "model.encoder.widths=[512]", "model.decoder.widths=[512]",
         "model.encoder.activation=relu", "model.decoder.activation=relu",
         "model.encoder.init=torch", "model.decoder.init=torch"),
    ),
    "notebook": Model(
        _notebook, 30, MNIST,
        ("experiment=mnist_notebook",),
    ),
    "conv": Model(
        _conv, 32, CIFAR10,
        ("model=conv_vae", "data=cifar10",
         "model.encoder.activation=relu", "model.decoder.activation=relu",
         "model.encoder.init=torch", "model.decoder.init=torch"),
    ),
}  # fmt: skip


def units(case: Case) -> int:
    """Of z."""
    return MODELS[case.model].units if case.units is None else case.units


def networks(case: Case) -> Networks:
    """Encoder and decoder, initialised as PyTorch does."""
    torch.manual_seed(case.seed)
    return MODELS[case.model].networks(units(case))


def pixels(case: Case) -> Tensor:
    """The first training images, uint8 (N, C, H, W)."""
    data = torch.as_tensor(MODELS[case.model].data(str(data_root())).data)[: case.images]
    return data.unsqueeze(1) if data.dim() == 3 else data.permute(0, 3, 1, 2).contiguous()


def binary(images: Tensor) -> Tensor:
    """Bits, float (N, C, H, W): what evidence is of."""
    return (images > 127).float()


class PlainVAE(nn.Module):
    """Encoder, decoder and loss of every tutorial."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.encoder, self.decoder = networks(case)

    def forward(self, x: Tensor, draws: int = 1) -> Tensor:
        """The loss, nats per image: minus the ELBO; of K draws, minus the IWAE's bound."""
        if draws > 1:
            return -self.log_px(x, draws).mean()
        mu, log_var = self.encoder(x).float().chunk(2, 1)
        z = mu + torch.randn_like(mu) * (log_var / 2).exp()
        logits = self.decoder(z).float()
        distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        rate = (mu.square() + log_var.exp() - 1 - log_var).sum() / 2
        return (distortion + rate) / len(x)

    def log_px(self, x: Tensor, draws: int) -> Tensor:
        """The importance-weighted bound of each image, (B,), nats."""
        mu, log_var = self.encoder(x).float().chunk(2, 1)
        noise = torch.randn(draws, *mu.shape, device=x.device)  # (K, B, units)
        z = mu + noise * (log_var / 2).exp()
        logits = self.decoder(z.flatten(0, 1)).float().unflatten(0, z.shape[:2])
        log_px_z = (
            -F.binary_cross_entropy_with_logits(logits, x.expand_as(logits), reduction="none")
            .flatten(2)
            .sum(2)
        )
        log_ratio = (noise.square() + log_var - z.square()).sum(2) / 2  # log p(z) - log q(z|x)
        return (log_px_z + log_ratio).logsumexp(0) - math.log(draws)
