"""Scoring a trained model on its test split: every figure with its standard error."""

import math
from collections.abc import Iterable

import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import track

from vae_lab.data import ImageDataModule
from vae_lab.evaluation.evidence import Evidence, evidence
from vae_lab.evaluation.labels import sample_accuracy, with_shuffled_labels
from vae_lab.evaluation.metrics import bits_per_dim
from vae_lab.evaluation.statistics import Estimate, active_units, mean_estimate
from vae_lab.seeding import seeded_generator
from vae_lab.support import Support
from vae_lab.trace import Batch
from vae_lab.trained import TrainedVAE

NOT_A_LIKELIHOOD = (
    "cross-entropy on grey pixels: not a log-likelihood, compares with nothing but itself"
)


def score(trained: TrainedVAE, data: ImageDataModule, cfg: DictConfig) -> dict[str, Estimate]:
    """Every figure of the test split (its first `cfg.limit` items), by name."""
    model, support = trained.model, trained.model.likelihood.support
    device = next(model.parameters()).device
    count = min(len(data.splits["test"]), cfg.limit or len(data.splits["test"]))

    def batches() -> Iterable[Batch]:
        return data.batches("test", cfg.batch_size, device, torch.arange(count))

    total = math.ceil(count / cfg.batch_size)
    num_draws = 1 if support is Support.GREY else cfg.num_draws
    scored = evidence(model, batches(), num_draws, cfg.memory_mib, cfg.seed)
    bar = track(
        scored, f"{count} items, {num_draws} draws", total, disable=not cfg.progress,
        console=Console(stderr=True),
    )  # fmt: skip
    every = _joined(bar)
    negative_bound, nll = -every.elbo, -every.log_px
    estimates = {"negative_elbo": mean_estimate(negative_bound, "nats")}
    if support is not Support.GREY:
        estimates["nll"] = mean_estimate(nll, "nats")
    estimates["rate"] = mean_estimate(every.rate, "nats")
    estimates["distortion"] = mean_estimate(every.distortion, "nats")
    dims = math.prod(model.x_shape)
    for name, nats in (("bits_per_dim_elbo", negative_bound), ("bits_per_dim_nll", nll)):
        bits = bits_per_dim(float(nats.mean()), dims, support, trained.preparation.dequantize)
        if bits is not None:
            error = mean_estimate(nats, "").standard_error
            estimates[name] = Estimate(bits, error and error / (dims * math.log(2)), "bits")
    estimates["active_units"] = active_units(every.codes, cfg.seed)
    labels = data.splits["test"].labels
    if model.reads_labels and labels is not None:
        others = with_shuffled_labels(batches(), labels[:count], cfg.seed)
        shuffled = _joined(evidence(model, others, 1, cfg.memory_mib, cfg.seed))
        estimates["elbo_lost_by_shuffled_labels"] = mean_estimate(
            every.elbo - shuffled.elbo, "nats"
        )
        estimates |= _label_accuracy(trained, data, cfg)
    return estimates


def _label_accuracy(
    trained: TrainedVAE, data: ImageDataModule, cfg: DictConfig
) -> dict[str, Estimate]:
    train, test = (_some(trained, data, split, 5000, cfg.seed) for split in ("train", "test"))
    if train.y is None or len(train.y.unique()) < 2:
        return {}  # nothing to classify
    found = sample_accuracy(trained.model, train, test, cfg.samples_per_class, cfg.seed)
    counts = (cfg.samples_per_class * (trained.model.num_classes or 0), len(test.x))
    return {
        f"classifier_accuracy_{name}": Estimate(
            value, math.sqrt(value * (1 - value) / count), "share"
        )
        for (name, value), count in zip(found.items(), counts, strict=True)
    }


def _some(trained: TrainedVAE, data: ImageDataModule, split: str, most: int, seed: int) -> Batch:
    """At most so many items of a split, chosen at random: files are often sorted by class."""
    order = torch.randperm(len(data.splits[split]), generator=seeded_generator(seed, "some"))
    device = next(trained.model.parameters()).device
    return next(data.batches(split, most, device, order[:most]))


def _joined(parts: Iterable[Evidence]) -> Evidence:
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Evidence(*(torch.cat(column) for column in columns))
