"""What values may be: a bad one is told in one line that names its key, and nothing is written."""

import math
from collections.abc import Iterator
from functools import cache
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import pytest
from conftest import QUICK, SMALL
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from parts import CONF
from test_docs import TARGETS

from vae_lab import InputError, train
from vae_lab.config.allowed import check_parts, locate
from vae_lab.config.compose import compose_config
from vae_lab.config.settings import (
    EvaluateSettings,
    ExportSettings,
    TrainSettings,
    check_settings,
    kinds,
)
from vae_lab.evaluation.score import ScoreSettings
from vae_lab.experiment.failures import cannot_go_on

NUMBERS = {  # a key, and what was chosen that it applies to
    "optimizer.lr": [],
    "optimizer.weight_decay": ["optimizer=adamw"],
    "objective.beta.value": [],
    "objective.beta.epochs": ["objective/beta=linear_warmup"],
    "objective.beta.start": ["objective/beta=linear_warmup"],
    "objective.beta.period": ["objective/beta=cyclical"],
    "objective.beta.ramp": ["objective/beta=cyclical"],
    "scheduler.hold": [],
    "scheduler.gamma": ["scheduler=step"],
    "scheduler.step_size": ["scheduler=step"],
    "scheduler.factor": ["scheduler=plateau"],
    "scheduler.eta_min": ["scheduler=cosine"],
    "early_stopping.patience": ["early_stopping=patience"],
    "early_stopping.min_delta": ["early_stopping=patience"],
    "ema.decay": ["ema=default"],
    "gradient_skip.above": ["gradient_skip=default"],
    "model.likelihood.sigma.init": ["model/likelihood=gaussian"],
    "model.encoder.widths": [],
    "model.z_shape": [],
    "model.encoder.kernel": ["model=conv_vae"],
    "estimator.num_draws": [],
    "callbacks.figures.every_n_epochs": ["callbacks.figures.folder=figures"],
    "callbacks.last.every_n_steps": [],
    "data.batch_size": [],
    "data.val_size": [],
    "data.test_size": [],
    "data.resident_gib": [],
    "data.num_workers": [],
    "data.split_seed": [],
    "data.limit": [],
    "seed": [],
    "trainer.max_epochs": [],
    "trainer.gradient_clip_val": [],
    "trainer.accumulate_grad_batches": [],
    "trainer.devices": [],
}
BAD = [
    *(([*beside, f"{key}=abc"], f"{key} must be") for key, beside in NUMBERS.items()),
    (["trainer.precision=64-true"], "trainer.precision must be 32-true, bf16-mixed, 16-mixed"),
    (["trainer.max_epochs=1.5"], "trainer.max_epochs must be a whole number of 1 or more, -1 or"),
    (["trainer.accumulate_grad_batches=0"], "must be a whole number of 1 or more, not 0."),
    (["trainer.accumulate_grad_batches=1.5"], "must be a whole number of 1 or more, not 1.5."),
    (["early_stopping=patience", "early_stopping.patience=-1"], "early_stopping.patience must be"),
    ([f"data.batch_size={10**30}"], "data.batch_size must be a whole number of 1 or more"),
    (["scheduler=step", "scheduler.step_size=0"], "scheduler.step_size must be a whole number"),
    (["scheduler=step", "scheduler.gamma=0"], "scheduler.gamma must be a number above 0, not 0."),
    (["optimizer.lr=null"], "optimizer.lr must be a number above 0, not null."),
    (["optimizer.lr=0"], "optimizer.lr must be a number above 0, not 0."),
    (["optimizer.lr=-1"], "optimizer.lr must be a number above 0, not -1."),
    (["optimizer.betas=[0.9,2]"], "must be a list of 2 numbers of 0 or more and below 1, not [0."),
    (["optimizer.betas=abc"], "must be a list of 2 numbers of 0 or more and below 1, not abc"),
    (["optimizer.betas=[0.9]"], "must be a list of 2 numbers of 0 or more and below 1, not [0.9]"),
    (["optimizer.eps=1e-6"], "optimizer.eps is not in the YAML: say +optimizer.eps="),
    (["optimizer._target_=torch.optim.SparseAdam"], "SparseAdam does not support dense gradients"),
    (
        ["optimizer._target_=null"],
        "_target_ must be the dotted path of a class, such as torch.optim",
    ),
    (
        ["optimizer._target_=Adam"],
        "_target_ must be the dotted path of a class, such as torch.optim",
    ),
    (["+optimizer.maximize=true"], "optimizer.maximize must be false, not true."),
    (["+ema.decay=0.9"], "ema must be a part. Say ema=default."),
    (["+gradient_skip.above=3"], "gradient_skip must be a part. Say gradient_skip=default."),
    (["+early_stopping.patience=3"], "early_stopping must be a part. Say early_stopping=patience."),
    (
        ["+profiler.dirpath=a"],
        "profiler must be a part. Say profiler=advanced or pytorch or simple",
    ),
    (
        ["scheduler=none", "+scheduler.gamma=1"],
        "scheduler must be a part. Say scheduler=cosine or hold_then_linear or plateau or step.",
    ),
    (["scheduler=plateau", "scheduler.mode=min"], "scheduler.mode must be max, not min."),
    (["callbacks.system=5"], "callbacks.system must be a part, with a _target_, not 5."),
    (["+callbacks.diary=5"], "callbacks.diary must be a part, with a _target_, not 5."),
    (["callbacks.best.dirpath=other"], "callbacks.best.dirpath=other: leave it out. Checkpoints"),
    (["callbacks.last.dirpath=other"], "callbacks.last.dirpath=other: leave it out. Checkpoints"),
    (
        ["+trainer.val_check_interval=1000"],
        "val_check_interval=1000 is more than the 38 batches of",
    ),
    (["trainer.accumulate_grad_batches=1000"], "=1000 is more than the 38 batches of an epoch"),
    (
        ["objective=dip_i", "data.batch_size=1"],
        "every batch here is of one alone: raise data.batch_size.",
    ),
    (["objective=info_vae", "data.limit=1"], "every batch here is of one alone: raise data.limit."),
    (
        ["trainer=ddp", "trainer.devices=2", "data.limit=1"],
        "there are fewer training items than the 2 processes: lower trainer.devices, or raise",
    ),
    (["trainer.precision=8"], "16-mixed or 32, not 8."),
    (
        ["objective.beta.value=1e300"],
        "objective.beta.value must be a number of 0 or more, not 1e+30",
    ),
    (["~seed"], "seed is missing: say +seed=..."),
    (["~trainer.precision"], "trainer.precision is missing: say +trainer.precision=..."),
    (["~model.z_shape"], "model (VAE) lacks z_shape: say +model.z_shape=..."),
    (["~data.val_size"], "data (Digits) lacks val_size: say +data.val_size=..."),
    (["~objective.beta"], "objective cannot be built: it lacks 'beta'"),
    (["~model.encoder.widths"], "model cannot be built: it lacks 'widths'"),
    (
        ["~model.encoder._partial_"],
        "model.encoder is built late: its YAML needs `_partial_: true`.",
    ),
    (["~optimizer._partial_"], "optimizer is built late: its YAML needs `_partial_: true`."),
    (
        ["logger=wandb", "logger.project=a/b"],
        "logger.project must be a name without / \\ # ? % :, n",
    ),
    (["logger=wandb", "logger.id=a/b"], "logger.id must be a name without : ; , # ? / ' or spaces"),
    (["model.encoder.widths=[300,abc]"], "model.encoder.widths must be whole numbers of 1 or more"),
    (
        [f"seed={2**32}"],
        "seed must be a whole number of 0 or more and below 4294967296, not 429496",
    ),
    ([f"seed={10**30}"], "seed must be a whole number of 0 or more and below 4294967296, not a"),
    (["seed=1.5"], "seed must be a whole number"),
    (["test=abc"], "test must be true or false, not abc."),
    (["compile=1"], "compile must be true or false, not 1."),
    (["lr_find=maybe"], "lr_find must be true or false, not maybe."),
    (["data=glyphs", "data.count=0"], "data.count must be a whole number of 1 or more, not 0."),
    (["data=glyphs", "data.seed=-1"], "data.seed must be a whole number of 0 or more"),
    (["tags=abc"], "tags must be a list of texts, not abc."),
    (["resume=[1]"], "resume must be text"),
    (["resume=5"], "no run at"),
    (["init_from=true"], "init_from must be text or null, not true."),
    (["init_from=5"], "no checkpoint at 5"),
    (["callbacks.best=null", "callbacks.last=null"], "keep callbacks.last or, with"),
    (["data.val_size=0", "callbacks.last=null"], "keep callbacks.last"),
    (["+trainer.limit_train_batches=0"], "trainer.limit_train_batches must be a whole number of 1"),
    (["model.likelihood=null"], "Say model/likelihood=bernoulli or "),
    (["model.encoder=null"], "model.encoder must be a part. Say model/encoder=conv or mlp or"),
    (
        ["objective.beta=4"],
        "objective.beta must be a part. Say objective/beta=constant or cyclical",
    ),
    (["logger=[wandb,csv]"], "logger=[wandb,csv]: a group, such as logger, takes one of its choic"),
    (["logger=wandb", "logger.tags=5"], "logger.tags must be"),
    (["data.binarize=maybe"], "data.binarize must be auto or true or false, not maybe."),
    (["model.encoder.widths=[300"], "model.encoder.widths=[300 cannot be read"),
    (["model.encoder.widths=[1000000000]"], "out of memory: lower data.batch_size"),
    (["lr=1e-3"], "Did you mean 'optimizer.lr'? Say optimizer.lr=1e-3."),
    (["epochs=5"], "Did you mean 'trainer.max_epochs'? Say trainer.max_epochs=5."),
    (["batch_size=64"], "Did you mean 'data.batch_size'? Say data.batch_size=64."),
    (["data=_common"], "unknown choice of data '_common'"),
]


@pytest.mark.parametrize(
    ("overrides", "said"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_a_bad_value_is_one_line_that_names_its_key_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    quick = [o for o in QUICK if o.partition("=")[0] not in " ".join(overrides)]
    with pytest.raises(InputError) as told:
        train([*quick, "data=digits", "hydra.run.dir=run", *overrides], quiet=True)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400
    assert not list(tmp_path.iterdir())


@cache
def composed(*overrides: str) -> DictConfig:
    return compose_config("train", ["data=digits", *overrides])


@pytest.mark.parametrize("value", [math.nan, math.inf, -2, True])
@pytest.mark.parametrize("key", NUMBERS)
def test_what_is_no_such_number_is_one_line_that_names_its_key(key: str, value: float) -> None:
    cfg = composed(*NUMBERS[key]).copy()
    check_settings(check_parts(cfg, complete=False), [TrainSettings])
    OmegaConf.update(cfg, key, value)
    with pytest.raises(InputError, match=f"{key} must be") as told:
        check_settings(check_parts(cfg, complete=False), [TrainSettings])
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 400


@pytest.mark.parametrize("kind", ["EarlyStopping", "ModelCheckpoint"])
def test_a_monitor_that_nothing_logs_is_told_in_one_line(tmp_path: Path, kind: str) -> None:
    target = f"+callbacks.own._target_=lightning.pytorch.callbacks.{kind}"
    small = ["data.limit=32", "+callbacks.own.monitor=nothing", f"hydra.run.dir={tmp_path / 'run'}"]
    with pytest.raises(InputError, match="Lightning refuses this run: .*nothing"):
        train([*QUICK, target, *small], quiet=True)


def test_a_fault_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError) as fault:
        raise RuntimeError("a fault")
    job: Any = SimpleNamespace(cfg=SimpleNamespace(data=SimpleNamespace(batch_size=1)))
    assert cannot_go_on(job, fault.value) is None


def test_a_run_needs_no_key_that_lightning_and_torch_have_a_default_for(tmp_path: Path) -> None:
    left = ["~optimizer.lr", "~trainer.accumulate_grad_batches", "data.limit=32", "test=false"]
    finished = train([*QUICK, *left, f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    assert finished.metrics["train/elbo"] < 0


@pytest.mark.parametrize("key", ["resume", "init_from"])
def test_a_folder_may_be_called_5(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "5").symlink_to(digits_run)
    if key == "resume":
        with pytest.raises(InputError, match="has finished: say trainer.max_epochs"):
            train(["resume=5"], quiet=True)
    else:
        asked = [*QUICK, *SMALL, "data=digits", "data.limit=32", "init_from=5", "hydra.run.dir=new"]
        assert train([*asked, "name=5", "test=false"]).metrics["train/elbo"] < 0


def test_a_width_alone_trains_one_layer(tmp_path: Path) -> None:
    asked = [*QUICK, "data=digits", "data.limit=32", "model.encoder.widths=30", "test=false"]
    finished = train([*asked, f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    assert finished.load().model.encoder.network[1][0].out_features == 30


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "sys.exit", "torch.load"])
def test_nobody_is_told_to_trust_what_runs_anything(target: str) -> None:
    with pytest.raises(InputError, match="may not be built") as told:
        locate(target)
    assert "TRUST" not in str(told.value)


# Everything is declared


@pytest.mark.parametrize("target", TARGETS)
def test_every_argument_of_a_part_says_what_it_may_be(target: str) -> None:
    for name, kind in kinds(get_object(target)).items():
        assert kind is not Any, f"annotate `{name}` of {target}"


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_argument_of_our_parts_is_in_their_yaml(path: Path) -> None:
    for node in parts_in(OmegaConf.to_container(OmegaConf.load(path))):
        part = get_object(node["_target_"])
        free = {n for n, p in signature(part).parameters.items() if p.default is not p.empty}
        assert free <= node.keys(), f"{path.name} keeps arguments of {part.__name__} to itself"


def parts_in(node: Any) -> Iterator[Any]:
    """Every part of ours below a node."""
    if isinstance(node, dict):
        if str(node.get("_target_")).startswith("vae_lab."):
            yield node
        for value in node.values():
            yield from parts_in(value)


def test_every_key_of_the_commands_says_what_it_may_be() -> None:
    train_keys = OmegaConf.load(CONF / "train.yaml")
    assert {str(key) for key in train_keys} - {"defaults", "hydra"} <= set(hints(TrainSettings))
    for name, declared in (
        ("evaluate", hints(EvaluateSettings) | hints(ScoreSettings)),
        ("export", hints(ExportSettings)),
    ):
        assert {str(key) for key in OmegaConf.load(CONF / f"{name}.yaml")[name]} <= set(declared)


def hints(declared: type) -> dict[str, Any]:
    return get_type_hints(declared)
