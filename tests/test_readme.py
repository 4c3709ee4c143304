"""The README is true: its commands run, its table is what exists, its new part works."""

import json
import math
import os
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest
from conftest import QUICK, ROOT
from parts import GROUPS, choices
from warm import run_script

import vae_lab
from vae_lab.config.compose import compose_config

README = (ROOT / "README.md").read_text()
SHORT = ["trainer.max_epochs=1", "data.limit=32", *QUICK[3:]]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(script: str) -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[2:] for words in split if words[:2] == ["python", script]]


def is_sweep(overrides: list[str]) -> bool:
    return "-m" in overrides or any(word.startswith("sweep=") for word in overrides)


EVERY = commands("train.py")
GOES_ON = [c for c in EVERY if any("RUN" in word or word == "resume=latest" for word in c)]
TRAIN = [c for c in EVERY if c not in GOES_ON]
ON_REAL_DATA = [c for c in TRAIN if re.search("mnist|cifar10", " ".join(c))]
EMBEDDED = [c for c in TRAIN if c not in ON_REAL_DATA and not is_sweep(c)]


def test_there_are_commands() -> None:
    assert len(EMBEDDED) >= 5
    assert len(ON_REAL_DATA) >= 5
    assert len(GOES_ON) == 3
    assert len(commands("evaluate.py")) == 2


@pytest.mark.parametrize("overrides", TRAIN, ids=" ".join)
def test_its_commands_compose(overrides: list[str]) -> None:
    for job in jobs(overrides):
        compose_config("train", job)


SYSTEMS = README.partition("| system | say |")[2].partition("\n\n")[0]
SAID = [words.split() for words in re.findall(r"`([^`]*=[^`]*)`", SYSTEMS)]


def test_what_it_says_of_every_system_composes() -> None:
    assert len(SAID) > 20
    for overrides in SAID:
        if overrides[0] != "vae-lab":
            compose_config("train", overrides)


@pytest.mark.parametrize("overrides", EMBEDDED, ids=" ".join)
def test_its_commands_on_embedded_data_run(overrides: list[str], tmp_path: Path) -> None:
    short = ["callbacks.progress=null", "trainer.max_epochs=1", "data.limit=32"]
    run = vae_lab.train([*overrides, *short, f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    assert (run.folder / "figures" / "samples.png").is_file()


@pytest.mark.parametrize("overrides", ON_REAL_DATA, ids=" ".join)
def test_its_commands_on_real_data_run(
    overrides: list[str], tmp_path: Path, real_data: Path
) -> None:
    for number, job in enumerate(jobs(overrides)):
        where = [f"data.root={real_data}", f"hydra.run.dir={tmp_path / str(number)}"]
        run = vae_lab.train([*job, "logger=none", *SHORT, *where], quiet=True)
        assert run.metrics["train/elbo"] == run.metrics["train/elbo"]  # a number


def jobs(overrides: list[str]) -> list[list[str]]:
    """The jobs of a command: one, or those of its multirun."""
    found: list[list[str]] = [[]]
    for override in overrides:
        if override == "-m":
            continue
        key, _, values = override.partition("=")
        several = values.split(",") if is_sweep(overrides) else [values]
        found = [[*job, f"{key}={value}"] for job in found for value in several]
    return found


@pytest.mark.parametrize("overrides", GOES_ON, ids=" ".join)
def test_its_commands_that_go_on_run(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    begun = vae_lab.train(["logger=none", *SHORT, "hydra.run.dir=runs/begun"], quiet=True)
    words = [word.replace("RUN", "runs/begun") for word in overrides]
    if "init_from=runs/begun" in words:
        words += ["logger=none", *SHORT, "hydra.run.dir=runs/other"]
    else:
        (begun.folder / "result.json").unlink()  # as if it had been killed before its end
    assert vae_lab.train(words, quiet=True).metrics["train/elbo"] < 0


def test_its_evaluation_runs(digits_run: Path) -> None:
    from vae_lab.commands.evaluate import evaluate_task

    words, _ = commands("evaluate.py")
    words = [w.replace("RUN", str(digits_run)).replace("1000", "5") for w in words]
    evaluate_task(compose_config("evaluate", [*words, "evaluate.progress=false"]))
    assert (digits_run / "evaluation.json").is_file()


def test_its_export_runs(digits_run: Path) -> None:
    from vae_lab.commands.export import export_task

    (words,) = commands("export.py")
    export_task(compose_config("export", [w.replace("RUN", str(digits_run)) for w in words]))
    assert (digits_run / "export" / "decoder.onnx").is_file()


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = [b for b in blocks("python") if "vae_lab.train(" in b]
    whole, quick = vae_lab.train, ["logger=none", *SHORT]
    monkeypatch.setattr(vae_lab, "train", lambda o: whole([*o, *quick], quiet=True))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert names["model"].sample(8, y=3, seed=0).shape == (8, 1, 28, 28)


CHOICES = runpy.run_path(str(ROOT / "docs" / "choices.py"))


def test_its_table_of_choices_is_up_to_date() -> None:
    assert CHOICES["updated"](README, ROOT / "conf") == README, "say `make docs`"


def told(table: str) -> dict[str, set[str]]:
    """The options of each group, as a table of choices has them."""
    rows = re.findall(r"^\| (`[a-z_/`, ]+`)[^|]*\| (.*) \|$", table, re.MULTILINE)
    return {
        group: set(re.findall("`([a-z0-9_]+)`", options))
        for groups, options in rows
        for group in re.findall("`([a-z_/]+)`", groups)
    }


def test_its_table_of_choices_is_what_exists() -> None:
    exist = {group: set(choices(group)) for group in GROUPS if choices(group)}
    exist.pop("callbacks")
    assert told(README) == exist


def test_a_new_part_comes_into_the_table_of_choices(tmp_path: Path) -> None:
    conf = shutil.copytree(ROOT / "conf", tmp_path / "conf")
    before = told(CHOICES["table"](conf))
    (conf / "model" / "prior" / "student_t.yaml").write_text("_target_: student_t.StudentT")
    (conf / "model" / "linear.yaml").write_text("defaults:\n  - likelihood: ???\n  - _self_\n")
    (conf / "model" / "likelihood" / "_base.yaml").write_text("_partial_: true")
    table = CHOICES["table"](conf)
    assert told(table) == before | {
        "model": before["model"] | {"linear"},
        "model/prior": before["model/prior"] | {"student_t"},
    }
    (others,) = re.findall(r"\| `model/encoder`, `model/decoder` \(not of (.*?)\) \|", table)
    assert "`linear`" in others
    assert "`mlp_vae`" not in others
    (owners,) = re.findall(r"\| `model/likelihood/sigma` \(of (.*?)\) \|", table)
    assert owners == "`gaussian`"


def test_its_new_part_is_one_file_and_one_yaml(tmp_path: Path) -> None:
    (code,) = [b for b in blocks("python") if "class StudentT" in b]
    (text,) = blocks("yaml")
    (line,) = re.findall(r"^    (VAE_LAB_TRUST=.*)$", README, re.MULTILINE)
    told = re.findall(r"`(my_\w+/[\w/.]+)`", README)
    for place, content in zip(told, (code, text), strict=True):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).write_text(content)
    trust, python, script, *words = shlex.split(line)
    assert (python, script) == ("python", "train.py")
    variables = {**os.environ, "PYTHONPATH": str(tmp_path), **dict([trust.split("=")])}
    short = [*QUICK, "data.limit=32", "hydra.run.dir=run"]
    finished = run_script([ROOT / script, *words, *short], cwd=tmp_path, env=variables)
    assert finished.returncode == 0, finished.stderr
    assert "no closed form" in finished.stdout
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert math.isfinite(result["metrics"]["train/rate"])


def test_its_lines_of_code_are_the_code() -> None:
    (heart,) = [b for b in blocks("python") if "def elbo" in b]
    body = [line.strip() for line in heart.splitlines() if line.startswith("    ")]
    body = [line for line in body if not line.startswith("def ")]
    source = "".join(
        (ROOT / "src" / "vae_lab" / path).read_text()
        for path in ("objectives/elbo.py", "model/vae.py")
    )
    assert len(body) == 5
    for line in body:
        assert line in source


def test_its_figures_are_there() -> None:
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (ROOT / path).is_file()
