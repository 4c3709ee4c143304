"""Files of experiments that name two of a thing, or something that is not there."""

from pathlib import Path

import pytest
from conftest import QUICK
from hydra.conf import HydraConf
from parts import choices

from vae_lab import InputError, train
from vae_lab.config.chosen import check_files
from vae_lab.config.compose import compose_config

HEAD = "# @package _global_\n"


def overriding(*entries: str) -> str:
    return "\n".join([f"{HEAD}defaults:", *(f"  - {entry}" for entry in entries), ""])


TWO_DATA = overriding("override /data: mnist", "override /data: digits")
BAD = {
    "two data sets": (TWO_DATA, r"bad\.yaml names two of data, mnist and digits: keep one"),
    "two estimators": (
        overriding("override /estimator: pathwise", "override /estimator: pathwise"),
        "names two of estimator",
    ),
    "two objectives": (
        overriding("override /objective@objective: iwae", "override /objective: elbo"),
        "names two of objective, iwae and elbo",
    ),
    "two likelihoods": (
        overriding(
            "override /model/likelihood: gaussian",
            "override /model/likelihood@_global_.model.likelihood: bernoulli",
        ),
        "names two of model/likelihood, gaussian and bernoulli",
    ),
    "a list": (overriding("override /data: [mnist, digits]"), "data is given a list: name one"),
    "a second one": (overriding("/data: digits"), "Multiple values for data"),
    "a value": (f"{HEAD}data: digits\n", "sets data to digits, which is no choice of it: say"),
    "a key twice": (f"{HEAD}seed: 1\nseed: 2\n", r"bad\.yaml, line 3: found duplicate key seed"),
    "no such choice": (overriding("override /data: mnits"), "unknown choice of data 'mnits'"),
    "no such group": (overriding("override /dta: mnist"), "Could not override 'dta'.*Groups: .*da"),
    "no package": (
        "defaults:\n  - override /data: mnist\n",
        "A file that overrides begins with `# @package _global_`",
    ),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_a_bad_experiment_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "bad.yaml").write_text(text)
    quick = [override for override in QUICK if not override.startswith("data=")]
    with pytest.raises(InputError, match=said) as caught:
        train([*quick, f"hydra.searchpath=[file://{tmp_path}]", "experiment=bad",
               f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)  # fmt: skip
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def hydra(*overrides: str) -> HydraConf:
    return compose_config("train", overrides, return_hydra_config=True).hydra


def test_two_files_may_choose_of_one_group(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    mine = overriding("override /data: mnist", "override /model/likelihood: gaussian")
    (tmp_path / "experiment" / "mine.yaml").write_text(mine)
    check_files(hydra(f"hydra.searchpath=[file://{tmp_path}]", "experiment=mine"))


@pytest.mark.parametrize("experiment", choices("experiment"))
def test_ours_are_good(experiment: str) -> None:
    check_files(hydra(f"experiment={experiment}"))
