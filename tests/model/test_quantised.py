"""Quantised posteriors: what a code is, where its gradient goes, and how a codebook is learned."""

import copy
import math
import pickle
from functools import partial
from itertools import product

import pytest
import torch
from parts import batch, training, vae
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from vae_lab import InputError
from vae_lab.estimators import Pathwise, ScoreFunction, StickingTheLanding, sampled
from vae_lab.evaluation.draws import has_limit
from vae_lab.evaluation.evidence import evidence
from vae_lab.experiment.first_pass import first_pass
from vae_lab.model import VAE
from vae_lab.model.distributions.quantised import Quantised
from vae_lab.model.posteriors import Categorical, FiniteScalar, VectorQuantised
from vae_lab.model.posteriors.quantised import QuantisedFamily
from vae_lab.model.priors import StandardNormal, UniformCategorical, UniformCodes
from vae_lab.objectives import ELBO, IWAE, VQ, Constant
from vae_lab.trace import Batch, Trace, centre, has_fixed_support, is_discrete

FAMILIES = {
    "vq": partial(VectorQuantised, codes=5),
    "fsq": partial(FiniteScalar, levels=[3, 2]),
}


def made(kind: str, shape: tuple[int, ...] = (2, 3)) -> QuantisedFamily:
    return FAMILIES[kind](shape)


def model(kind: str, **parts: object) -> VAE:
    """z: 3 positions of a few codes of 2 numbers."""
    return vae(posterior=FAMILIES[kind], prior=UniformCodes, z_shape=(2, 3), **parts)


# What a code is


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("shape", [(2, 3), (2, 2, 2)])
def test_contract(kind: str, shape: tuple[int, ...]) -> None:
    family = made(kind, shape)
    params = torch.randn(4, *family.param_shape, requires_grad=True)
    q = family(params)
    assert isinstance(q, Quantised)
    assert (q.batch_shape, q.event_shape) == ((4,), shape)
    assert is_discrete(q)
    assert not has_fixed_support(q)
    z = q.sample((3,))
    assert z.shape == (3, 4, *shape)
    assert not z.requires_grad
    assert torch.equal(centre(q), z[0])
    assert q.indices.shape == (4, family.num_positions)
    assert torch.equal(family.indices_of(z), q.indices.expand(3, -1, -1))
    assert torch.equal(family.codes_of(q.indices), z[0])
    assert torch.equal(q.log_prob(z), torch.zeros(3, 4))
    other = z.clone()
    other[:, 1] += 1e-3  # no code any more
    assert q.log_prob(other)[0].tolist() == [0, -math.inf, 0, 0]
    assert q.expand((2, 4)).log_prob(z[:2]).shape == (2, 4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_gradient_of_a_draw_goes_straight_through(kind: str) -> None:
    q = made(kind)(torch.randn(4, 2, 3))
    output = q.output.clone().requires_grad_()
    z = Quantised(output, q.code, q.indices).rsample((7,))
    assert torch.equal(z, q.sample((7,)))  # to the last bit: else log q(z|x) were -inf
    weights = torch.randn(7, 4, 2, 3)
    (gradient,) = torch.autograd.grad((weights * z).sum(), output)
    torch.testing.assert_close(gradient, weights.sum(0))


def test_the_nearest_code_is_the_nearest() -> None:
    family = VectorQuantised((4, 6), codes=50)
    output = torch.randn(30, 4, 6)
    distances = torch.cdist(output.transpose(1, 2), family.codebook)  # (30, 6, 50)
    q = family(output)
    assert torch.equal(q.indices, distances.argmin(-1))
    torch.testing.assert_close(q.distortion, distances.amin(-1).square().sum(1))


@pytest.mark.parametrize("levels", [[2], [3, 2], [8, 5, 5], [4, 3, 2, 7]])
def test_codes_of_finite_scalars_are_the_grid_one_index_each(levels: list[int]) -> None:
    family = FiniteScalar((len(levels), 1), levels)
    every = torch.arange(family.num_codes).unsqueeze(1)
    z = family.codes_of(every)
    assert torch.equal(family.indices_of(z), every)
    scales = [[(step - n // 2) / (n // 2) for step in range(n)] for n in levels]
    grid = {tuple(torch.tensor(point).tolist()) for point in product(*scales)}
    assert {tuple(point) for point in z.squeeze(2).tolist()} == grid
    assert len(grid) == family.num_codes == math.prod(levels)
    far = torch.linspace(-9, 9, 2001).reshape(-1, 1, 1).expand(-1, len(levels), 1)
    reached = family.codes_of(family.indices_of(family.squashed(far)))
    for number, scale in enumerate(scales):  # the outermost levels too
        assert set(reached[:, number, 0].tolist()) == set(torch.tensor(scale).tolist())
    torch.testing.assert_close(
        family.squashed(torch.zeros(1, len(levels), 1)).sum(), torch.zeros(()), atol=1e-6, rtol=0
    )  # an encoder that says nothing is in the middle


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_model_of_codes_in_double(kind: str) -> None:
    found = model(kind).double()
    data = batch((1, 8, 8))
    data = Batch(data.x.double(), data.y, data.index)
    trace: Trace = found(data, Pathwise(2).draw)
    assert trace.log_w.dtype is torch.float64
    assert trace.log_w.isfinite().all()
    assert found.sample(3, None).mean.dtype is torch.float64


# The bound


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_rate_is_m_log_k_and_every_draw_weighs_as_much(kind: str) -> None:
    found = model(kind)
    trace: Trace = found(batch((1, 8, 8)), sampled(4))
    (latent,) = trace.latents
    assert latent.has_density
    assert latent.has_closed_form_kl
    rate = 3 * math.log(found.posterior.num_codes)
    torch.testing.assert_close(latent.kl, torch.full((4, 5), rate))
    torch.testing.assert_close(latent.log_ratio, latent.kl)
    torch.testing.assert_close(trace.log_w, trace.log_w[:1].expand(4, 5))
    assert not has_limit(trace.latents)
    (scored,) = evidence(found, [batch((1, 8, 8))], 7, None, seed=0)
    torch.testing.assert_close(scored.log_px, scored.elbo, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_elbo_is_below_log_px_summed_over_all_codes(kind: str) -> None:
    found = model(kind)
    data = batch((1, 8, 8))
    trace: Trace = found(data, sampled(1))
    codes = found.posterior.num_codes
    every = torch.cartesian_prod(*[torch.arange(codes)] * 3)  # (K^3, 3)
    z = found.posterior.codes_of(every).unsqueeze(1)  # (K^3, 1, 2, 3)
    log_p = found.p_z(None).log_prob(z)
    torch.testing.assert_close(log_p.logsumexp(0), torch.zeros(1), atol=1e-4, rtol=0)
    log_px = (log_p + found.p_x(z, None).log_prob(data.x)).logsumexp(0)
    elbo = (trace.log_px - trace.kl.sum(0))[0]
    assert (elbo < log_px).all()
    best = (log_p + found.p_x(z, None).log_prob(data.x)).amax(0)
    assert (elbo <= best + 1e-4).all()  # it is the term of one z, and the KL is no more than that


def test_the_kl_to_another_kind_of_prior_is_not_made_up() -> None:
    q = made("vq")(torch.randn(4, 2, 3))
    with pytest.raises(NotImplementedError):
        kl_divergence(q, Independent(Normal(torch.zeros(2, 3), torch.ones(2, 3)), 2))


def test_draws_of_the_uniform_prior_are_codes() -> None:
    found = model("vq")
    p = found.p_z(None)
    z = p.sample((1000,))
    assert p.support.check(z).all()
    assert not p.support.check(z + 1e-3).any()
    counts = torch.bincount(found.posterior.indices_of(z).flatten(), minlength=5)
    assert ((counts - 600).abs() < 5 * math.sqrt(600)).all()


# What does not go together


@pytest.mark.parametrize(
    ("parts", "estimator", "said"),
    [
        ({"prior": StandardNormal}, Pathwise(), "the posterior is discrete and the prior contin"),
        ({"prior": UniformCategorical}, Pathwise(), "the prior is over other codes than the post"),
        ({}, ScoreFunction(), "score_function is biased"),
        ({}, StickingTheLanding(), "stl is biased"),
    ],
)
def test_what_is_refused(parts: dict[str, object], estimator: Pathwise, said: str) -> None:
    usual = {"posterior": FAMILIES["vq"], "prior": UniformCodes, "z_shape": (2, 3)}
    module = training(**{**usual, **parts})
    module.estimator = estimator
    with pytest.raises(InputError, match=said) as refused:
        first_pass(module, batch((1, 8, 8)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: VectorQuantised((4,), codes=8), r"not \[4\]: say model\.z_shape="),
        (
            lambda: VectorQuantised((4, 2), codes=2**40),
            r"too many .*: lower model\.posterior\.codes",
        ),
        (lambda: VectorQuantised((2**20, 2), codes=2**10), r"4 GiB: lower model\.posterior\.codes"),
        (lambda: FiniteScalar((9, 2), levels=[10**7] * 9), r"too many .* model\.posterior\.levels"),
        (lambda: FiniteScalar((4, 2, 5), levels=[8, 5]), r"say model\.z_shape=\[2,2,5\]"),
        (lambda: vae(prior=UniformCodes), "z is none: say model/prior=standard_normal"),
        (lambda: VQ(vae().context(), 0.25), "not quantised: say model=vq_vae, or objective=elbo"),
    ],
)
def test_bad_input_is_told_before_training(make: partial, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make()


# The codebook


def seen(family: VectorQuantised, outputs: Tensor) -> None:
    """A training step whose encoder said these, (N, D, M)."""
    q = family(outputs)
    family.observe(q.sample(), q)


def test_codes_are_running_means_of_what_became_them() -> None:
    decay, steps = 0.7, 6
    family = VectorQuantised((3, 2), codes=4, decay=decay, restart=0).double()
    uses, sums = torch.zeros(4).double(), torch.zeros(4, 3).double()
    for _ in range(steps):
        outputs = torch.randn(9, 3, 2).double()
        rows, indices = outputs.transpose(1, 2).reshape(-1, 3), family(outputs).indices.flatten()
        before = family.codebook.clone()
        seen(family, outputs)
        for code in range(4):
            own = rows[indices == code]
            uses[code] = decay * uses[code] + (1 - decay) * len(own)
            sums[code] = decay * sums[code] + (1 - decay) * own.sum(0)
            expected = sums[code] / uses[code] if uses[code] > 0 else before[code]
            torch.testing.assert_close(family.codebook[code], expected)
    torch.testing.assert_close(family.uses.sum(), torch.tensor((1 - decay**steps) * 18).double())


def test_codes_that_nothing_becomes_come_back() -> None:
    outputs = 100 + torch.randn(200, 2, 1)  # far from where codes begin: all become one of them
    still, family = (VectorQuantised((2, 1), codes=16, decay=0.8, restart=r) for r in (0, 0.02))
    still.load_state_dict(family.state_dict())
    other = copy.deepcopy(family)
    for each in (still, family, other):
        torch.manual_seed(3)
        for _ in range(30):
            seen(each, outputs)
    assert len(still(outputs).indices.unique()) == 1
    assert len(family(outputs).indices.unique()) == 16
    assert family(outputs).distortion.mean() < still(outputs).distortion.mean() / 4
    assert torch.equal(family.codebook, other.codebook)  # by the seed


def test_outputs_that_are_no_numbers_leave_the_codes_as_they_were() -> None:
    family = VectorQuantised((2, 3), codes=4)
    for _ in range(3):
        seen(family, torch.randn(50, 2, 3))
    before = family.codebook.clone()
    seen(family, torch.full((50, 2, 3), torch.nan))
    torch.testing.assert_close(family.codebook, before)
    outputs = torch.randn(50, 2, 3)
    outputs[7] = torch.inf
    seen(family, outputs)
    assert family.codebook.isfinite().all()


def test_a_training_step_moves_the_codebook_and_evaluation_does_not() -> None:
    found, data = model("vq"), batch((1, 8, 8))
    before = found.posterior.codebook.clone()
    trace = found(data, sampled(1))
    assert torch.equal(found.posterior.codebook, before)
    found.observe(trace)
    assert not torch.equal(found.posterior.codebook, before)


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_model_can_be_copied_and_sent_to_another_process(kind: str) -> None:
    whole, data = model(kind), batch((1, 8, 8))
    expected: Trace = whole(data, sampled(1))
    for other in (copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        assert other.prior.of_codes.args[0] is other.posterior
        torch.testing.assert_close(other(data, sampled(1)).log_w, expected.log_w)


# The objective


def test_the_commitment_is_a_squared_distance_beside_the_elbo() -> None:
    found, data = model("vq"), batch((1, 8, 8))
    trace: Trace = found(data, Pathwise(3).draw)
    context, epoch = found.context(), torch.tensor(0.0)
    bound = ELBO(context, Constant()).values(trace, epoch)
    output = found.encoder(data.x, None)
    distance = (output - trace.latents[0].q.mode).square().sum((1, 2))
    torch.testing.assert_close(VQ(context, 0.25).values(trace, epoch), bound - 0.25 * distance)
    assert VQ(context, 0.25).monitor == "objective"
    assert VQ(context, 0.0).monitor == "elbo"
    torch.testing.assert_close(VQ(context, 0.0).values(trace, epoch), bound)
    torch.testing.assert_close(IWAE(context)(trace, epoch), bound[0])


def test_commitment_draws_the_encoder_to_the_codes_alone() -> None:
    found, data = model("vq"), batch((1, 8, 8))
    output = found.encoder(data.x, None).detach().requires_grad_()
    q = found.posterior(output)
    (gradient,) = torch.autograd.grad(q.distortion.sum(), output)
    torch.testing.assert_close(gradient, 2 * (output - q.code).detach())


# One-hot rows are codes too


def test_one_hot_rows_are_indices_as_well() -> None:
    family = Categorical((4, 3))
    q = family(torch.randn(5, 4, 3))
    z = q.sample((2,))
    assert (family.num_positions, family.num_codes) == (4, 3)
    assert torch.equal(family.codes_of(family.indices_of(z)), z)
    p = vae(posterior=Categorical, prior=UniformCodes, z_shape=(4, 3)).p_z(None)
    torch.testing.assert_close(p.log_prob(z), torch.full((2, 5), -4 * math.log(3)))
    assert p.support.check(z).all()


@pytest.mark.parametrize("scale", [1e-2, 1e3])
def test_an_encoder_that_says_little_or_shouts_has_many_codes(scale: float) -> None:
    outputs = scale * torch.randn(50, 4, 16)  # 0.1 at first; without a norm all were one code
    family = FiniteScalar((4, 16), [8, 5, 5, 5])
    plain = family.indices_of(family.squashed(outputs)).unique()
    assert len(family(outputs).indices.unique()) > 200 > len(plain)
