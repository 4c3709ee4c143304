"""Does a conditional model use its labels? Two estimates that say so."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from vae_lab.model import LatentVariableModel
from vae_lab.seeding import reseed, seeded_generator
from vae_lab.trace import Batch


def with_shuffled_labels(batches: Iterable[Batch], labels: Tensor, seed: int) -> Iterator[Batch]:
    """The same batches with `labels`, (N,), those of all items in order, permuted among them.

    A model that reads its labels must do worse.
    """
    order = torch.randperm(len(labels), generator=seeded_generator(seed, "shuffle"))
    shuffled, start = labels[order], 0
    for batch in batches:
        stop = start + len(batch.x)
        yield replace(batch, y=shuffled[start:stop].to(batch.x.device))
        start = stop


@torch.no_grad()
def sample_accuracy(
    model: LatentVariableModel, train: Batch, test: Batch, per_class: int, seed: int
) -> dict[str, float]:
    """How often a classifier that never saw the model agrees with the label a sample was drawn for.

    The classifier is scikit-learn's logistic regression on the pixels of `train`; its accuracy on
    `test` is what real images reach, and samples are decoder means, `per_class` of each class.
    """
    assert train.y is not None
    assert test.y is not None
    assert model.num_classes is not None
    device = next(model.parameters()).device
    reseed(device, seed, "accuracy")
    y = torch.arange(model.num_classes, device=device).repeat_interleave(per_class)
    x = model.sample(len(y), y).mean
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300, C=0.01))
    classifier.fit(_rows(train.x), train.y.cpu().numpy())
    return {
        "samples": float(classifier.score(_rows(x), y.cpu().numpy())),
        "test_images": float(classifier.score(_rows(test.x), test.y.cpu().numpy())),
    }


def _rows(x: Tensor) -> np.ndarray:
    """(N, *X) -> (N, D), as scikit-learn takes them."""
    return x.flatten(1).cpu().numpy()
