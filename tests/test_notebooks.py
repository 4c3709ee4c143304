"""Notebooks run, hold no logic of their own, and are committed with what they show."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FITTED = ROOT / "notebooks" / "4_conditional_vaes.ipynb"  # by mixtures too large for few images
PHOTOGRAPHS = ROOT / "notebooks" / "6_from_blurry_to_better.ipynb"
PLACES = re.compile(r"/(?:home|root|tmp|work|Users|var|mnt)/|at 0x[0-9a-f]{6}")
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text())["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def shown(cells: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The kind of each output, and its text; of figures alone what stands beside them."""
    for output in (output for cell in cells for output in cell["outputs"]):
        texts = [output.get("text", ""), *output.get("traceback", ())]
        texts += [text for kind, text in output.get("data", {}).items() if kind != "image/png"]
        yield output.get("name", output["output_type"]), "".join("".join(text) for text in texts)


def test_there_are_some() -> None:
    assert NOTEBOOKS


def check_outputs(notebook: Path) -> None:
    """All cells ran, in order, without a warning; what they show is small, and of no machine."""
    cells = code_cells(notebook)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert any("image/png" in output.get("data", {}) for c in cells for output in c["outputs"])
    for kind, text in shown(cells):
        assert kind not in ("stderr", "error"), text
        assert "Warning" not in text
        assert not PLACES.search(text), text
    assert notebook.stat().st_size < 600_000


@pytest.mark.process
@each_notebook
def test_a_notebook_runs(
    notebook: Path, tmp_path: Path, command: Callable[..., "CompletedProcess[str]"]
) -> None:
    data = "glyphs" if notebook == FITTED else "digits"  # small images, and few
    asked = ("notebooks/execute.py", str(notebook), "--data", data, "--into", str(tmp_path))
    finished = command(*asked, cold=True)
    assert finished.returncode == 0, finished.stderr
    check_outputs(tmp_path / notebook.name)


@each_notebook
def test_a_notebook_keeps_its_outputs(notebook: Path) -> None:
    check_outputs(notebook)


@each_notebook
def test_a_notebook_defines_nothing_and_names_no_place(notebook: Path) -> None:
    code = "\n".join("".join(cell["source"]) for cell in code_cells(notebook))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not any(isinstance(node, kinds) for node in ast.walk(ast.parse(code)))
    assert not PLACES.search(code)


@each_notebook
def test_a_notebook_takes_other_data(notebook: Path) -> None:
    first = "".join(code_cells(notebook)[0]["source"])
    own = "cifar10" if notebook == PHOTOGRAPHS else "glyphs"
    assert f'DATA = os.environ.get("VAE_LAB_NOTEBOOK_DATA", "{own}")' in first.splitlines()
    assert "make notebooks DATA=mnist" in notebook.read_text()


@each_notebook
def test_the_readme_names_a_notebook(notebook: Path) -> None:
    assert f"`{notebook.stem}`" in (ROOT / "README.md").read_text()


@each_notebook
def test_nothing_tells_when_or_with_what_a_notebook_ran(notebook: Path) -> None:
    content = json.loads(notebook.read_text())
    assert content["metadata"] == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert not any(cell["metadata"] for cell in content["cells"])
