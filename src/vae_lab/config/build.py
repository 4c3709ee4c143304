"""From configuration to objects."""

import math
import re
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from hydra.utils import instantiate
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vae_lab.callbacks import MaxSteps
from vae_lab.config.allowed import check_parts, locate, whitelist
from vae_lab.config.settings import kinds
from vae_lab.data import DataSettings, ImageDataModule, Source
from vae_lab.errors import InputError, explained, one_line, out_of_memory
from vae_lab.evaluation.classifier import can_be_classified, classifier_for
from vae_lab.model import LatentVariableModel
from vae_lab.model.context import Context
from vae_lab.model.family import CodeFamily
from vae_lab.model.likelihoods import Likelihood
from vae_lab.model.priors import Prior
from vae_lab.model.priors.standardized import Standardized
from vae_lab.training.checkpoint_io import AtomicCheckpointIO
from vae_lab.training.fused import fused
from vae_lab.training.module import VAEModule
from vae_lab.training.nan_guard import NaNGuard
from vae_lab.training.overhead import Unprofiled
from vae_lab.training.schedules import PerStep

_NEEDS_VAL = (
    "needs validation data: set data.val_size above 0, and leave out trainer.limit_val_batches=0."
)


def _cannot_build(where: str, error: BaseException) -> InputError:
    """Why a part cannot be built: in its own words, where it has refused."""
    while error.__cause__ is not None and not isinstance(error, InputError):
        error = error.__cause__
    if isinstance(error, InputError):
        return InputError(str(error))
    if (exhausted := out_of_memory(error)) is not None:
        return exhausted
    lacks = re.match(r"\w+\.__init__\(\) missing .*?: (.*)", one_line(error).partition(": ")[2])
    if isinstance(error, TypeError) and lacks:
        return InputError(f"{where} cannot be built: it lacks {lacks[1]}: add it with +.")
    return InputError(f"{where} cannot be built: {one_line(error)}")


def instance(cfg: Any, where: str, **arguments: Any) -> Any:
    """Check and instantiate a subtree of the configuration. Raises InputError, with the reason."""
    with explained(partial(_cannot_build, where)):
        trusted = whitelist("_execution_whitelist_")
        return instantiate(check_parts(cfg, where), **arguments, **trusted, _convert_="all")


def data(cfg: DictConfig) -> ImageDataModule:
    """The data, read, checked and prepared. Their YAML is flat: what the source takes goes to it.

    Raises InputError for settings that make no sense, and for data that do not fit them.
    """
    settings = check_parts(cfg.data, "data")
    kind, likelihood = locate(settings.pop("_target_")), locate(cfg.model.likelihood["_target_"])
    if not issubclass(kind, Source):
        raise InputError(f"data._target_ {kind.__name__} is not a source of data.")
    if not issubclass(likelihood, Likelihood):
        raise InputError(f"model.likelihood._target_ {likelihood.__name__} is not a likelihood.")
    own = {str(key): settings.pop(key) for key in kinds(kind) if key in settings}
    with explained(partial(_cannot_build, "data")):
        source = kind(**own)
        shared = DataSettings(**{str(key): value for key, value in settings.items()})
    return ImageDataModule(source, shared, likelihood.support, cfg.seed)


def model(cfg: Any) -> LatentVariableModel:
    """The model of a `model` subtree. Raises InputError where it describes none."""
    node = cfg if isinstance(cfg, DictConfig) else OmegaConf.create({"model": cfg}).model
    plain = OmegaConf.to_container(node, resolve=True) if node else None  # checked, then built
    if not isinstance(plain, dict) or "_target_" not in plain:
        raise InputError("the configuration describes no model: it has no model._target_.")
    check_parts(plain, "model", packages=("vae_lab",))
    if not issubclass(locate(plain["_target_"]), LatentVariableModel):
        raise InputError(f"model._target_ {plain['_target_']} is not a model.")
    return instance(plain, "model")


def prior(cfg: Any, context: Context) -> Standardized:
    """A prior that is to be fitted to codes. Raises InputError where there is nothing to fit."""
    if not isinstance(cfg, dict) or "_target_" not in cfg:
        raise InputError("model.prior must be a part: say, for example, model/prior=mixture.")
    check_parts(cfg, "model.prior", packages=("vae_lab",), late=True)
    kind = locate(cfg["_target_"])
    is_code = isinstance(context.posterior, CodeFamily)
    fix = "say model/prior=" + ("autoregressive" if is_code else "mixture or flow")
    if not issubclass(kind, Prior):
        raise InputError(f"model.prior._target_ {kind.__name__} is not a prior.")
    try:
        built: Prior = instance(cfg, "model.prior")(context)
    except InputError as error:  # whose fix, such as another model.z_shape, is for a training
        why = str(error).partition(": ")[0].rstrip(".")
        raise InputError(
            f"{kind.__name__} cannot be fitted to this model's codes ({why}): {fix}."
        ) from error
    except Exception as error:
        exhausted = out_of_memory(error, lower="model.prior.components, or its other sizes")
        raise exhausted or _cannot_build("model.prior", error) from error
    if not any(weight.requires_grad for weight in built.parameters()):
        raise InputError(f"{kind.__name__} has nothing to fit: {fix}.")
    return Standardized(built)


def context_of(model: LatentVariableModel, data: ImageDataModule) -> Context:
    """What an objective may know: where a prior stands, and what it is trained with."""
    judged = can_be_classified(data)
    return replace(
        model.context(), num_data=len(data.splits["train"]),
        reads_labels=model.reads_labels, support=model.likelihood.support,
        classifier=(lambda: classifier_for(data).network) if judged else None,
    )  # fmt: skip


def training(cfg: DictConfig, datamodule: ImageDataModule, record: dict[str, Any]) -> VAEModule:
    """The LightningModule, for data that are set up."""
    built = model(cfg.model)
    context = context_of(built, datamodule)
    with explained(partial(_cannot_build, "objective")):
        objective = instance(cfg.objective, "objective")(context)
    optimizer = instance(cfg.optimizer, "optimizer")
    # A fused step undoes the scale by itself, after gradients would be clipped or looked at; in
    # bfloat16, which has no scale, Lightning refuses to clip all the same.
    precision, clips = str(cfg.trainer.precision), cfg.trainer.get("gradient_clip_val")
    steps_apart = precision in ("16", "16-mixed") or (precision == "bf16-mixed" and clips)
    module = VAEModule(
        model=built,
        objective=objective,
        estimator=instance(cfg.estimator, "estimator"),
        optimizer=optimizer if steps_apart else fused(optimizer),
        scheduler=instance(cfg.scheduler, "scheduler") if cfg.scheduler else None,
        seed=cfg.seed,
        dequantized=datamodule.preparation.dequantize,
        record=record,
        guard=NaNGuard(ignores_steps=bool(cfg.gradient_skip), stops=not cfg.lr_find),
        monitor=cfg.monitor,
        max_steps=_most(cfg.trainer.get("max_steps")),
    )
    has_end = not math.isinf(min(_most(cfg.trainer.get("max_epochs")), module.max_steps))
    _rehearse(module, validates(cfg, datamodule), has_end)
    return module


def validates(cfg: DictConfig, datamodule: ImageDataModule) -> bool:
    """Whether training looks at validation data, and so may select and stop on them."""
    return len(datamodule.splits["val"]) > 0 and cfg.trainer.get("limit_val_batches") != 0


def _most(limit: int | None) -> float:
    """A limit of the Trainer's, where -1 and null are none."""
    return math.inf if limit in (None, -1) else limit


def _rehearse(module: VAEModule, has_val: bool, has_end: bool) -> None:
    """One step on a parameter that does not matter: partials refuse arguments only when called."""
    with explained(partial(_cannot_build, "optimizer or scheduler")):
        parameter = nn.Parameter(torch.zeros(()))
        parameter.grad = torch.zeros(())  # which SparseAdam refuses, only when it steps
        optimizer = module.optimizer([{"params": [parameter]}])
        scheduler = module.scheduler(optimizer) if module.scheduler is not None else None
        optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau) and not has_val:
            raise InputError(f"scheduler=plateau {_NEEDS_VAL}")
        if isinstance(scheduler, PerStep) and not has_end:
            raise InputError(
                f"{type(scheduler).__name__} follows training to its end, and this one has none: "
                "set trainer.max_epochs or trainer.max_steps; a new run may say scheduler=none."
            )
        if scheduler is not None and not isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step()


def trainer(cfg: DictConfig, has_val: bool, loggers: list[Logger]) -> Trainer:
    """Lightning's Trainer with its callbacks; without validation, none that select on it."""
    _check_hardware(cfg)
    _check_places(cfg)
    options = ("early_stopping", "ema", "gradient_skip")
    nodes = {**cfg.callbacks, **{name: cfg[name] for name in options if cfg[name]}}
    if not has_val:
        nodes.pop("best", None)
        if "early_stopping" in nodes:
            raise InputError(f"early stopping {_NEEDS_VAL}")
    if not (nodes.get("best") or nodes.get("last")):
        raise InputError(
            "keep callbacks.last or, with validation data, callbacks.best: without a checkpoint "
            "nothing is left of a run."
        )
    settings = check_parts(cfg.trainer, "trainer")
    max_steps = settings.pop("max_steps", -1)
    callbacks = [instance(node, f"callbacks.{name}") for name, node in nodes.items() if node]
    if max_steps != -1:
        callbacks.append(MaxSteps(max_steps))
    built = instance(
        settings,
        "trainer",
        callbacks=callbacks,
        logger=loggers,
        profiler=instance(cfg.profiler, "profiler") if cfg.profiler else Unprofiled(),
        plugins=[AtomicCheckpointIO()],
        enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
        **({} if has_val else {"limit_val_batches": 0}),
    )
    assert isinstance(built, Trainer)
    return built


def _check_places(cfg: DictConfig) -> None:
    for name in ("best", "last"):
        place = (cfg.callbacks.get(name) or {}).get("dirpath")
        if place is not None and place != f"{cfg.run_dir}/checkpoints":
            raise InputError(
                f"callbacks.{name}.dirpath={place}: leave it out. Checkpoints are looked for in "
                "checkpoints/ in the run folder, which hydra.run.dir sets."
            )


def _check_hardware(cfg: DictConfig) -> None:
    asked = cfg.trainer.accelerator
    on_cpu = asked == "cpu" or (asked == "auto" and not torch.accelerator.is_available())
    if on_cpu and str(cfg.trainer.precision) in ("16", "16-mixed"):
        raise InputError(
            "trainer.precision=16-mixed needs a GPU: on the CPU say trainer.precision=bf16-mixed."
        )
    if "fsdp" not in str(cfg.trainer.get("strategy")).lower():
        return
    if asked not in ("gpu", "cuda") or not torch.cuda.is_available():
        raise InputError("trainer=fsdp needs GPUs: without them, say trainer=ddp.")
    for name in ("ema", "gradient_skip"):
        if cfg[name]:
            raise InputError(f"{name} needs whole weights in every process: say trainer=ddp.")
