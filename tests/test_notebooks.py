"""Notebooks run, and hold no logic of their own."""

import ast
import json
from pathlib import Path

import matplotlib as mpl
import pytest
from conftest import QUICK, ROOT

import vae_lab

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_of(notebook: Path) -> str:
    cells = json.loads(notebook.read_text())["cells"]
    return "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")


def test_there_are_some() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mpl.use("Agg")
    whole = vae_lab.train
    quick = [*QUICK[2:], "data.limit=64"]
    monkeypatch.setattr(vae_lab, "train", lambda o: whole([*o, *quick], quiet=True))
    monkeypatch.chdir(tmp_path)
    exec(compile(code_of(notebook), notebook.name, "exec"), {})


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_defines_nothing_and_keeps_no_output(notebook: Path) -> None:
    kinds = (ast.FunctionDef, ast.ClassDef, ast.Lambda)
    assert not any(isinstance(node, kinds) for node in ast.walk(ast.parse(code_of(notebook))))
    cells = json.loads(notebook.read_text())["cells"]
    assert not any(cell.get("outputs") for cell in cells)
