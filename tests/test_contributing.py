"""CONTRIBUTING is true: its recipes work as they stand, and its map shows what is there."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
from conftest import QUICK, ROOT

import vae_lab

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
TWO_SIDED = ("A network", "A conditioning")
RECIPES = dict(re.findall(r"^### (.*?)\n(.*?)(?=^##)", TEXT, re.DOTALL | re.MULTILINE))


def files(recipe: str) -> dict[Path, str]:
    """What a recipe says to write, by path."""
    found, start = {}, 0
    for block in re.finditer(r"```(\w+)\n(.*?)```", recipe, re.DOTALL):
        before = recipe[start : block.start()]
        for path in re.findall(r"`((?:src|conf)/[\w/.]+\.(?:py|yaml))`", before):
            found[Path(path)] = block[2]
        start = block.end()
    return found


def test_there_is_a_recipe_for_each_kind_of_part() -> None:
    assert list(RECIPES) == [
        "A network", "A conditioning", "A posterior", "A likelihood", "A prior", "An objective",
        "An estimator", "A data set", "A model", "A callback",
    ]  # fmt: skip
    for name, recipe in RECIPES.items():
        kinds = [path.suffix for path in files(recipe)]
        assert kinds.count(".py") == 1, name
        assert kinds.count(".yaml") == (2 if name in TWO_SIDED else 1), name


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_works_as_it_stands(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path, text in files(RECIPES[name]).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        if path.suffix == ".py":
            package = importlib.import_module(".".join(path.parent.parts[1:]))
            place = str((tmp_path / path).parent)
            monkeypatch.setattr(package, "__path__", [*package.__path__, place])
    (command,) = re.findall(r"^python train.py (.*)$", RECIPES[name], re.MULTILINE)
    run = vae_lab.train(
        [*QUICK, *shlex.split(command), f"hydra.searchpath=[file://{tmp_path / 'conf'}]",
         "data.limit=64", f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    assert run.metrics["train/elbo"] < 0
    loaded = run.load()
    assert loaded.sample(4, seed=0).shape[0] == 4


def test_the_map_shows_every_room_and_no_other() -> None:
    plan = TEXT[TEXT.index("    src/vae_lab/") : TEXT.index("    tests/")]
    told = set(re.findall(r"^      (\w+)/ ", plan, re.MULTILINE))
    told |= {f"{name}.py" for name in re.findall(r"(\w+)\.py", plan)}
    source = ROOT / "src" / "vae_lab"
    rooms = {path.name for path in source.iterdir() if (path / "__init__.py").is_file()}
    ground = {path.name for path in source.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert told == rooms | ground


def test_what_one_looks_for_is_where_it_says() -> None:
    rows = re.findall(r"^\| [^|]+ \| (.*) \|$", TEXT, re.MULTILINE)
    for path in re.findall(r"`([\w/]+\.py)`", "\n".join(rows)):
        assert (ROOT / "src" / "vae_lab" / path).is_file(), path
