"""The progress bar: what it shows is true, and fits a terminal."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from conftest import QUICK
from parts import datamodule, trainer, training

from vae_lab import train
from vae_lab.callbacks.progress import Progress
from vae_lab.data import Digits
from vae_lab.estimators import Pathwise
from vae_lab.model.context import Context
from vae_lab.objectives import ELBO, IWAE, Constant, Objective
from vae_lab.support import Support


@pytest.mark.parametrize("objective", [partial(ELBO, beta=Constant(4.0)), IWAE])
def test_its_elbo_is_the_elbo_at_beta_1_whatever_trains(
    objective: Callable[[Context], Objective],
) -> None:
    module = training(objective)
    module.estimator = Pathwise(num_draws=4)
    fit = trainer()
    fit.fit(module, datamodule=datamodule(Digits(), Support.BINARY, val_size=64, limit=32))
    shown, logged = Progress().get_metrics(fit, module), fit.callback_metrics  # of one step
    assert shown["elbo"] == pytest.approx(float(logged["train/elbo"]), rel=1e-5)
    assert abs(shown["elbo"] - float(logged["train/objective"])) > 5e-4
    assert "val/objective" in shown  # what selects


def test_it_stays_on_one_line_of_80_columns_and_counts_epochs_from_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("COLUMNS", "80"), ("FORCE_COLOR", "1"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    quick = [o for o in QUICK if not o.startswith(("callbacks.progress", "trainer.max_epochs"))]
    asked = ["data=digits", "data.limit=64", "objective.beta.value=4", "trainer.max_epochs=10"]
    train([*quick, *asked, f"hydra.run.dir={tmp_path / 'run'}"])
    said = capsys.readouterr().out
    assert "Epoch" in said
    assert "\x1b[1A" not in said  # the cursor never goes up: no bar of several lines
    frames = re.split(r"[\r\n]", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said))
    bars = [frame for frame in frames if frame.startswith("Epoch")]
    assert bars[0].startswith("Epoch 1/10")
    assert bars[-1].startswith("Epoch 10/10")
    assert "val/objective: " in bars[-1]
    assert all(len(bar) <= 80 for bar in bars)


def test_a_refresh_rate_of_0_is_no_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    quick = [o for o in QUICK if not o.startswith("callbacks.progress")]
    none = ["callbacks.progress.refresh_rate=0", "data.limit=64", "trainer.max_epochs=1"]
    train([*quick, *none, f"hydra.run.dir={tmp_path / 'run'}"])
    assert "Epoch 1/1" not in capsys.readouterr().out
