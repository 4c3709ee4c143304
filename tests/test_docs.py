"""What the docstrings promise: examples that run, and every argument of a part explained."""

import doctest
import importlib
import inspect
import re
from pathlib import Path

import pytest
import torch
import yaml
from conftest import ROOT
from hydra.utils import get_object

SOURCE = ROOT / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts)
    for path in SOURCE.rglob("*.py")
    if ">>>" in path.read_text()
)
TARGETS = sorted(
    {
        target
        for path in (ROOT / "conf").rglob("*.yaml")
        for target in re.findall(r"_target_: (vae_lab\.\S+)", path.read_text())
    }
)


def test_there_are_examples_and_parts() -> None:
    assert len(MODULES) > 8
    assert len(TARGETS) > 30


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name), extraglobs={"torch": torch})
    assert found.attempted > 0
    assert found.failed == 0


@pytest.mark.parametrize("target", TARGETS)
def test_every_argument_of_a_part_is_explained(target: str) -> None:
    part = get_object(target)
    own = [kind for kind in part.__mro__ if kind.__module__.startswith("vae_lab.")]
    told = "\n".join(filter(None, [text for k in own for text in (k.__doc__, k.__init__.__doc__)]))
    for name in inspect.signature(part).parameters:
        explained = re.search(rf"`{name}`|^\s+{name}: ", told, re.MULTILINE)
        assert explained, f"explain `{name}` in a docstring of {target}, or of its base"


def test_every_yaml_says_what_it_chooses() -> None:
    for path in (ROOT / "conf" / "model").rglob("*.yaml"):
        assert yaml.safe_load(path.read_text()) is not None, path
        assert path.read_text().startswith("#"), f"{path}: a first line that says what it is"


def test_the_package_has_a_docstring_in_every_module() -> None:
    for path in SOURCE.rglob("*.py"):
        assert path.read_text().startswith('"""'), Path(path)
