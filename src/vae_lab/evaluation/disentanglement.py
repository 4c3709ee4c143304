"""Do single units of z tell single factors? Two answers, where what made the data is known."""

import math

import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from torch import Tensor
from torch.nn.functional import one_hot

from vae_lab.evaluation.statistics import Estimate
from vae_lab.seeding import seeded_generator

BINS = 20
"""Into which codes and factors are cut, as is usual."""


def is_category(factor: Tensor) -> bool:
    """Whether a factor (N,) takes so few values, at most 20, that each counts as a class."""
    return len(factor.unique()) <= BINS


def mutual_information_gap(
    codes: Tensor, factors: Tensor, seed: int, resamples: int = 30
) -> Estimate:
    """The mutual information gap of Chen et al., Isolating Sources of Disentanglement, 2018.

    How much more one unit knows of a factor than the second best does, as a share of the factor's
    entropy, averaged over the factors: 1 where each has a unit of its own, 0 where every unit that
    knows it has a twin. Codes are cut into 20 bins of equal width, factors of more values than that
    into 20 of equal counts. The standard error is a bootstrap's over the data.

    Args:
        codes: (N, units).
        factors: (N, F), each of two values or more.
        seed: Of the bootstrap.
        resamples: How many it takes.
    """
    n, units = codes.shape
    x = torch.stack([_equal_width(code) for code in codes.T], 1)  # (N, units)
    v = torch.stack([_classes(factor) for factor in factors.T], 1)  # (N, F)
    x_hot, v_hot = (one_hot(bins, BINS).float().flatten(1) for bins in (x, v))

    def gap(weight: Tensor) -> float:
        """Of data that weigh so much each, (N,), 1 in all."""
        joint = ((x_hot * weight.unsqueeze(1)).T @ v_hot).reshape(units, BINS, -1, BINS)
        of_x, of_v = joint.sum(3)[:, :, 0], joint.sum(1)[0]  # (units, BINS), (F, BINS)
        entropy = _entropy(of_v)
        both = _entropy(joint.transpose(1, 2).flatten(2))  # (units, F)
        known = (_entropy(of_x).unsqueeze(1) + entropy - both) / entropy.clamp(min=1e-12)
        most = torch.cat([known, torch.zeros_like(known[:1])]).topk(2, 0).values  # of one unit: 0
        return float((most[0] - most[1]).mean())

    drawn = torch.randint(n, (resamples, n), generator=seeded_generator(seed, "bootstrap"))
    again = [gap(torch.bincount(items, minlength=n) / n) for items in drawn]
    value = gap(torch.full((n,), 1 / n))
    return Estimate(value, float(torch.tensor(again).std()), "share")


def dci(
    train_codes: Tensor, train_factors: Tensor, codes: Tensor, factors: Tensor, seed: int
) -> dict[str, Estimate]:
    """Disentanglement, completeness and informativeness: Eastwood and Williams 2018.

    A random forest learns to tell each factor from the codes (a classifier, where the factor has at
    most 20 values), and how much it relies on each unit is the importance that scikit-learn gives.
    Other forests give other values: compare what the same ones gave.
    `dci_disentanglement` is 1 where each unit serves one factor, `dci_completeness` where each
    factor is served by one unit, 0 where all serve all alike. `dci_informativeness` is the share of
    a constant guess's error (squared, or of wrong classes) that the forests do away with on
    the codes judged, averaged over the factors. No standard error is known; seeds of training tell.

    Args:
        train_codes: What the forests learn from, (M, units).
        train_factors: (M, F), each of two values or more.
        codes: What is judged, (N, units).
        factors: (N, F), likewise.
        seed: Of the forests.
    """
    importances, told = [], []
    for factor in torch.cat([train_factors, factors]).T:
        category = is_category(factor)
        kind = RandomForestClassifier if category else RandomForestRegressor
        wanted = _classes(factor) if category else factor.double()
        learnt, asked = wanted.split([len(train_codes), len(codes)])
        # At every split all units are looked at: a split among few spreads the importance.
        forest = kind(n_estimators=10, min_samples_leaf=10, max_features=1.0, random_state=seed)
        forest.fit(train_codes.numpy(), learnt.numpy())
        guess = torch.from_numpy(forest.predict(codes.numpy()))
        constant = learnt.mode().values if category else learnt.mean()
        errors = (
            ((each != asked) if category else (each - asked).square()).double().mean()
            for each in (guess, constant)
        )
        told.append(1 - float(next(errors) / next(errors)))
        importances.append(torch.from_numpy(forest.feature_importances_))
    relied = torch.stack(importances, 1)  # (units, F)
    found = {
        "disentanglement": _concentration(relied),
        "completeness": _concentration(relied.T),
        "informativeness": sum(told) / len(told),
    }
    return {f"dci_{name}": Estimate(value, None, "share") for name, value in found.items()}


def _concentration(importance: Tensor) -> float:
    """1 less the entropy of each row in units of the largest there is; rows weigh what they sum."""
    total = importance.sum(1)
    share = importance / total.clamp(min=1e-12).unsqueeze(1)
    largest = math.log(max(importance.shape[1], 2))
    return float(((1 - _entropy(share) / largest) * total).sum() / total.sum().clamp(min=1e-12))


def _entropy(p: Tensor) -> Tensor:
    """(..., K) -> (...), in nats."""
    return torch.special.entr(p).sum(-1)


def _equal_width(code: Tensor) -> Tensor:
    low, high = code.min(), code.max()
    return ((code - low) / (high - low).clamp(min=1e-12) * BINS).long().clamp(max=BINS - 1)


def _classes(factor: Tensor) -> Tensor:
    """The class of each value, or the one of 20 equal parts that it lies in, (N,)."""
    if is_category(factor):
        return factor.unique(return_inverse=True)[1]
    ranks = factor.argsort().argsort()
    return ranks * BINS // len(factor)
