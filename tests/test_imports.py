"""The plan of the house, kept: who imports whom, read from the source, and the rules of a file."""

import ast
from collections.abc import Callable, Iterator
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import pytest
from conftest import ROOT

# Every folder of src/vae_lab and every file beside them, from the top of the house to its ground:
# a room imports only from those below it.
ROOMS = (
    "__main__", "__init__", "commands", "experiment", "sweeps", "export", "trained", "config",
    "callbacks", "training", "evaluation", "loggers", "estimators", "objectives", "model", "data",
    "distributed", "storage", "trace", "support", "seeding", "cpu", "arguments", "terminal",
    "errors",
)  # fmt: skip
# Who may import a library; W&B, which is slow to import, only in the function that needs it.
LIGHTNING = {"training", "data", "callbacks", "loggers", "distributed", "config", "experiment"}
HYDRA = {"commands", "config", "experiment", "sweeps"}
MAY_IMPORT = {
    "lightning": LIGHTNING, "hydra": HYDRA, "omegaconf": HYDRA,
    "wandb": {"loggers"}, "wandb_workspaces": {"loggers"},
}  # fmt: skip
IN_FUNCTIONS = {"wandb", "wandb_workspaces"}

Tree = dict[str, str]
"""The text of each module, by its dotted name."""


class Import(NamedTuple):
    name: str  # of what is imported, dotted; "lightning.pytorch.Trainer"
    in_function: bool


def read_tree() -> Tree:
    source = ROOT / "src"
    paths = {path: path.relative_to(source).with_suffix("") for path in source.rglob("*.py")}
    return {
        ".".join(place.parts).removesuffix(".__init__"): path.read_text()
        for path, place in sorted(paths.items())
    }


def imports(text: str) -> Iterator[Import]:
    """Everything imported, wherever in the file: in functions and under TYPE_CHECKING too."""
    tree = ast.parse(text)
    functions = [f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)]
    within = {node for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, node in within) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from (Import(f"{origin}.{alias.name}", node in within) for alias in node.names)


def modules_of(text: str, tree: Tree) -> set[str]:
    """The modules of `tree` that a file imports."""
    names = {name for name, _ in imports(text) if name.partition(".")[0] == "vae_lab"}
    return {name if name in tree else name.rpartition(".")[0] for name in names}


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


# The rules: each gives its complaints about a tree


def imports_run_downwards(tree: Tree) -> Iterator[str]:
    for module, text in tree.items():
        here = room(module)
        if here not in ROOMS:
            yield f"{module}: '{here}' has no place yet: list it in ROOMS of tests/test_imports.py"
            continue
        for other in sorted(modules_of(text, tree)):
            there = room(other)
            if there in ROOMS and ROOMS.index(there) < ROOMS.index(here):
                yield f"{module} imports {other}, which lies above it"


def storage_stands_alone(tree: Tree) -> Iterator[str]:
    for module, text in tree.items():
        others = {room(other) for other in modules_of(text, tree)} - {"storage", "errors"}
        if room(module) == "storage" and others:
            yield f"{module} imports {', '.join(sorted(others))}: storage imports errors alone"


def no_circles(tree: Tree) -> Iterator[str]:
    try:
        TopologicalSorter({m: sorted(modules_of(t, tree)) for m, t in tree.items()}).prepare()
    except CycleError as error:
        yield "a circle: " + " <- ".join(error.args[1])


def no_relative_imports(tree: Tree) -> Iterator[str]:
    for module, text in tree.items():
        if any(name.startswith(".") for name, _ in imports(text)):
            yield f"{module} imports relatively"


def libraries_in_their_rooms(tree: Tree) -> Iterator[str]:
    for module, text in tree.items():
        for name, in_function in imports(text):
            library = name.partition(".")[0]
            if library not in MAY_IMPORT:
                continue
            if room(module) not in MAY_IMPORT[library]:
                yield f"{module} may not import {library}"
            if library in IN_FUNCTIONS and not in_function:
                yield f"{module} imports {library} outside a function"


def models_know_no_concrete_network(tree: Tree) -> Iterator[str]:
    networks = "vae_lab.model.networks"
    for module, text in tree.items():
        if room(module) != "model" or f"{module}.".startswith(f"{networks}."):
            continue
        for name, _ in imports(text):
            what = name.removeprefix(f"{networks}.")
            if what not in (name, "Network", "NetworkPartial") and what.partition(".")[0] != "base":
                yield f"{module} knows {name}"


def files_are_read_in_one_sitting(tree: Tree) -> Iterator[str]:
    for module, text in tree.items():
        if len(text.splitlines()) > 250:
            yield f"{module} has {len(text.splitlines())} lines: it holds two ideas"


def words_that_are_not_used(tree: Tree) -> Iterator[str]:
    for module, text in tree.items():
        for word in ("hasattr(", "TODO", "NotImplementedError()"):
            if word in text:
                yield f"{module} says {word}"


Rule = Callable[[Tree], Iterator[str]]
# For each rule, trees that break it, with the complaint.
BROKEN: dict[Rule, list[tuple[Tree, str]]] = {
    imports_run_downwards: [
        ({"vae_lab.data.loader": "from vae_lab.training import step", "vae_lab.training": ""},
         "vae_lab.data.loader imports vae_lab.training, which lies above it"),
        ({"vae_lab.trace": "def f():\n    import vae_lab.data", "vae_lab.data": ""},
         "vae_lab.trace imports vae_lab.data, which lies above it"),
        ({"vae_lab.model.vae": "from vae_lab import load", "vae_lab": ""},
         "vae_lab.model.vae imports vae_lab, which lies above it"),
        (
            {"vae_lab.samplers.slice": "", "vae_lab.trace": "import vae_lab.samplers.slice"},
            "vae_lab.samplers.slice: 'samplers' has no place yet: list it in ROOMS of "
            "tests/test_imports.py",
        ),
    ],
    storage_stands_alone: [
        ({"vae_lab.storage.files": "import vae_lab.seeding", "vae_lab.seeding": ""},
         "vae_lab.storage.files imports seeding: storage imports errors alone"),
    ],
    no_circles: [
        ({"vae_lab.data": "import vae_lab.data.a", "vae_lab.data.a": "import vae_lab.data"},
         "a circle: vae_lab.data <- vae_lab.data.a <- vae_lab.data"),
        (
            {
                "vae_lab.data.a": "from vae_lab.data import b",
                "vae_lab.data.b": "def f():\n    from vae_lab.data.a import A",
            },
            "a circle: vae_lab.data.a <- vae_lab.data.b <- vae_lab.data.a",
        ),
        (
            {
                "vae_lab.data.a": "import vae_lab.data.b",
                "vae_lab.data.b": "if TYPE_CHECKING:\n    from vae_lab.data.a import A",
            },
            "a circle: vae_lab.data.a <- vae_lab.data.b <- vae_lab.data.a",
        ),
    ],
    no_relative_imports: [
        ({"vae_lab.data.a": "from . import b"}, "vae_lab.data.a imports relatively"),
        ({"vae_lab.data.a": "from ..trace import Batch"}, "vae_lab.data.a imports relatively"),
    ],
    libraries_in_their_rooms: [
        ({"vae_lab.trace": "import lightning as L"}, "vae_lab.trace may not import lightning"),
        ({"vae_lab.model.vae": "def f():\n    from omegaconf import DictConfig"},
         "vae_lab.model.vae may not import omegaconf"),
        ({"vae_lab.callbacks.media": "def f():\n    import wandb"},
         "vae_lab.callbacks.media may not import wandb"),
        ({"vae_lab.loggers.media": "import wandb"},
         "vae_lab.loggers.media imports wandb outside a function"),
    ],
    models_know_no_concrete_network: [
        ({"vae_lab.model.vae": "from vae_lab.model.networks.mlp import MLP"},
         "vae_lab.model.vae knows vae_lab.model.networks.mlp.MLP"),
        ({"vae_lab.model.priors.vamp": "from vae_lab.model.networks import Network, MLP"},
         "vae_lab.model.priors.vamp knows vae_lab.model.networks.MLP"),
    ],
    files_are_read_in_one_sitting: [
        ({"vae_lab.trace": "\n" * 251}, "vae_lab.trace has 251 lines: it holds two ideas"),
    ],
    words_that_are_not_used: [
        ({"vae_lab.trace": "hasattr(q, 'mean')"}, "vae_lab.trace says hasattr("),
    ],
}  # fmt: skip
SOUND = {
    "vae_lab": "from vae_lab.training import step",
    "vae_lab.training": "import lightning as L\nfrom vae_lab.training.step import step",
    "vae_lab.training.step": "from vae_lab.model.vae import VAE\nfrom vae_lab.trace import Batch",
    "vae_lab.model.vae": "from vae_lab.model.networks import Network\nimport vae_lab.trace",
    "vae_lab.model.networks": "from vae_lab.model.networks.mlp import MLP",
    "vae_lab.model.networks.mlp": "from vae_lab.model.networks.base import Network",
    "vae_lab.model.networks.base": "import torch",
    "vae_lab.loggers.media": "def f():\n    import wandb",
    "vae_lab.storage.files": "from vae_lab.errors import InputError\nimport vae_lab.storage.lock",
    "vae_lab.storage.lock": "",
    "vae_lab.trace": "",
    "vae_lab.errors": "\n" * 250,
}


@pytest.mark.parametrize("rule", BROKEN)
def test_the_house_keeps_its_rules(rule: Rule) -> None:
    assert list(rule(read_tree())) == []


def test_every_room_is_there() -> None:
    assert set(map(room, read_tree())) == set(ROOMS)


@pytest.mark.parametrize(
    ("rule", "tree", "said"),
    [(rule, tree, said) for rule, trees in BROKEN.items() for tree, said in trees],
)
def test_a_rule_that_is_broken_is_told(rule: Rule, tree: Tree, said: str) -> None:
    assert list(rule(tree)) == [said]


@pytest.mark.parametrize("rule", BROKEN)
def test_a_sound_house_is_not_complained_of(rule: Rule) -> None:
    assert list(rule(SOUND)) == []
