"""The loop of every tutorial: a data set that reads one image at a time, and `loss.item()`."""

import torch
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import ToTensor

from benchmarks.case import Case, data_root
from benchmarks.clock import Clock
from benchmarks.models import MODELS, PlainVAE


def train(case: Case, clock: Clock) -> float:
    """The last epoch's mean loss."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = MODELS[case.model].data(str(data_root()), transform=ToTensor())
    loader = DataLoader(Subset(dataset, range(case.images)), case.batch, shuffle=True)
    model = PlainVAE(case).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(case.epochs):
        clock.begin_epoch()
        total = 0.0
        for x, _ in loader:
            x = x.to(device)
            optimizer.zero_grad()
            loss = model(x)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
            clock.step()
        clock.end_epoch()
    return total / case.images
