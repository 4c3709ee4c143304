"""The configuration: every YAML composes, every part trains, precedence holds, typos are told."""

import math
import re
from pathlib import Path
from string import Template

import pytest
from conftest import QUICK
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from parts import CONF, GROUPS, choices, needs

from vae_lab import InputError, train
from vae_lab.config.allowed import check_parts, locate
from vae_lab.config.build import trainer
from vae_lab.config.compose import compose_config, in_multirun
from vae_lab.config.explain import explain

PRESETS = ("model", "data", "experiment")
ROOTS = ("train", "evaluate", "gradients", "fit_prior", "encode", "export")
CHOICES = [(group, choice) for group in GROUPS for choice in choices(group)]
PARTS = [
    (g, c)
    for g, c in CHOICES
    if g.split("/")[0] not in ("data", "experiment", "logger")
    and (g, c) != ("trainer", "fsdp")  # which runs on several GPUs alone
]


def compose(*overrides: str) -> DictConfig:
    return compose_config("train", overrides)


def test_the_globs_find_something() -> None:
    assert len(CHOICES) > 40
    assert ("model/likelihood", "bernoulli") in CHOICES


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_yaml_composes_and_names_parts_that_exist(group: str, choice: str) -> None:
    cfg = compose(*needs(group, choice), f"{group}={choice}")
    for key in OmegaConf.missing_keys(cfg):  # a user's own path
        OmegaConf.update(cfg, key, "somewhere")
    cfg.run_dir = cfg.name = "somewhere"
    cfg.data.x_shape = cfg.data.x_shape or [1, 8, 8]  # which the data know themselves
    check_parts(cfg)  # their defaults' types and bounds too


@pytest.mark.parametrize(("group", "choice"), PARTS)
def test_every_part_trains_one_batch(tmp_path: Path, group: str, choice: str) -> None:
    overrides = ["++trainer.limit_train_batches=1", "data.limit=8", *needs(group, choice)]
    chosen = [f"{group}={choice}", *overrides]
    if group == "trainer":
        chosen.append("trainer.accelerator=cpu")
    finished = train([*QUICK, *chosen, f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    value = finished.metrics.get("train/elbo", finished.metrics["train/objective"])
    assert value < 0 or (group == "model/likelihood" and math.isfinite(value))  # of a density
    assert (finished.folder / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize("accelerator", ["cpu", "auto", "gpu"])
def test_fsdp_is_refused_without_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accelerator: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(InputError, match="needs GPUs: without them, say trainer=ddp"):
        train(
            [*QUICK, "trainer=fsdp", f"trainer.accelerator={accelerator}",
             f"hydra.run.dir={tmp_path / 'run'}"]
        )  # fmt: skip
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["ema", "gradient_skip"])
def test_fsdp_is_refused_beside_what_needs_whole_weights(
    monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    with pytest.raises(InputError, match=f"{option} needs whole weights"):
        trainer(compose("trainer=fsdp", f"{option}=default"), has_val=True, loggers=[])


def test_no_size_that_follows_is_written_in_a_part() -> None:
    for group in ("encoder", "decoder", "posterior", "likelihood", "prior"):
        for choice in choices(f"model/{group}"):
            text = (CONF / "model" / group / f"{choice}.yaml").read_text()
            text = re.sub("^#.*", "", text, flags=re.MULTILINE)
            assert "_partial_: true" in text
            assert "shape" not in text


def test_facts_of_the_data_reach_the_model() -> None:
    cfg = compose("model=conv_vae", "data=cifar10")
    assert cfg.model.x_shape == [3, 32, 32]
    assert cfg.model.num_classes == 10


# Precedence: command line > experiment > data (likelihood only) > model preset


def likelihood(*overrides: str) -> str:
    return str(compose(*overrides).model.likelihood["_target_"]).rpartition(".")[2]


def test_the_data_name_the_likelihood() -> None:
    assert likelihood("data=digits") == likelihood("data=mnist") == "Bernoulli"
    assert likelihood("data=cifar10") == "DiscretizedLogistic"
    assert likelihood("model=conv_vae", "data=cifar10") == "DiscretizedLogistic"


def test_an_experiment_beats_the_data() -> None:
    cfg = compose("experiment=mnist_notebook")
    assert cfg.model.likelihood["_target_"].endswith("BernoulliGrey")
    assert cfg.data.batch_size == 64
    assert cfg.model.z_shape == [30]
    assert cfg.model.decoder["_target_"].endswith("MLP")
    assert cfg.trainer.max_epochs == 10


def test_the_published_reference_keeps_its_recipe_whatever_the_defaults_become() -> None:
    cfg = compose("experiment=mnist_notebook")
    for network in (cfg.model.encoder, cfg.model.decoder):
        assert (network.activation, network.init) == ("relu", "torch")
    assert cfg.optimizer["_target_"] == "torch.optim.Adam"
    assert (cfg.optimizer.lr, cfg.optimizer.betas) == (1e-3, [0.9, 0.999])
    assert not cfg.scheduler


def test_the_command_line_beats_all() -> None:
    assert likelihood("experiment=mnist_notebook", "model/likelihood=gaussian") == "Gaussian"
    assert likelihood("data=cifar10", "model/likelihood=gaussian") == "Gaussian"
    cfg = compose("experiment=mnist_notebook", "data.batch_size=7", "model.z_shape=[3]")
    assert cfg.data.batch_size == 7
    assert cfg.model.z_shape == [3]
    assert compose("objective=iwae", "estimator.num_draws=5").estimator.num_draws == 5
    assert compose("objective=iwae").estimator.num_draws == 50


def test_a_preset_keeps_what_nothing_overrides() -> None:
    cfg = compose("model=cvae", "data=mnist", "model/encoder=conv")
    assert cfg.model.encoder_conditioning["_target_"].endswith("Concat")
    assert cfg.model.encoder["_target_"].endswith("ConvEncoder")
    assert cfg.model.decoder["_target_"].endswith("MLP")


# What may be built


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "torch.load",
        "torch.nn.Linear",
        "hydra.utils.get_method",
        "vae_lab.build.Path",
        "vae_lab.record.subprocess.Popen",
        "vae_lab.trained.load",
        "vae_lab.nothing",
        "torch.optim.nothing",
        "lightning.pytorch.LightningModule",
        "lightning.pytorch.core.module.torch.load",
    ],
)
def test_other_code_may_not_be_built(target: str) -> None:
    with pytest.raises(InputError, match="_target_"):
        locate(target)


@pytest.mark.parametrize(
    "target",
    [
        "vae_lab.model.VAE",
        "torch.optim.Adam",
        "torch.optim.lr_scheduler.StepLR",
        "lightning.pytorch.Trainer",
        "lightning.pytorch.loggers.CSVLogger",
        "lightning.pytorch.callbacks.ModelCheckpoint",
    ],
)
def test_parts_may_be_built(target: str) -> None:
    assert isinstance(locate(target), type)


def test_misspelt_arguments_of_partials_are_found_before_anything_is_built() -> None:
    with pytest.raises(InputError, match="unknown argument of model.encoder .*Did you mean 'width"):
        check_parts(compose("+model.encoder.width=3"))
    with pytest.raises(InputError, match=r"argument of data .*There are: .*batch_size.*root"):
        check_parts(compose("data=mnist", "+data.rooot=x"))
    with pytest.raises(InputError, match="argument of optimizer"):
        check_parts(compose("+optimizer.learning_rate=1"))


@pytest.mark.parametrize(
    ("asked", "begun"),
    [
        (["sweep=seeds", "seed=1"], ["hydra.mode=MULTIRUN", "sweep=seeds", "seed=1"]),
        (["--cfg", "job", "sweep=optuna"], ["--cfg", "job", "hydra.mode=MULTIRUN", "sweep=optuna"]),
        (["sweep=none", "seed=1"], ["sweep=none", "seed=1"]),
        (["sweep=wandb"], ["sweep=wandb"]),
        (["sweep=nothing"], ["sweep=nothing"]),
        (["-m", "seed=1,2"], ["-m", "seed=1,2"]),
        (["seed=1,2", "-m", "~ema", "ema=none"], ["-m", "seed=1,2", "~ema", "ema=none"]),
        (["a=1", "--config-dir", "d", "b=1"], ["--config-dir", "d", "a=1", "b=1"]),
    ],
)
def test_a_preset_of_the_sweeper_begins_a_multirun(asked: list[str], begun: list[str]) -> None:
    assert in_multirun(asked) == begun


def test_only_bad_input_is_explained() -> None:
    for bug in (KeyError("x"), ValueError("x"), RuntimeError("x"), BrokenPipeError()):
        assert explain(bug, ["model/prior=standard_normal", "~callbacks.progress"]) is None
    told = InputError("told")
    assert explain(told, []) is told
    full = explain(OSError(28, "No space left on device", "/full/run"), [])
    assert str(full).startswith("No space left on device: /full/run.")


def test_hydra_refuses_what_it_can() -> None:
    for override in (
        "model.z_shap=[2]",
        "modle=conv_vae",
        "model=nothing",
        "model/encoder=nothing",
    ):
        with pytest.raises(HydraException):
            compose(override)


# What --help shows


def shown_by(command: str) -> str:
    cfg = compose_config(command, return_hydra_config=True)
    return Template(cfg.hydra.help.template).substitute()


def test_the_help_of_train_shows_choices_keys_and_examples_that_exist() -> None:
    shown, cfg = shown_by("train"), compose("data=digits")
    for group, choice in CHOICES:
        (line,) = [line for line in shown.splitlines() if line.startswith(f"  {group}=")]
        assert choice in line.partition("=")[2].split("|")
    assert "_common" not in shown
    keys = re.findall(r"^  ([a-z]\w+(?:\.\w+)+)=", shown, re.MULTILINE)
    assert len(keys) > 5
    for key in keys:
        assert key.startswith("hydra.") or OmegaConf.select(cfg, key) is not None, key
    examples = re.findall(r"^  python train.py (?!-m)(.*)", shown, re.MULTILINE)
    assert len(examples) > 1
    for example in examples:
        compose(*example.split())


@pytest.mark.parametrize("command", ["evaluate", "export", "gradients", "encode"])
def test_the_help_of_other_commands_shows_what_applies_to_them(command: str) -> None:
    shown = shown_by(command)
    has_script = command in ("evaluate", "export")
    called = f"python {command}.py" if has_script else f"vae-lab {command}"
    assert f"{called} run=" in shown
    for key in OmegaConf.load(CONF / f"{command}.yaml")[command]:
        assert f"  {command}.{key}=" in shown
    assert "optimizer" not in shown
    for example in re.findall(rf"^  {called} (.*)", shown, re.MULTILINE):
        compose_config(command, example.split())
