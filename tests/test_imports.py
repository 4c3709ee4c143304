"""Who imports whom, read from the source: the house's plan, kept."""

import ast
import subprocess
import sys
from pathlib import Path

from conftest import ROOT

SOURCE = ROOT / "src" / "vae_lab"
MODULES = sorted(SOURCE.rglob("*.py"))
MAY_LIGHTNING = {"training", "data", "callbacks", "loggers", "build", "job", "run", "group",
                 "interruption", "storage", "lr_find", "sharding"}  # fmt: skip
MAY_HYDRA = {"build", "export", "launch", "job", "resume", "run", "score", "sweep", "table",
             "worker"}  # fmt: skip
MAY_IMPORT = {
    "trace": set(),
    "errors": set(),
    "seeding": set(),
    "record": set(),
    "objectives": {"trace", "errors"},
    "estimators": {"trace", "errors", "objectives"},
    "families": {"trace", "errors"},
    "networks": {"errors"},
    "priors": {"errors", "families"},
    "models": {"trace", "errors", "families", "networks", "priors"},
    "programs": {"errors", "models", "seeding"},
    "storage": {"errors"},
    "interruption": set(),
    "group": {"errors", "interruption"},
    "checkpoint": {"build", "errors", "models"},
    "data": {"trace", "errors", "families", "seeding"},
    "evaluation": {"trace", "objectives", "estimators", "models", "families", "seeding"},
    "training": {"trace", "errors", "objectives", "estimators", "models", "evaluation", "seeding"}
    | {"sharding"},
    "callbacks": {"training", "data", "evaluation", "loggers", "errors", "interruption", "trace"}
    | {"sharding"},
    "loggers": {"errors"},
    "dashboard": {"errors", "loggers"},
    "compiling": {"errors"},
    "sharding": set(),
    "lr_find": {"callbacks", "data", "errors", "training"},
}


def imported(path: Path) -> set[str]:
    return imported_by(ast.parse(path.read_text()), path)


def imported_by(tree: ast.AST, path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def test_only_some_import_lightning_and_hydra() -> None:
    for path in MODULES:
        tops = {name.split(".")[0] for name in imported(path)}
        if "lightning" in tops:
            assert part_of(path) in MAY_LIGHTNING, path
        if tops & {"hydra", "omegaconf"}:
            assert part_of(path) in MAY_HYDRA, path


def test_wandb_is_imported_in_functions_alone() -> None:
    for path in MODULES:
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                node.body = []
        tops = {name.split(".")[0] for name in imported_by(tree, path)}
        assert not tops & {"wandb", "wandb_workspaces"}, path


def test_parts_import_only_what_they_may() -> None:
    for path in MODULES:
        part = part_of(path)
        if part not in MAY_IMPORT:
            continue
        inside = {n.split(".")[1] for n in imported(path) if n.startswith("vae_lab.")}
        assert inside - {part} <= MAY_IMPORT[part], path


def test_models_know_no_concrete_network() -> None:
    for path in (SOURCE / "models").glob("*.py"):
        assert not {
            n for n in imported(path) if n in ("vae_lab.networks.mlp", "vae_lab.networks.conv")
        }


def test_no_file_holds_two_ideas() -> None:
    for path in MODULES:
        assert len(path.read_text().splitlines()) <= 250, path


def test_house_rules() -> None:
    for path in MODULES:
        text = path.read_text()
        assert "hasattr(" not in text, path
        assert "TODO" not in text, path
        assert "NotImplementedError()" not in text, path


def test_wandb_is_imported_only_when_it_logs() -> None:
    code = "import sys, vae_lab; assert 'wandb' not in sys.modules, 'imported'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
