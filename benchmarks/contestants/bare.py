"""A bare PyTorch loop over images that lie whole on the device: the least there is to do."""

import torch
from torch import Tensor

from benchmarks.case import Case
from benchmarks.clock import Clock
from benchmarks.models import PlainVAE, binary, pixels
from vae_lab.cpu import at_full_speed


def train(case: Case, clock: Clock) -> float:
    """Adam as PyTorch has it by default; the last epoch's mean loss."""
    return _train(case, clock, fused=False, memory_format=torch.contiguous_format)


def train_fused(case: Case, clock: Clock) -> float:
    """Fused Adam and convolutions channels-last: what else is free."""
    return _train(case, clock, fused=True, memory_format=torch.channels_last)


def train_at_full_speed(case: Case, clock: Clock) -> float:
    """The same arithmetic as vae-lab's, product by product: what is left is what it costs."""
    with at_full_speed():
        return train_fused(case, clock)


def _train(case: Case, clock: Clock, fused: bool, memory_format: torch.memory_format) -> float:
    device = _device()
    images = pixels(case).to(device)
    model = PlainVAE(case).to(device).to(memory_format=memory_format)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=fused)
    half = torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bf16")
    for _ in range(case.epochs):
        clock.begin_epoch()
        total = torch.zeros((), device=device)
        for index in torch.randperm(len(images), device=device).split(case.batch):
            x = (images[index] / 255).contiguous(memory_format=memory_format)
            with half:
                loss = model(x, case.draws)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(index)
            clock.step()
        clock.end_epoch()
    return float(total) / len(images)


@torch.no_grad()
def score(case: Case, clock: Clock) -> float:
    """Minus the mean importance-weighted bound of the images, under an untrained model."""
    device = _device()
    model, x = PlainVAE(case).to(device), binary(pixels(case)).to(device)
    for _ in range(case.epochs):
        clock.begin_epoch()
        log_px: list[Tensor] = []
        for part in x.split(10):
            log_px.append(model.log_px(part, case.draws))
            clock.step()
        clock.end_epoch()
    return -float(torch.cat(log_px).mean())


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
