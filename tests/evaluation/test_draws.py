"""What importance weights say of the estimate they make."""

import math
from collections.abc import Callable

import pytest
import torch
from test_evaluation import ExactModel, data_of
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from vae_lab.evaluation.draws import DrawCheck
from vae_lab.evaluation.evidence import Evidence, _Weights, evidence
from vae_lab.model import LatentVariableModel
from vae_lab.trace import Batch, Draw, Trace


def test_an_exact_posterior_wastes_no_draw() -> None:
    model = ExactModel()
    (found,) = evidence(model, [data_of(model)], 30, 100, seed=0)
    torch.testing.assert_close(found.effective_draws, torch.full((40,), 30.0).double())
    assert float(found.rise.max()) < 1e-9
    check = DrawCheck.of(found, 30)
    assert check.monte_carlo_error < 1e-6
    assert check.doubts() == []


def test_effective_draws_and_error_have_their_closed_form_where_the_posterior_is_too_wide() -> None:
    # q has c times the covariance of p(z|x), in d dimensions: E_q[w^2] / E_q[w]^2 is known.
    c, d, k, n = 2.0, 3, 400, 300
    second_moment = (c / (2 - 1 / c)) ** (d / 2)
    model = ExactModel(widen=c)
    data = data_of(model, n)
    (found,) = evidence(model, [data], k, 100, seed=0)
    share = found.effective_draws / k
    assert float(share.mean()) == pytest.approx(
        1 / second_moment, abs=4 * float(share.std() / n**0.5)
    )
    off = found.log_px - model.exact.log_evidence(data.x)
    expected = math.sqrt((second_moment - 1) / k / n)  # of the mean over items
    assert DrawCheck.of(found, k).monte_carlo_error == pytest.approx(expected, rel=0.1)
    assert float(off.std()) / math.sqrt(n) == pytest.approx(expected, rel=5 / math.sqrt(2 * n))
    rise = (second_moment - 1) / 2 * (10 / k - 1 / k)  # to first order, as is the error
    assert float(found.rise.mean()) == pytest.approx(rise, rel=0.15)


def test_sums_over_weights_are_those_of_all_weights_at_once_in_whatever_chunks() -> None:
    for k in (1, 7, 10, 23, 200):
        log_w = 5 * torch.randn(k, 6, dtype=torch.float64)
        w = log_w.exp()
        shares = log_w.tensor_split([k * s // min(10, k) for s in range(1, min(10, k))])
        alone = sum(len(s) / k * (s.exp().mean(0)).log() for s in shares)
        expected = w.mean(0).log(), w.mean(0).log() - alone, w.sum(0) ** 2 / w.square().sum(0)
        for chunk in (1, 3, 50, k):
            weights = _Weights(k)
            for part in log_w.split(chunk):
                weights.add(part)
            assert weights.shares.shape == (min(10, k), 6)  # all that is kept, besides squares
            for found, wanted in zip(weights.summary(), expected, strict=True):
                torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


class TwoModes(LatentVariableModel):
    """p(z|x) has nearly all its mass in a mode that q(z|x) draws from `found` of the time.

    p(x|z) is 1, so log p(x) is 0; without its second mode log p(x) would be -6.
    """

    reads_labels = False
    num_units = 1

    def __init__(self, found: float) -> None:
        super().__init__((1,), None)
        self.anchor = nn.Parameter(torch.zeros(()))
        self.p, self.q = self.modes(1 - math.exp(-6)), self.modes(found)

    def modes(self, second: float) -> Distribution:
        weights = Categorical(torch.tensor([1 - second, second], dtype=torch.float64))
        at = torch.tensor([[0.0], [100.0]], dtype=torch.float64)
        return MixtureSameFamily(weights, Independent(Normal(at, torch.ones_like(at)), 1))

    def given(self, batch: Batch) -> Callable[[Draw], Trace]:
        def trace(draw: Draw) -> Trace:
            latent = draw(self.q.expand((len(batch.x),)), self.p)
            return Trace(batch.x, None, _Certain(latent.z), (latent,))

        return trace

    def sample(self, n: int, y: Tensor | None) -> Distribution:
        raise NotImplementedError

    def reconstruct(self, batch: Batch) -> Distribution:
        raise NotImplementedError


class _Certain(Distribution):
    """Gives every x density 1."""

    def __init__(self, z: Tensor) -> None:
        super().__init__(z.shape[:2], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        return torch.zeros(self.batch_shape, dtype=torch.float64)


def scored(found: float, k: int, n: int = 100) -> Evidence:
    data = Batch(torch.zeros(n, 1), None, torch.arange(n))
    (evidence_found,) = evidence(TwoModes(found), [data], k, 100, seed=0)
    return evidence_found


def test_a_mode_that_a_draw_in_two_thousand_finds_leaves_its_sign() -> None:
    found = scored(1 / 2000, 1000)
    hit = found.log_px > -3
    assert 20 < int(hit.sum()) < 60  # 39 of 100 are expected
    torch.testing.assert_close(
        found.log_px[~hit], torch.full_like(found.log_px[~hit], -6), atol=0.01, rtol=0
    )
    assert float(found.effective_draws[hit].max()) < 8  # as many as hits, in effect
    assert (found.rise[hit] > 2).all()
    check = DrawCheck.of(found, 1000)
    assert check.effective_least < 1.5
    assert check.items_in_doubt >= 15
    assert len(check.doubts()) == 2


def test_a_mode_found_by_a_few_of_many_draws_shows_in_the_rise_alone() -> None:
    found = scored(1 / 500, 1000, n=400)
    several = (found.effective_draws > 1.5) & (found.rise > 3)
    assert several.any()  # effective draws alone would have let them pass
    assert DrawCheck.of(found, 1000).items_in_doubt >= int(several.sum())


@pytest.mark.parametrize(
    ("k", "share"), [(2, "1"), (5, "1"), (15, "1 or 2"), (23, "2 or 3"), (1000, "100")]
)
def test_the_rise_says_from_how_many_draws(k: int, share: str) -> None:
    check = DrawCheck(k, 1.0, 1.0, 2.0, 2.0, 0.1, 9, 0)
    assert set(map(str, _Weights(k).edges.diff().tolist())) == set(share.split(" or "))
    assert check.share == share
    assert f"from {share} draws to {k}" in check.doubts()[0]


def test_a_mode_that_no_draw_finds_is_seen_by_nothing() -> None:
    # The limit that the documentation admits: a bound, six nats low, with every sign of health.
    found = scored(1e-12, 1000)
    torch.testing.assert_close(found.log_px, torch.full_like(found.log_px, -6.0))
    check = DrawCheck.of(found, 1000)
    assert check.effective_least == pytest.approx(1000)
    assert check.doubts() == []
