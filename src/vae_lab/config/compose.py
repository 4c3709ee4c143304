"""The configuration a command runs with."""

import re
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from packaging.version import Version

# Hydra 1.3 warns unless it is told which version's defaults are meant, and 1.4 if it is.
HYDRA = Version(hydra.__version__).release
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if HYDRA < (1, 4) else {}


def conf_dir() -> Path:
    """The folder of YAML: the installed package's copy, else the repository's."""
    packaged = Path(__file__).parents[1] / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[3] / "conf"


def groups() -> str:
    """Every group with its choices, a line each: for `--help`."""
    files = sorted(file for file in conf_dir().glob("*/**/*.yaml") if not file.stem.startswith("_"))
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(file.parent.relative_to(conf_dir()).as_posix(), []).append(file.stem)
    return "\n".join(f"  {group}={'|'.join(names)}" for group, names in found.items())


def keys(command: str) -> str:
    """The keys under `command` in its YAML, each with the comment beside it: for `--help`."""
    block = re.split(rf"^{command}:\n", (conf_dir() / f"{command}.yaml").read_text(), flags=re.M)[1]
    found = re.findall(r"^  (\w+): (.*?)(?: +# (.*))?$", block.partition("\n\n")[0], re.M)
    lines = [(f"{command}.{name}={value}", comment) for name, value, comment in found]
    width = max(len(key) for key, _ in lines if len(key) < 40)
    told = "\n".join(f"  {key:{width}}  {comment}".rstrip() for key, comment in lines)
    return told.replace("$", "$$")  # Hydra's help is a template


for resolver in (groups, keys):
    OmegaConf.register_new_resolver(f"vae_lab.{resolver.__name__}", resolver, replace=True)


def config_dirs(arguments: Sequence[str]) -> list[Path]:
    """The folders of YAML that a command line composes from: ours, then its own.

    Those are its `--config-dir`, and the folders of its `hydra.searchpath=[...]`.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    own = parser.parse_known_args(list(arguments))[0].config_dir
    more = as_dict(arguments).get("hydra.searchpath", "").strip("[]").split(",")
    places = [place.strip(" '\"").removeprefix("file://") for place in more]
    return [conf_dir(), *([own] if own else []), *(Path(place) for place in places if place)]


def searchpath(arguments: Sequence[str]) -> list[str]:
    """The override by which `compose_config` finds what lies in a command line's own folders."""
    own = ",".join(f"file://{folder.resolve()}" for folder in config_dirs(arguments)[1:])
    return [f"hydra.searchpath=[{own}]"] if own else []


def choices(group: str, arguments: Sequence[str]) -> list[str]:
    """What may be chosen of a group, by name, in the folders that a command line composes from."""
    files = (file for top in config_dirs(arguments) for file in (top / group).glob("[!_]*.yaml"))
    return sorted({file.stem for file in files})


def needs(group: str, choice: str, arguments: Sequence[str]) -> list[str]:
    """What must be said beside a choice to train with it: its YAML's lines `# needs: KEY=VALUE`."""
    files = (top / group / f"{choice}.yaml" for top in config_dirs(arguments))
    text = next((file.read_text() for file in files if file.is_file()), "")
    return " ".join(re.findall("^# needs: (.*)$", text, re.MULTILINE)).split()


def in_multirun(arguments: Sequence[str]) -> list[str]:
    """A command line with the multirun asked for (`-m`) where its `sweep=` preset needs one.

    A preset does where it configures Hydra's sweeper, which nothing else starts. Overrides come
    last: argparse wants them together, people say `-m` anywhere.
    """
    asked = sorted(arguments, key=lambda a: a[:1] == "~" or ("=" in a and a[:1] != "-"))
    for preset in [a for a in asked if a.startswith("sweep=")]:
        name = preset.partition("=")[2]
        files = [folder / "sweep" / f"{name}.yaml" for folder in config_dirs(asked)]
        if any("sweeper" in (_load(file).get("hydra") or {}) for file in files):
            # unlike -m it may stand beside --cfg and --help
            asked.insert(asked.index(preset), "hydra.mode=MULTIRUN")
    return asked


def _load(file: Path) -> Any:
    return OmegaConf.load(file) if file.is_file() else {}


def as_dict(overrides: Sequence[str]) -> dict[str, str]:
    """What overrides say, by key."""
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return {key: value for key, _, value in pairs}


def compose_config(name: str, overrides: Sequence[str] = (), **options: Any) -> DictConfig:
    """The configuration a command would run with. Takes `hydra.compose`'s options."""
    with initialize_config_dir(str(conf_dir()), **VERSION_BASE):
        return compose(name, list(overrides), **options)
