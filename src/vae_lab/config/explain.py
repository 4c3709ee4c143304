"""What Hydra, OmegaConf and the file system say, in one line that names the fix."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vae_lab.config.compose import compose_config, conf_dir
from vae_lab.errors import InputError, one_line, unknown


@contextmanager
def _explained(config_name: str, overrides: Sequence[str]) -> Iterator[None]:
    """Turn what Hydra, OmegaConf and the file system say into one line that names the fix."""
    try:
        yield
    except InputError:
        raise
    except MissingConfigException as error:
        group, _, choice = (error.missing_cfg_file or "").rpartition("/")
        raise unknown(f"choice of {group}", choice, error.options or ()) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(str(error), config_name, overrides) from error
    except ValueError as error:
        if not str(error).startswith("Config group override"):
            raise
        raise InputError(f"{error}: a group, such as model, takes one of its choices.") from error
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        sys.exit(1)
    except OSError as error:
        told = f"{error.strerror}: {error.filename}" if error.filename else one_line(error)
        raise InputError(f"{told}. A run is written to hydra.run.dir: set one that can.") from error


def _explain(message: str, config_name: str, overrides: Sequence[str]) -> InputError:
    found = re.search(r"Could not override '([^']+)'", message)
    if not found:
        lines = (line.strip() for line in message.splitlines())
        return InputError(" ".join(line for line in lines if line))
    key = found[1]
    if "/" in key:
        return unknown("group", key.partition("@")[0], _groups())
    node: Any = _without(config_name, overrides, key)
    parent = ""
    for name in key.split("."):
        if not isinstance(node, DictConfig) or name not in node:
            break
        node, parent = node._get_node(name), f"{parent}{name}."
    what = f"key of {parent[:-1]}" if parent else "key"
    return unknown(what, name, map(str, node) if isinstance(node, DictConfig) else ())


def _without(config_name: str, overrides: Sequence[str], key: str) -> DictConfig:
    """The configuration without the override of `key`; without any, where others fail too."""
    others = [o for o in overrides if "=" in o and not o.lstrip("+~").startswith(key)]
    try:
        return compose_config(config_name, others)
    except (HydraException, OmegaConfBaseException):
        return compose_config(config_name)


def _groups() -> list[str]:
    folders = (path for path in conf_dir().rglob("*") if path.is_dir())
    return [folder.relative_to(conf_dir()).as_posix() for folder in folders]
