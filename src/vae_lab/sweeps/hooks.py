"""A sweep: Hydra's hooks round its jobs. What is checked before, and told after."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, read_write
from rich.console import Console

from vae_lab.config import build
from vae_lab.config.complete import digest, with_facts
from vae_lab.config.explain import explain
from vae_lab.data import ImageDataModule
from vae_lab.distributed import group
from vae_lab.distributed.signals import Interrupted
from vae_lab.errors import InputError, explained, one_line
from vae_lab.evaluation.measure import Measure
from vae_lab.storage.files import atomic_file
from vae_lab.storage.run_folder import RunFolder
from vae_lab.sweeps.names import as_job
from vae_lab.terminal import tell

_INDIFFERENT = ("batch_size", "num_workers")
"""Settings of the data that change no metric's meaning."""


class Sweep(Callback):
    """What Hydra does besides its jobs, in the process that began."""

    running: ClassVar[Path | None] = None  # the folder of the sweep that this process runs

    def __init__(self) -> None:
        self._folder_is_new = False

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Notes whether Hydra will make the folder of a single run."""
        self._folder_is_new = not Path(config.hydra.run.dir).exists()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Takes back the folder that Hydra has made: a run makes its own once it can begin."""
        if self._folder_is_new:
            with suppress(OSError):
                Path(config.hydra.runtime.output_dir).rmdir()

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Checks a search before any job, and notes what the sweep varies, in sweep.json."""
        try:
            _begin(config)
        except InputError as error:  # Hydra would go on
            _refuse(error)
        Sweep.running = Path(config.hydra.sweep.dir).resolve()

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Writes the table over all jobs; status 1 where some have failed."""
        from vae_lab.sweeps.table import write_table

        if isinstance(sys.exc_info()[1], Interrupted):
            return  # `stopped` sees to it, which Hydra 1.3 needs
        try:
            have_failed = write_table(Path(config.hydra.sweep.dir).resolve(), Console())
        except Exception as error:  # as above
            _refuse(error)
        if have_failed and sys.exc_info()[0] is None:  # Hydra 1.4 calls this in a `finally`, too
            raise SystemExit(1)


def _refuse(error: Exception) -> NoReturn:
    tell("error", str(error) if isinstance(error, InputError) else one_line(error))
    raise SystemExit(1) from error


def stopped() -> str | None:
    """Write the table of the sweep that was told to stop; how it goes on. None outside of one."""
    from vae_lab.sweeps.table import write_table

    if Sweep.running is None:
        return None
    write_table(Sweep.running, Console())
    how = f"the same command with hydra.sweep.dir={Sweep.running}"
    return f"Told to stop. To go on: {how}"


def _begin(config: DictConfig) -> None:
    if group.is_member():
        raise InputError("a sweep starts its groups itself: say it without torchrun or srun.")
    folder = Path(config.hydra.sweep.dir)
    asked = _overrides(config)
    is_search = "direction" in config.hydra.sweeper  # it ranks its jobs
    if is_search:  # its jobs' folders are all new
        _check_search(asked)
    else:
        _check_jobs(asked, list(config.hydra.sweeper.get("params") or {}), folder)
    folder.mkdir(parents=True, exist_ok=True)
    swept = [override for override in asked if override.is_sweep_override()]
    if is_search:
        _count_trials(config.hydra, folder)
        count = config.hydra.sweeper.n_trials
    else:
        count = prod(len(_choices(o)) for o in swept) if all(map(_choices, swept)) else None
    told = {"varied": [override.get_key_element() for override in swept], "jobs": count}
    with atomic_file(folder / "sweep.json") as part:
        part.write_text(json.dumps(told) + "\n")


def _check_jobs(asked: Sequence[Override], params: list[str], folder: Path) -> None:
    """Refuse a folder in which a job of another sweep has its run, or in which one is at work.

    Jobs are numbered as Hydra does: each key's last override, the sweeper's own `params` first.
    """
    last = {override.get_key_element(): override for override in asked}
    keys = sorted(last, key=lambda key: params.index(key) if key in params else len(params))
    for number, chosen in enumerate(product(*(_choices(last[key]) for key in keys))):
        run = RunFolder(folder / str(number))
        if run.is_held:
            raise InputError(f"{run} is in use by another process: wait for its end.")
        stored = None
        with suppress(InputError):  # its own job says what is wrong with it
            stored = run.config()
        if stored is None:
            continue
        with explained(partial(explain, overrides=chosen)):
            cfg = as_job(compose("train", list(chosen)))
        if stored["config_digest"] != digest(cfg):
            raise InputError(
                f"{run} holds a run of another sweep: set hydra.sweep.dir to a new folder."
            )


def _overrides(config: DictConfig) -> list[Override]:
    """What the command line and the sweeper's parameters ask for; the command line has the say."""
    task = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    told = {override.get_key_element() for override in task}
    params = config.hydra.sweeper.get("params") or {}
    preset = [f"{key}={value}" for key, value in params.items() if key not in told]
    return [*OverridesParser.create().parse_overrides(preset), *task]


def _check_search(asked: Sequence[Override]) -> None:
    """Refuse to rank what cannot be compared: every choice that is listed is built, in turn."""
    swept = [key for key in map(_swept, asked) if key.startswith(("objective", "estimator"))]
    options = [choices for choices in map(_choices, asked) if choices]
    usual = [choices[0] for choices in options]
    cfg = compose("train", usual)
    if not cfg.data.val_size or cfg.trainer.get("limit_val_batches") == 0:
        raise InputError(
            "a search needs validation data: set data.val_size above 0, and leave out "
            "trainer.limit_val_batches=0."
        )
    if swept and cfg.monitor == "objective":
        raise InputError(
            f"a search ranks its trials, and under another {swept[0]} they maximise another "
            "objective: say monitor=elbo, which compares."
        )
    found: dict[Measure, str] = {}
    read: dict[str, ImageDataModule] = {}
    for at, choices in enumerate(options):
        for choice in choices if len(choices) > 1 else ():
            measure = _measure(compose("train", [*usual[:at], *usual[at + 1 :], choice]), read)
            if measure is not None:
                found.setdefault(measure, choice)
    if len(found) > 1:
        a, b = list(found.values())[:2]
        raise InputError(
            f"a search ranks its trials, and {a} is not comparable with {b}: another likelihood's "
            "measure, preparation, data or evidence. Search within one, or use a grid (-m)."
        )


def _swept(override: Override) -> str:
    return override.get_key_element() if override.is_sweep_override() else ""


def _choices(override: Override) -> list[str]:
    """The overrides that one may stand for: itself, or each of its values; none of an interval."""
    key = override.get_key_element()
    if override.is_interval_sweep() or key == "sweep":
        return []
    if not override.is_sweep_override():
        return [override.input_line or ""]
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _measure(cfg: DictConfig, read: dict[str, ImageDataModule]) -> Measure | None:
    """What a job's metrics are comparable with; None of one that cannot be built.

    `read` keeps the data that were read before.
    """
    try:
        kept = {key: value for key, value in cfg.data.items() if key not in _INDIFFERENT}
        key = json.dumps([kept, cfg.model.likelihood["_target_"]], sort_keys=True, default=str)
        if key not in read:
            read[key] = build.data(cfg)
        return Measure.of(read[key], build.model(with_facts(cfg, read[key]).model))
    except Exception:  # whatever it is: the trial will fail of it, and be recorded
        return None


def _count_trials(hydra: DictConfig, folder: Path) -> None:
    """Leave n_trials to be what the study has in all: a resumed one makes the rest."""
    if not (folder / "study.db").is_file():
        return
    import optuna

    sweeper = hydra.sweeper
    study = optuna.load_study(study_name=sweeper.study_name, storage=sweeper.storage)
    ended = [trial for trial in study.trials if trial.state.is_finished()]
    with read_write(hydra):
        sweeper.n_trials = max(0, sweeper.n_trials - len(ended))
        # every job is composed anew, and in Hydra 1.4 must come to the same sweeper
        hydra.overrides.hydra.append(f"hydra.sweeper.n_trials={sweeper.n_trials}")
