"""The benchmarks' arithmetic, their table, and that contestants do the same work."""

import doctest
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from benchmarks import case as case_module
from benchmarks import measure as measure_module
from benchmarks import models
from benchmarks.case import Case
from benchmarks.clock import Clock
from benchmarks.contestants import CONTESTANTS, Contestant, bare
from benchmarks.contestants.ours import train_command
from benchmarks.measure import Entrant, Measured, busy_process, in_turn, measure
from benchmarks.plots import draw
from benchmarks.report import ratio, results, rows
from benchmarks.suite import BENCHMARKS, quick, start_up, training
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae_lab.config import build
from vae_lab.config.compose import compose_config

CASE = Case("mlp", 6400)


def measured(who: str, number: int, *epochs: float, **others: object) -> Measured:
    return Measured(who, number, 0.1, 0.2, 9.0, epochs=(7.0, *epochs), peak_mib=300.0, **others)  # type: ignore[arg-type]


def test_the_examples_run() -> None:
    for module in (case_module, measure_module):
        found = doctest.testmod(module)
        assert found.attempted > 0
        assert found.failed == 0


@pytest.mark.parametrize("entrants", [1, 2, 5])
def test_everyone_has_every_turn_equally_often(entrants: int) -> None:
    turns = [who for _, who in in_turn(range(entrants), entrants)]
    rounds = [turns[at : at + entrants] for at in range(0, len(turns), entrants)]
    for turn in zip(*rounds, strict=True):
        assert sorted(turn) == list(range(entrants))


def test_the_first_epoch_is_not_counted() -> None:
    assert training(measured("ours", 0, 2.0, 4.0)) == 3.0
    assert training(Measured("ours", 0, 0, 0, 9.0)) is None
    with pytest.raises(ValueError, match="2 or more"):
        replace(CASE, epochs=1)


def test_a_start_without_a_step_ends_with_its_process() -> None:
    assert start_up(measured("imports", 0)) == 9.0
    assert start_up(replace(measured("ours", 0), to_first_step=2.5)) == 2.5


def test_ratios_are_within_rounds() -> None:
    ours = [measured("ours", 0, 1.0), measured("ours", 1, 30.0), measured("ours", 2, 3.0)]
    its = [measured("it", 0, 2.0), measured("it", 1, 20.0), replace(measured("it", 2), epochs=())]
    assert ratio(ours, its, training) == (1.0, 0.5, 1.5)  # of the third round there is none
    assert ratio(ours, its[2:], training) is None


def test_a_table_names_the_fastest_other_and_why_one_failed() -> None:
    found = {
        "ours": [measured("ours", 0, 2.0, loss=100.0), measured("ours", 1, 2.0, loss=102.0)],
        "slow": [measured("slow", 0, 8.0), measured("slow", 1, 8.0)],
        "fast": [measured("fast", 0, 1.0), measured("fast", 1, 1.0)],
        "gone": [replace(measured("gone", 0), epochs=(), failed="more than 300 s")],
    }
    ours, slow, fast, gone = rows(BENCHMARKS["mlp"], CASE, found)
    assert ours == ["ours", "3,200", "2.00", "", "101.00", "300", "0.20"]
    assert slow[:4] == ["slow", "800", "8.00", "0.25 [0.25, 0.25]"]
    assert fast[3] == "**2.00 [2.00, 2.00]**"
    assert gone[:3] == ["gone", "", "more than 300 s"]


def test_results_are_written_from_what_is_kept(tmp_path: Path) -> None:
    benchmark = BENCHMARKS["batch"]
    contests = [
        {"case": asdict(c.case), "busy": c.busy,
         "measured": [asdict(measured(e.name, 0, 64 / c.case.batch)) for e in c.entrants]}
        for c in benchmark.contests
    ]  # fmt: skip
    found = json.loads(json.dumps({"origin": ["a machine", "a date"], "contests": contests}))
    text = results({"batch": found})
    assert "## Growth with the batch\n\na machine  \na date  \n" in text
    assert "| mlp, batch 128, fp32, 12,800 images | ours | 25,600 | 0.50 |" in text
    assert text.count("\n## ") == 1
    draw(benchmark, found, tmp_path / "figures" / "batch.png")
    assert 0 < (tmp_path / "figures" / "batch.png").stat().st_size < 40_000


def test_every_contest_is_of_known_contestants_and_keeps_a_quick_form() -> None:
    for benchmark in BENCHMARKS.values():
        for contest in benchmark.contests:
            assert {entrant.contestant for entrant in contest.entrants} <= set(CONTESTANTS)
        short = quick(benchmark)
        assert [contest.busy for contest in short.contests] in ([False], [False, True])
        assert short.contests[0].entrants == benchmark.contests[0].entrants
        assert short.rounds == 1


@pytest.mark.parametrize("name", models.MODELS)
def test_ours_and_the_plain_model_are_of_one_architecture(name: str) -> None:
    case = Case(name, 100)
    asked = [word for word in train_command(case, Path("out"))[2:] if "clock" not in word]
    ours = build.model(compose_config("train", asked).model)
    shapes = [sorted(p.shape for p in m.parameters()) for m in (ours, models.PlainVAE(case))]
    assert shapes[0] == shapes[1]


def test_the_plain_loss_is_minus_the_elbo() -> None:
    model, x = models.PlainVAE(CASE), torch.rand(3, 1, 28, 28)
    mu, log_var = model.encoder(x).chunk(2, 1)
    q, p = Normal(mu, (log_var / 2).exp()), Normal(torch.zeros_like(mu), 1.0)
    torch.manual_seed(1)
    z = mu + torch.randn(mu.shape) * q.stddev
    likelihood = Bernoulli(logits=model.decoder(z), validate_args=False)
    elbo = likelihood.log_prob(x).flatten(1).sum(1) - kl_divergence(q, p).sum(1)
    torch.manual_seed(1)
    torch.testing.assert_close(model(x), -elbo.mean())


def test_the_plain_evidence_is_the_mean_weight() -> None:
    model, x = models.PlainVAE(CASE), models.binary(torch.randint(256, (3, 1, 28, 28)))
    mu, log_var = model.encoder(x).chunk(2, 1)
    q, p = Normal(mu, (log_var / 2).exp()), Normal(torch.zeros_like(mu), 1.0)
    torch.manual_seed(1)
    z = mu + torch.randn(4, *mu.shape) * q.stddev
    log_px_z = torch.stack([Bernoulli(logits=model.decoder(one)).log_prob(x) for one in z])
    log_w = log_px_z.flatten(2).sum(2) + (p.log_prob(z) - q.log_prob(z)).sum(2)
    torch.manual_seed(1)
    expected = log_w.double().exp().mean(0).log().float()
    torch.testing.assert_close(model.log_px(x, 4), expected)


def test_a_bare_loop_learns_and_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(64, 1, 28, 28, dtype=torch.uint8)
    monkeypatch.setattr(bare, "pixels", lambda case: images)
    clock = Clock()
    loss = bare.train_fused(Case("mlp", 64, batch=8, epochs=2), clock)
    assert loss < 300  # of black images; it began above 500
    assert len(clock.seconds) == 2
    assert clock.first_step is not None


@pytest.mark.process
def test_a_process_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(said: str) -> Contestant:
        return Contestant("", lambda case, out: [sys.executable, "-c", said.format(out=out)])

    notes = (
        "import json, os; assert 'GOMP_SPINCOUNT' not in os.environ;"
        "noted = dict(seconds=[1, 2], first_step=None, loss=int(os.environ['OMP_NUM_THREADS']));"
        "open('{out}', 'w').write(json.dumps(noted | dict(peak_mib=5)))"
    )
    monkeypatch.setenv("GOMP_SPINCOUNT", "7")
    monkeypatch.setitem(CONTESTANTS, "good", child(notes))
    monkeypatch.setitem(CONTESTANTS, "bad", child("raise SystemExit('no data')"))
    monkeypatch.setitem(CONTESTANTS, "slow", child("import time; time.sleep(60)"))
    with busy_process():
        good = measure(Entrant("good", (("OMP_NUM_THREADS", "3"),)), CASE, 1, limit=30)
    assert (good.entrant, good.round, good.failed) == ("good OMP_NUM_THREADS=3", 1, None)
    assert (good.epochs, good.loss, good.peak_mib) == ((1, 2), 3, 5)
    assert 0 < good.wall < 30
    assert measure(Entrant("bad"), CASE, 0, limit=30).failed == "no data"
    assert measure(Entrant("slow"), CASE, 0, limit=0.2).failed == "more than 0.2 s"
