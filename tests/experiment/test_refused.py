"""What a run does not go on from, and where it does not write: one line, and nothing changed."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import QUICK
from parts import one_line_of
from warm import start_script

from vae_lab import InputError, load, train
from vae_lab.experiment import run as running
from vae_lab.storage.run_folder import LOCK, RunFolder

SMALL = [*QUICK, "data=digits", "data.limit=64", "model.encoder.widths=[16]",
         "model.decoder.widths=[16]"]  # fmt: skip
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, finished."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train([*SMALL, "trainer.max_epochs=2", f"hydra.run.dir={folder}"], quiet=True)
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The same, each test's own."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def go_on(run: Path, quiet: bool = True) -> None:
    train([f"resume={run}", "trainer.max_epochs=3"], quiet=quiet)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(path: Path, change: Edit) -> None:
    kept = torch.load(path, weights_only=True)
    change(kept)
    torch.save(kept, path)


def forget(*keys: str) -> Edit:
    return lambda kept: [kept.pop(key) for key in keys]


def of_nan(kept: dict[str, Any]) -> None:
    next(iter(kept["state_dict"].values())).view(-1)[3] = float("nan")


def of_a_nan_momentum(kept: dict[str, Any]) -> None:
    kept["optimizer_states"][0]["state"][0]["exp_avg"][:] = float("nan")


def of_another_run(kept: dict[str, Any]) -> None:
    kept["vae_lab"]["config"]["model"]["z_shape"] = [3]


def of_another_model(kept: dict[str, Any]) -> None:
    kept["state_dict"] = {
        key: torch.zeros(3) if "encoder" in key else value
        for key, value in kept["state_dict"].items()
    }


WRONG: dict[str, tuple[Edit, str]] = {
    "optimiser": (forget("optimizer_states"), "no training to go on with .no optimizer_states"),
    "loops": (forget("loops"), "no training to go on with .no loops"),
    "weights alone": (forget("optimizer_states", "loops", "callbacks"), "no training to go on"),
    "NaN": (of_nan, "has NaN in its state_dict"),
    "NaN momentum": (of_a_nan_momentum, "has NaN in its optimizer_states"),
    "another run": (of_another_run, r"model.z_shape \[.*\], not \[3\]"),
    "another model": (of_another_model, "are of another model than its configuration"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_last_checkpoint_that_is_wrong_is_named_and_the_one_before_it_serves(
    run: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    change, reason = WRONG[name]
    checkpoints = run / "checkpoints"
    edit(checkpoints / "last.ckpt", change)
    go_on(run, quiet=False)
    said = capsys.readouterr().out
    assert f"{checkpoints / 'last.ckpt'} " in said
    assert "last.ckpt cannot be used: goes on from previous.ckpt" in said
    for path in ("last.ckpt", "previous.ckpt"):
        edit(checkpoints / path, change)
    (run / "result.json").unlink()
    before = content(run)
    with pytest.raises(InputError, match=f"last.ckpt.*{reason}.*Nor can previous.ckpt be used"):
        go_on(run)
    assert content(run) == before


def test_one_byte_that_has_changed_is_noticed(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = run / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    weights = torch.load(last, weights_only=True)["state_dict"]
    largest = max(weights.values(), key=torch.Tensor.numel)
    at = whole.index(largest.numpy().tobytes()) + 8  # one bit of one weight
    last.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(InputError, match="cut short, damaged"):
        load(last)
    go_on(run, quiet=False)
    said = capsys.readouterr().out
    assert f"{last} is cut short, damaged" in said
    assert "goes on from previous.ckpt" in said


def test_a_configuration_edited_by_hand_is_refused_and_the_differences_named(run: Path) -> None:
    path = run / "config.yaml"
    whole = path.read_text()
    path.write_text(whole.replace("lr: 0.002", "lr: 0.01"))
    before = content(run)
    with pytest.raises(InputError, match=r"config\.yaml, which says optimizer\.lr 0\.01, not 0\.0"):
        go_on(run)
    assert content(run) == before
    path.write_text(whole.replace("lr: 0.002", "lr: ${oc.env:LR,0.002}"))
    with pytest.raises(InputError, match=r"config\.yaml has interpolations"):
        go_on(run)
    path.write_text(whole)
    go_on(run)


def test_a_configuration_that_claims_to_be_huge_is_refused_before_it_is_built(run: Path) -> None:
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config["model"]["z_shape"] = [10**12]
    path.write_text(yaml.safe_dump(config, explicit_end=True))
    with pytest.raises(InputError, match=r"model\.z_shape \[1000000000000\], not \["):
        go_on(run)


def test_a_configuration_cut_anywhere_names_the_fix(run: Path) -> None:
    whole = (run / "config.yaml").read_text()
    for share in (0.05, 0.3, 0.5, 0.7, 0.9, 0.99):
        (run / "config.yaml").write_text(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"(is cut short.*init_from=|choose another folder)"):
            go_on(run)


def test_checkpoints_without_a_configuration_are_not_gone_on_from(run: Path) -> None:
    (run / "config.yaml").unlink()
    before = content(run)
    for asked in ([f"resume={run}"], [*SMALL, f"hydra.run.dir={run}"]):
        with pytest.raises(InputError, match=r"no config\.yaml to know their run by.*init_from="):
            train(asked, quiet=True)
    lock = {str(run / LOCK): b""}
    assert before | lock == content(run) | lock


def test_a_checkpoint_that_claims_a_huge_model_is_refused_at_once(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def claim(kept: dict[str, Any]) -> None:
        kept["vae_lab"]["config"]["model"]["z_shape"] = [10**6]

    best, built = run / "checkpoints" / "best.ckpt", torch.nn.Linear.__init__

    def watched(self: torch.nn.Linear, fan_in: int, fan_out: int, **more: Any) -> None:
        built(self, fan_in, fan_out, **more)
        assert self.weight.is_meta or self.weight.numel() < 10**6

    edit(best, claim)
    monkeypatch.setattr(torch.nn.Linear, "__init__", watched)
    with pytest.raises(InputError, match="are of another model than its configuration"):
        load(best)


@pytest.mark.parametrize("name", ["config.yaml", "text", "empty", "latin", "folder"])
def test_what_is_no_checkpoint_is_said_in_one_line(run: Path, name: str) -> None:
    (run / "text").write_text("a text\n" * 100)
    (run / "empty").touch()
    (run / "latin").write_bytes("é".encode("latin-1"))
    (run / "folder").mkdir()
    with pytest.raises(InputError, match=r"no checkpoint.*run folder") as told:
        load(run / name)
    assert "\n" not in str(told.value)


def test_a_configuration_that_is_no_text_is_said_in_one_line(run: Path) -> None:
    (run / "config.yaml").write_bytes(b"name: \xe9\xff\n")
    with pytest.raises(InputError, match=r"config\.yaml is no run's configuration .UnicodeDecode"):
        go_on(run)


def test_what_was_made_of_the_shorter_run_is_said_and_stays(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "evaluation.json").write_text("{}\n")
    (run / "export").mkdir()
    go_on(run, quiet=False)
    assert "evaluation.json and export in it: of the shorter run" in capsys.readouterr().out
    assert (run / "evaluation.json").exists()


# Two in one folder


def test_no_other_run_gets_in_while_one_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, prepare = tmp_path / "run", running.prepare

    def late(*args: Any) -> Any:
        job = prepare(*args)
        monkeypatch.setattr(running, "prepare", prepare)
        with pytest.raises(InputError, match="in use by another process"):
            train([*SMALL, "seed=1", f"hydra.run.dir={folder}"], quiet=True)
        return job

    monkeypatch.setattr(running, "prepare", late)
    train([*SMALL, f"hydra.run.dir={folder}"], quiet=True)
    assert load(folder).record["config"]["seed"] == 0


def test_a_refused_run_leaves_nothing_behind(tmp_path: Path) -> None:
    for folder in (tmp_path / "a" / "b", tmp_path / "c"):
        with pytest.raises(InputError, match="batch_size"):
            train([*SMALL, "data.batch_size=0", f"hydra.run.dir={folder}"], quiet=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.process
def test_of_two_started_at_once_into_one_folder_one_wins(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "run"
    both = [
        start_script(
            ["train.py", *SMALL, "trainer.max_epochs=40", f"seed={n}", f"hydra.run.dir={folder}"]
        )
        for n in range(2)
    ]
    said = [process.communicate(timeout=200) for process in both]
    assert sorted(process.returncode or 0 for process in both) == [0, 1]
    seed = next(n for n in range(2) if both[n].returncode == 0)
    error = said[1 - seed][1].strip()
    assert "\n" not in error
    assert "in use by another process" in error or "holds another run already" in error
    assert load(folder).record["config"]["seed"] == seed
    assert RunFolder(folder).is_finished


@pytest.mark.process
def test_a_second_multirun_writes_nothing_into_the_runs_of_the_first(
    tmp_path: Path, command: Callable[..., Any]
) -> None:
    sweep = [*SMALL, f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    command("train.py", "-m", *sweep, "seed=0,1").check_returncode()
    before = content(tmp_path / "sweep")
    second = command("train.py", "-m", *sweep, "optimizer.lr=0.1,0.2")
    assert second.returncode == 1
    said = one_line_of(second)
    assert said.endswith(
        "sweep/0 holds a run of another sweep: set hydra.sweep.dir to a new folder."
    )
    assert content(tmp_path / "sweep") == before  # the table and sweep.json, too
    third = command("train.py", "-m", *sweep, "seed=0,1,2")  # goes on, by one more job
    third.check_returncode()
    assert third.stdout.count("finished before") == 2
    damaged = tmp_path / "sweep" / "1" / "result.json"
    damaged.write_text("[]")
    fourth = command("train.py", "-m", *sweep, "seed=0,1,2")
    assert fourth.returncode == 1
    assert "remove it" in fourth.stderr
    damaged.unlink()
    fifth = command("train.py", "-m", *sweep, "seed=0,1,2")
    fifth.check_returncode()
    assert fifth.stdout.count("finished before") == 2
    assert "failed" not in fifth.stdout
