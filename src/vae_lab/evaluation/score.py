"""Scoring a trained model on its test split: every metric with its standard error."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import track

from vae_lab.arguments import Count, NonNegative, Seed, check_fields
from vae_lab.data import ImageDataModule, Preparation
from vae_lab.estimators import sampled
from vae_lab.evaluation.bound import draw_counts
from vae_lab.evaluation.codebook import code_use
from vae_lab.evaluation.codes import (
    MOST_ENCODED,
    PROBED_WITH_LABELS,
    Codes,
    code_estimates,
    scale_estimate,
)
from vae_lab.evaluation.draws import DrawCheck, has_limit
from vae_lab.evaluation.evidence import Evidence, evidence
from vae_lab.evaluation.fidelity import fidelity
from vae_lab.evaluation.fitted import NOTE, bound_under
from vae_lab.evaluation.labels import with_shuffled_labels
from vae_lab.evaluation.measure import COMPLETES
from vae_lab.evaluation.metrics import bits_per_dim, by_layer
from vae_lab.evaluation.samples import judge
from vae_lab.evaluation.statistics import Estimate, active_units, far_out, mean_estimate
from vae_lab.model import VAE, LatentVariableModel
from vae_lab.model.distributions.quantised import Quantised
from vae_lab.model.priors.standardized import Standardized
from vae_lab.model.sampler import Sampler, from_fitted_prior, from_own_prior
from vae_lab.support import Support
from vae_lab.trace import Batch, Trace

NOT_A_LIKELIHOOD = (
    "cross-entropy on grey pixels: not a log-likelihood, compares with nothing but itself"
)
NO_ELBO = "the posterior is a point mass: there is no ELBO, no rate and no NLL to compare"
ONE_CODE = "q(z|x) is all on one code, so that all its draws weigh alike: the NLL is the -ELBO"


@dataclass(frozen=True)
class ScoreSettings:
    """How a model is scored; `conf/evaluate.yaml` gives the defaults.

    Raises InputError for a value that makes no sense.

    Attributes:
        num_draws: Importance samples per item.
        limit: Score this many items, drawn at random; None scores all. At most as many images
            train and test the classifier, and as many training items' codes are learnt from.
        batch_size: Items that are scored at once.
        memory_mib: Activations, in MiB, that decide how many draws are taken at once; None: as many
            as suit the device.
        seed: Of the items drawn, the draws of z, shuffles and resamples.
        samples_per_class: Of a conditional model, judged by an independent classifier.
        frechet: Whether samples of any model are compared with test images over the features of
            that classifier.
        progress: Whether a bar is shown on stderr.
    """

    num_draws: Count
    limit: Count | None
    batch_size: Count
    memory_mib: NonNegative | None
    seed: Seed
    samples_per_class: Count
    frechet: bool
    progress: bool

    def __post_init__(self) -> None:
        check_fields(self, "evaluate")


@dataclass(frozen=True)
class Scores:
    """What scoring finds."""

    estimates: dict[str, Estimate]  # every metric of the test split, by name
    num_draws: int  # of each item: one where there is no NLL
    draws: DrawCheck | None  # of the NLL; None where there is none, or of one draw
    bound: dict[int, Estimate]  # on log p(x), by its number of draws; empty where draws are None
    comparable: bool  # whether these may be compared with other models'
    notes: list[str]  # what they do not tell by themselves


def score(
    model: LatentVariableModel,
    preparation: Preparation,
    data: ImageDataModule,
    settings: ScoreSettings,
    fitted: Standardized | None = None,
) -> Scores:
    """Score a model on the test split.

    Args:
        model: In eval mode, on the device that is to score it.
        preparation: From pixels to the model's x: bits per dimension depend on it.
        data: Those that the model was trained with.
        settings: How.
        fitted: A prior that was fitted afterwards to the codes of the model, a VAE: its samples
            are judged beside the model's, and so is the bound under it.
    """
    support, seed, memory = model.likelihood.support, settings.seed, settings.memory_mib
    device = next(model.parameters()).device
    count = min(len(data.splits["test"]), settings.limit or len(data.splits["test"]))
    shown = data.random_index("test", count, seed).sort().values

    def batches() -> Iterable[Batch]:
        return data.batches("test", settings.batch_size, device, shown)

    total = math.ceil(count / settings.batch_size)
    with torch.no_grad():
        some: Trace = model(next(iter(batches()))[:1], sampled(1))
    has_elbo = some.has_elbo
    incomparable = [NOT_A_LIKELIHOOD] * (support is Support.GREY) + [NO_ELBO] * (not has_elbo)
    is_certain = all(isinstance(latent.q, Quantised) for latent in some.latents)
    num_draws = 1 if incomparable or is_certain else settings.num_draws
    scored = evidence(model, batches(), num_draws, memory, seed)
    bar = track(
        scored, f"{count} items, {num_draws} draws", total, disable=not settings.progress,
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    every = _joined(bar)
    bounds = {"elbo": -every.elbo} if has_elbo else {}
    bounds |= {} if incomparable else {"nll": -every.log_px}
    terms = {"rate": every.rate, **by_layer("rate", every.rates.T)} if has_elbo else {}
    terms |= {"distortion": every.distortion}
    named = {"negative_elbo" if name == "elbo" else name: n for name, n in bounds.items()}
    estimates = {name: mean_estimate(nats, "nats") for name, nats in (named | terms).items()}
    estimates |= fidelity(model, batches(), seed)
    dims = math.prod(model.likelihood.event_shape)
    for name, nats in bounds.items():
        bits = bits_per_dim(float(nats.mean()), dims, support, preparation.dequantize)
        if bits is not None:
            error = mean_estimate(nats, "").standard_error
            per_dim = error and error / (dims * math.log(2))
            estimates[f"bits_per_dim_{name}"] = Estimate(bits, per_dim, "bits")
    if model.num_units:
        if not (used := code_use(model, every.codes)):  # codes have no units to be active
            used = {"active_units": active_units(every.means, seed)}
            each = every.means.split(model.layer_sizes, 1)
            used |= by_layer("active_units", [active_units(means, seed) for means in each])
        estimates |= used
    labels = data.splits["test"].labels
    if model.reads_labels and labels is not None and has_elbo:
        others = with_shuffled_labels(batches(), labels[shown], seed)
        shuffled = _joined(evidence(model, others, 1, memory, seed))
        lost = every.elbo - shuffled.elbo
        estimates["elbo_lost_by_shuffled_labels"] = mean_estimate(lost, "nats")
    notes = [*incomparable, *[ONE_CODE] * is_certain]
    notes += filter(None, [far_out(-every.elbo)] * has_elbo)
    if model.observed:
        notes.append(COMPLETES.format(model.observed))
    else:
        sampler: Sampler | None = None
        if fitted is not None:
            assert isinstance(model, VAE)  # whose codes it was fitted to
            sampler = from_fitted_prior(model, fitted)
            under = bound_under(fitted, model, batches(), preparation.dequantize, seed)
            estimates |= under
            notes += [NOTE] * bool(under)
        judged = judge(
            from_own_prior(model), sampler, data, settings.samples_per_class, settings.frechet,
            settings.limit, seed,
        )  # fmt: skip
        estimates |= judged.estimates
        notes += judged.notes
    known: dict[str, Estimate] = {}
    if model.num_units:
        test, most = Codes.of(every.codes, data, "test", shown), settings.limit or MOST_ENCODED
        most = min(most, MOST_ENCODED)
        known = code_estimates(model, data, test, most, seed)
        estimates |= scale_estimate(model, data, most, seed) | known
    if model.reads_labels and known:
        notes.append(PROBED_WITH_LABELS)
    check, tightening = None, {}
    if num_draws > 1:
        check = DrawCheck.of(every, num_draws, has_limit(some.latents))
        rising = zip(draw_counts(num_draws), every.bounds.T, strict=True)
        tightening = {k: mean_estimate(bound, "nats") for k, bound in rising}
    return Scores(estimates, num_draws, check, tightening, not incomparable, notes)


def _joined(parts: Iterable[Evidence]) -> Evidence:
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Evidence(*(torch.cat(column) for column in columns))
