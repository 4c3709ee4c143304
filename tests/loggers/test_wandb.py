"""W&B gets every row once, however often a run was stopped: uploaded to a server that stands in."""

import os
import signal
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import wandb
from conftest import QUICK
from killed import Watched
from parts import inspected
from wandb_server import synced

from vae_lab import InputError, train
from vae_lab.loggers import WandB
from vae_lab.loggers.offline import mended_history
from vae_lab.training.module import VAEModule

STEP = "trainer/global_step"
RUN = (*QUICK[1:], "logger=wandb", "data=digits", "data.limit=64")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")


def counted(rows: Iterable[dict[str, Any]]) -> Counter[tuple[int, frozenset[str]]]:
    """Steps, and what was logged of each, whatever W&B adds."""
    return Counter(
        (row[STEP], frozenset(n for n in row if n[0] != "_" and n != STEP)) for row in rows
    )


def logger(folder: Path) -> WandB:
    log = WandB(str(folder), "project", "name", "theid", None, [])
    log.begin("val/elbo")
    return log


@pytest.mark.process
def test_both_halves_of_a_killed_run_arrive_and_each_step_counts_once(tmp_path: Path) -> None:
    asked = ("logger=wandb", "data=digits", "callbacks.histograms.every_n_steps=3")
    run = Watched(tmp_path, *asked)
    run.kill_after(2 * 13 + 8)  # and what it has logged of the third epoch
    run.finish("resume=run")
    (run_id,) = {path.name[-8:] for path in (run.folder / "wandb").glob("offline-run-*")}
    kept = list(mended_history(run.folder, run_id))
    rows = synced(run.folder).rows()
    assert counted(rows) == counted(kept)  # of both files, in order
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    assert max(counted(rows).values()) == 1
    ends = [row["epoch"] for row in rows if "val/elbo" in row]
    assert ends == sorted(set(ends))
    assert {2, 3} <= set(ends)  # of the second half, all


def test_what_was_logged_before_is_not_logged_again_and_all_else_is(tmp_path: Path) -> None:
    first = logger(tmp_path)
    first.log_metrics({"val/elbo": -1.0, "epoch": 0}, 3)
    first.log_metrics({"media/samples": 1}, 3)
    first.finish(1)
    (folder,) = tmp_path.glob("wandb/offline-run-*")  # named by the second: the next may be in it
    wandb.teardown()  # waits for what W&B's service has yet to write
    older = folder.rename(folder.with_name("offline-run-20200101_000000-theid")) / "run-theid.wandb"
    older.write_bytes(older.read_bytes() + b"1234\xff\x00\x02torn")  # killed while it wrote
    second = logger(tmp_path)
    second.log_metrics({"val/elbo": -1.0, "epoch": 0}, 3)
    second.log_metrics({"train/elbo": -2.0, "epoch": 0}, 3)  # the first was cut off before it
    second.log_metrics({"media/samples": 1}, 3)
    second.log_metrics({"media/samples": 1}, 3)  # of the test, at the same step
    second.log_metrics({"val/elbo": -5.0, "epoch": 1}, 7)
    second.finish()
    wandb.teardown()
    rows = [{n: v for n, v in r.items() if n[0] != "_"} for r in mended_history(tmp_path, "theid")]
    assert rows == [
        {STEP: 3, "val/elbo": -1.0, "epoch": 0},
        {STEP: 3, "media/samples": 1},
        {STEP: 3, "train/elbo": -2.0, "epoch": 0},
        {STEP: 3, "media/samples": 1},
        {STEP: 7, "val/elbo": -5.0, "epoch": 1},
    ]
    server = synced(tmp_path)
    assert counted(server.rows()) == counted(rows)
    assert server.summary["val/elbo"] == {"max": -1.0}  # of both halves
    assert server.summary["train/elbo"] == {"max": -2.0}


def test_a_log_of_many_blocks_cut_anywhere_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    log = logger(tmp_path)
    for step in range(300):
        log.log_metrics({f"train/{step % 7}/{name}" * 9: step for name in range(4)}, step)
    log.finish()
    wandb.teardown()
    (path,) = tmp_path.glob("wandb/offline-run-*/run-theid.wandb")
    content = path.read_bytes()
    assert len(content) > 3 * 32768
    whole = list(mended_history(tmp_path, "theid"))
    assert [row[STEP] for row in whole] == list(range(300))
    for cut in range(7, len(content), 997):
        path.write_bytes(content[:cut])
        rows = list(mended_history(tmp_path, "theid"))
        assert rows == whole[: len(rows)]
        assert content.startswith(path.read_bytes())  # cut after the last whole record
        assert list(mended_history(tmp_path, "theid")) == rows
    path.write_bytes(content[:40_000] + b"\xff" * 100 + content[40_100:])
    rows = list(mended_history(tmp_path, "theid"))
    assert all(row in whole for row in rows)


def test_an_interrupted_run_is_marked_killed_and_has_all_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = VAEModule.on_train_epoch_end

    def end(self: VAEModule) -> None:
        ended(self)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(VAEModule, "on_train_epoch_end", end)
    folder = tmp_path / "run"
    with pytest.raises(SystemExit):
        train([*RUN, "trainer.max_epochs=3", f"hydra.run.dir={folder}"], quiet=True)
    found = inspected(folder)
    assert found["exit_code"] == 255
    assert {"train/elbo", "val/elbo", "system/learning_rate"} <= set(found["summary"])


def test_it_says_in_short_lines_how_to_view_and_upload_every_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train([*RUN, "hydra.run.dir=runs/today"])
    said = [
        line
        for line in capsys.readouterr().out.splitlines()
        if "wandb" in line.lower() or "W&B" in line
    ]
    assert said == [
        "W&B is offline. To view the run, and to upload it:",
        "wandb leet runs/today/wandb",
        "wandb sync runs/today/wandb/offline-run-*",
    ]


def test_a_mode_that_wandb_does_not_have_is_one_line_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "bogus")
    with pytest.raises(InputError, match="unknown WANDB_MODE 'bogus'.* offline, online") as raised:
        train([*RUN, f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_run_without_wandb_is_still_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    train([*RUN, f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    assert (tmp_path / "run" / "result.json").is_file()
    assert not list(tmp_path.glob("run/wandb/offline-run-*"))
