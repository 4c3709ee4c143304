"""vae-lab as its users run it: `python train.py`, and `log_prob` of what that trained."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.case import ROOT, Case
from benchmarks.clock import Clock
from benchmarks.models import MODELS, binary, pixels, units

_PRECISIONS = {"fp32": "32-true", "bf16": "bf16-mixed"}


def train_command(case: Case, out: Path) -> list[str]:
    """The same work as the others do: no validation, no test, Adam at a constant rate."""
    loss = "model/likelihood=bernoulli_grey"
    return _train_py([*_overrides(case), loss, f"trainer.max_epochs={case.epochs}"], out)


def start_command(case: Case, out: Path) -> list[str]:
    """The quickest run there is; only its first step counts."""
    return _train_py(["data=digits", "trainer.max_epochs=1", "test=false", "logger=csv"], out)


def score(case: Case, clock: Clock) -> float:
    """Score images under a model that has taken one step; minus the mean of log p(x) in nats."""
    from vae_lab import train

    quick = ["trainer.max_epochs=1", "+trainer.limit_train_batches=1", "callbacks.figures=null"]
    with TemporaryDirectory() as folder:
        asked = [*_overrides(case), "model/likelihood=bernoulli", *quick]
        model = train([*asked, f"hydra.run.dir={folder}/run"], quiet=True).load()
    x = binary(pixels(case))
    for number in range(case.epochs):
        clock.begin_epoch()
        log_px = model.log_prob(x, case.draws, seed=number)
        clock.step()
        clock.end_epoch()
    return -float(log_px.mean())


def _train_py(asked: list[str], out: Path) -> list[str]:
    clock = ["+callbacks.clock._target_=benchmarks.clocked.Clocked", f"+callbacks.clock.out={out}"]
    where = f"hydra.run.dir={out.parent / 'run'}"
    return [sys.executable, str(ROOT / "train.py"), *asked, *clock, where]


def _overrides(case: Case) -> list[str]:
    several = ["objective=iwae", f"estimator.num_draws={case.draws}"] if case.draws > 1 else []
    return [
        *MODELS[case.model].overrides,
        f"model.z_shape=[{units(case)}]",
        *("optimizer=adam", "optimizer.lr=1e-3", "optimizer.betas=[0.9,0.999]", "scheduler=none"),
        *("data.val_size=0", "data.split_seed=null", f"data.limit={case.images}"),  # the first ones
        f"data.batch_size={case.batch}",
        *several,
        f"trainer.precision={_PRECISIONS[case.precision]}",
        *(f"seed={case.seed}", "test=false", "logger=csv"),
    ]
