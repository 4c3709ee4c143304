"""The dashboard shows what runs log, and its specification needs no network."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import QUICK
from parts import inspected

from vae_lab import InputError, Run, train
from vae_lab.loggers.dashboard import create, listing, main, report, workspace

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style:DeprecationWarning")
SECTIONS = {"train", "val", "test", "latent", "media", "system"}


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wandb.Api", refuse)
        parts = {"workspace": workspace("team", "project"), "report": report("team", "project")}
        models = {name: part._to_model() for name, part in parts.items()}  # what `save` sends
        return {
            name: json.loads(model.model_dump_json(by_alias=True, exclude_none=True))
            for name, model in models.items()
        }


@pytest.fixture
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wandb.Api", refuse)


def refuse(*arguments: Any, **options: Any) -> None:
    raise AssertionError("W&B was asked over the network")


@pytest.fixture(scope="module")
def logged(wandb_run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """What two real runs logged: their summaries and their configurations, flat."""
    folder = tmp_path_factory.mktemp("conditional") / "run"
    overrides = [o for o in QUICK if "figures" not in o and "logger" not in o]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        train(
            [*overrides, "model=cvae_class_means", "data.limit=64", f"hydra.run.dir={folder}"],
            quiet=True,
        )
    runs = [inspected(wandb_run.folder), inspected(folder)]
    return {
        part: {name: value for run in runs for name, value in flat(run[part]).items()}
        for part in ("summary", "config")
    }


def flat(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    """{"a": {"b": 1}} has "a" and "a.b"."""
    leaves = {}
    for key, value in tree.items():
        leaves[f"{path}{key}"] = value
        if isinstance(value, dict):
            leaves |= flat(value, f"{path}{key}.")
    return leaves


def panels(tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel's kind and settings, wherever it stands."""
    if isinstance(tree, dict):
        if "viewType" in tree:
            yield tree["viewType"], tree["config"]
        for value in tree.values():
            yield from panels(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from panels(value)


def metrics(kind: str, config: dict[str, Any]) -> list[str]:
    """The names a panel reads; "config:" and "summary:" say where, else history."""
    if kind == "Run History Line Plot":
        return [config["xAxis"], *config["metrics"]]
    if kind == "Scatter Plot":
        return [config["xAxis"], config["yAxis"]]
    if kind == "Bar Chart":
        return config["metrics"]
    if kind == "Parallel Coordinates Plot":
        return [column["accessor"] for column in config["columns"]]
    if kind == "Media Browser":
        return config["mediaKeys"]
    assert kind == "Run Comparer"
    return []


@pytest.mark.parametrize("part", ["workspace", "report"])
def test_every_metric_of_every_panel_was_logged(
    part: str, built: dict[str, Any], logged: dict[str, dict]
) -> None:
    names = {name for kind, config in panels(built[part]) for name in metrics(kind, config)}
    assert len(names) > 15
    for name in names:
        where, _, key = name.rpartition(":")
        if where == "config":
            assert key.replace(".value", "", 1) in logged["config"], name
        else:
            assert key in logged["summary"], name


def test_columns_of_the_run_table_were_logged(
    built: dict[str, Any], logged: dict[str, dict]
) -> None:
    (runs,) = built["workspace"]["spec"]["section"]["runSets"]
    pinned = [name.removeprefix("summary:") for name in runs["runFeed"]["columnPinned"]]
    assert pinned[0] == "run:displayName"
    assert len(pinned) > 2
    assert set(pinned[1:]) <= set(logged["summary"])


def test_all_that_is_logged_of_a_section_is_shown_in_it(
    built: dict[str, Any], logged: dict[str, dict]
) -> None:
    sections = built["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]
    by_name = {section["name"]: section["panels"] for section in sections}
    assert set(by_name) >= SECTIONS
    for section in SECTIONS:
        shown = {n for kind, config in panels(by_name[section]) for n in metrics(kind, config)}
        own = {n for n in logged["summary"] if n.startswith(f"{section}/") and "." not in n}
        own -= {f"{section}/elbo_standard_error"}  # an error bar, not a curve
        assert shown - {"trainer/global_step"} == own


def test_both_hold_the_plots_a_vae_calls_for(built: dict[str, Any]) -> None:
    wanted = {
        "Run History Line Plot", "Scatter Plot", "Media Browser", "Parallel Coordinates Plot",
        "Bar Chart", "Run Comparer",
    }  # fmt: skip
    for part in ("workspace", "report"):
        shown = list(panels(built[part]))
        assert {kind for kind, _ in shown} == wanted
        by_group = [config for _, config in shown if config.get("groupBy") == "group"]
        assert len(by_group) == 2
    assert built["report"]["project"]["entityName"] == built["workspace"]["entity"] == "team"


@pytest.mark.usefixtures("_no_network")
def test_a_dry_run_prints_a_list_that_a_person_reads(
    capsys: pytest.CaptureFixture[str], built: dict[str, Any]
) -> None:
    main(["team/project", "--dry-run"])
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Workspace view vae-lab of team/project"
    assert "Report: What the runs of project learned" in said
    assert all(len(line) <= 80 for line in said)
    depths = [len(line) - len(line.lstrip()) for line in said]
    assert depths.count(0) == 2
    assert depths.count(4) == sum(1 for part in built.values() for _ in panels(part))
    shown = {line.strip() for line in said if line.startswith("  ") and line[2] != " "}
    assert SECTIONS | {"Rate and distortion", "Active units"} <= shown
    assert "    curves  val/active_units" in said
    assert not set("{}[]") & set("".join(said))


@pytest.mark.usefixtures("_no_network")
def test_what_is_missing_is_one_line_that_names_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="^error: no W&B key is configured: run `wandb login`"):
        main(["team/project"])
    with pytest.raises(SystemExit, match="^error: say entity/project"):
        main(["project"])
    monkeypatch.setattr("vae_lab.errors.find_spec", lambda name: None)
    for needs in (create, listing):
        with pytest.raises(InputError, match=r"pip install 'vae-lab\[dashboard\]'"):
            needs("team", "project")
