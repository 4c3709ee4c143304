"""What values may be that no constructor of ours declares: the commands' own, and foreign parts'.

Lightning's and torch's signatures tell types; here stand the bounds of what they would take, and
then stumble over.
"""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

from annotated_types import Ge, Gt, Lt, MinLen
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from vae_lab.arguments import (
    Count,
    Natural,
    NonNegative,
    Positive,
    Seed,
    Share,
    Text,
    arguments,
    checked,
)
from vae_lab.errors import unknown

Settings = TypeVar("Settings")
Batches = Count | Share
"""So many batches, or a share of them."""
Decay = Annotated[float, Ge(0), Lt(1)]


class TrainSettings:
    """The keys of train.yaml that are no part."""

    seed: Seed
    name: Text | None
    group: Text | None
    tags: list[Text]
    resume: Text | None
    init_from: Text | None
    compile: bool
    lr_find: bool
    test: bool
    monitor: Literal["objective", "elbo"]
    run_dir: Text | None
    run_id: Text | None
    overrides: dict[str, Any]
    config_digest: Text | None


class EvaluateSettings:
    """The keys of evaluate.yaml beside those of `ScoreSettings`."""

    device: Text
    data_root: Text | None
    data_path: Text | None
    out: Text | None


class FitPriorSettings:
    """The keys of fit_prior.yaml beside those of `FitSettings`."""

    device: Text
    data_root: Text | None
    data_path: Text | None


class EncodeSettings:
    """The keys of encode.yaml."""

    draw: bool
    batch_size: Count
    seed: Seed
    device: Text
    data_root: Text | None
    data_path: Text | None
    out: Text | None


class GradientSettings:
    """The keys of gradients.yaml."""

    num_draws: Annotated[list[Count], MinLen(1)]
    repeats: Annotated[int, Ge(2)]
    batch_size: Count
    seed: Seed
    device: Text
    data_root: Text | None
    data_path: Text | None


class ExportSettings:
    """The keys of export.yaml."""

    formats: Annotated[list[Text], MinLen(1), "a list, such as [onnx]"]
    out: Text | None


class TrainerBounds:
    """Of Lightning's Trainer."""

    devices: Count | list[Natural] | Literal["auto", -1]
    num_nodes: Count
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "32", 32]  # densities are in float32
    max_epochs: Count | Literal[-1] | None
    max_steps: Count | Literal[-1]
    min_epochs: Natural | None
    min_steps: Natural | None
    limit_train_batches: Batches | None
    limit_val_batches: Natural | Share | None  # 0: no validation
    limit_test_batches: Batches | None
    overfit_batches: Natural | Share
    val_check_interval: Batches | None
    check_val_every_n_epoch: Count | None
    num_sanity_val_steps: Natural | Literal[-1]
    log_every_n_steps: Natural
    accumulate_grad_batches: Count
    gradient_clip_val: NonNegative | None
    gradient_clip_algorithm: Literal["norm", "value"] | None


class OptimizerBounds:
    """Of torch's optimisers."""

    lr: Positive
    betas: tuple[Decay, Decay]
    eps: NonNegative
    weight_decay: NonNegative
    momentum: NonNegative
    maximize: Literal[False]  # a loss is minimised


class SchedulerBounds:
    """Of torch's schedules, which are stepped once an epoch; and of `PerStep`, once a step."""

    T_max: Count
    T_0: Count
    step_size: Count
    total_iters: Count
    gamma: Positive
    factor: Annotated[float, Gt(0), Lt(1)]
    patience: Natural
    cooldown: Natural
    eta_min: NonNegative


class PlateauBounds:
    """Of the schedule that looks at the monitor, which is the larger the better."""

    mode: Literal["max"]


_BOUNDS: dict[type, type] = {
    Trainer: TrainerBounds,
    Optimizer: OptimizerBounds,
    LRScheduler: SchedulerBounds,
    ReduceLROnPlateau: PlateauBounds,
}


@cache
def kinds(part: type) -> Mapping[str, Any]:
    """What each argument of a part may be, by name: see `vae_lab.arguments`."""
    declared: dict[str, Any] = {}
    for kind, bounds in _BOUNDS.items():
        if issubclass(part, kind):
            declared |= get_type_hints(bounds, include_extras=True)
    return {name: declared.get(name, kind) for name, kind in arguments(part).items()}


def settings_from(asked: DictConfig, kind: type[Settings]) -> Settings:
    """Those keys of `asked` that a dataclass of settings has, checked before, as one of it."""
    names = (field.name for field in fields(kind))  # type: ignore[arg-type]
    return kind(**{name: asked[name] for name in names})


def check_settings(
    cfg: DictConfig | Mapping[Any, Any], declared: Iterable[type], where: str = ""
) -> None:
    """Raise InputError unless `cfg` holds what is declared, and, below a key, nothing else.

    Args:
        cfg: A configuration, or plain keys and values.
        declared: Classes such as `TrainSettings`, whose annotations say what.
        where: The key under which the configuration has `cfg`, with its dot.
    """
    plain: Any = OmegaConf.to_container(cfg, resolve=True) if OmegaConf.is_config(cfg) else cfg
    hints = [get_type_hints(settings, include_extras=True) for settings in declared]
    known = {name: kind for each in hints for name, kind in each.items()}
    for name, value in plain.items():
        if name in known:
            checked(f"{where}{name}", value, known[name])
        elif where:
            raise unknown("key", f"{where}{name}", (f"{where}{each}" for each in known))
