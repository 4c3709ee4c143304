"""Files whole or not at all, the checkpoint before the last, and folders held by one process."""

import multiprocessing
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import QUICK

from vae_lab import InputError, load, train
from vae_lab.storage.files import atomic_file
from vae_lab.storage.run_folder import LOCK, RunFolder
from vae_lab.training.checkpoint_io import AtomicCheckpointIO
from vae_lab.training.module import VAEModule


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail_half_way() -> None:
        with atomic_file(path) as part:
            part.write_text("ne")
            raise OSError("the power went")

    with pytest.raises(OSError, match="power"):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with atomic_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


def test_what_is_written_reaches_the_disk_before_it_takes_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append("sync"), sync(fd))[1])
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (done.append("replace"), replace(self, to))[1]
    )
    with atomic_file(tmp_path / "file") as part:
        part.write_text("new")
    assert done == ["sync", "replace", "sync"]  # the file, its name, the folder


@pytest.mark.parametrize("kind", ["file", "link", "dead link"])
def test_what_a_kill_left_between_two_writes_is_in_nobodys_way(tmp_path: Path, kind: str) -> None:
    store, path, other = AtomicCheckpointIO(), tmp_path / "last.ckpt", tmp_path / "other"
    store.save_checkpoint({"number": 0}, path)
    other.write_text("other")
    for name in ("last.ckpt", "previous.ckpt", "config.yaml", "result.json", "failed.json"):
        part = tmp_path / f"{name}.part"
        if kind == "file":
            part.write_text("half")
        elif kind == "link":
            os.link(path if name == "previous.ckpt" else other, part)
        else:
            part.symlink_to(tmp_path / "gone")
    store.save_checkpoint({"number": 1}, path)
    folder = RunFolder(tmp_path)
    with folder.claim():
        folder.begin("config_digest: a\n")
        folder.finish({"metrics": {}, "best": None, "measure": {}})
        folder.fail({}, "a reason", "")
    numbers = [
        store.load_checkpoint(tmp_path / f"{n}.ckpt")["number"] for n in ("last", "previous")
    ]
    assert numbers == [1, 0]
    assert other.read_text() == "other"
    assert not list(tmp_path.glob("*.part"))
    assert not (tmp_path / "gone").exists()
    assert folder.config() is not None
    assert folder.result() is not None


def test_a_kill_between_the_checkpoint_before_the_last_and_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path, replace = AtomicCheckpointIO(), tmp_path / "last.ckpt", Path.replace

    def killed(self: Path, to: Path) -> Path:
        if to == path:
            raise KeyboardInterrupt
        return replace(self, to)

    store.save_checkpoint({"number": 0}, path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            store.save_checkpoint({"number": 1}, path)
    for number in (2, 3):  # last and previous are one file now: a move onto itself does nothing
        store.save_checkpoint({"number": number}, path)
    assert store.load_checkpoint(tmp_path / "previous.ckpt")["number"] == 2


def test_the_checkpoint_before_the_last_is_kept(tmp_path: Path) -> None:
    store = AtomicCheckpointIO()
    for number in range(3):
        store.save_checkpoint({"number": number}, tmp_path / "last.ckpt")
        store.save_checkpoint({"number": number}, tmp_path / "best.ckpt")
    numbers = {p.name: store.load_checkpoint(p)["number"] for p in tmp_path.iterdir()}
    assert numbers == {"last.ckpt": 2, "previous.ckpt": 1, "best.ckpt": 2}


class Code:
    """Would run when unpickled."""

    def __reduce__(self) -> tuple:
        return (print, ("code from a checkpoint has run",))


def test_code_in_a_checkpoint_is_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {}, "extra": Code()}, tmp_path / "last.ckpt")
    for weights_only in (None, False, True):
        with pytest.raises(Exception, match="weights_only|Weights only"):
            AtomicCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", weights_only=weights_only)
    assert "has run" not in capsys.readouterr().out


def hold(folder: Path, ready: Callable[[], None], done: Callable[[], None]) -> None:
    with RunFolder(folder).hold():
        ready()
        done()


def test_a_folder_is_held_by_one_process_and_freed_by_its_death(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=hold, args=(tmp_path, ready.set, done.wait))
    other.start()
    assert ready.wait(30)
    folder = RunFolder(tmp_path)
    assert folder.is_held
    with pytest.raises(InputError, match="in use by another process"), folder.hold():
        pass
    with pytest.raises(InputError, match="in use by another process"), folder.claim():
        pass
    assert not (tmp_path / "config.yaml").exists()
    other.kill()
    other.join()
    assert not folder.is_held
    assert (tmp_path / LOCK).exists()  # it marks a run's folder for good


# A run whose machine gives way

SMALL = [*QUICK, "data.limit=64", "model.encoder.widths=[16]", "model.decoder.widths=[16]"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of one epoch, finished."""
    train([*SMALL, f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    return tmp_path / "run"


def go_on(run: Path, epochs: int = 3) -> None:
    train([f"resume={run}", f"trainer.max_epochs={epochs}"], quiet=True)


def write_nowhere(path: Path, content: bytes) -> None:
    with open("/dev/full", "wb") as full:  # every write: no space left
        full.write(content)


def test_a_full_disk_stops_in_one_line_with_the_last_checkpoint_intact(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", write_nowhere)
        with pytest.raises(InputError, match=r"cannot write .*No space left.*resume="):
            go_on(run)
    kept = RunFolder(run).newest_checkpoint()
    assert kept is not None
    assert kept[1]["epoch"] == 0
    assert not (run / "result.json").exists()
    go_on(run)  # the disk is not full any more
    assert load(run).record["config"]["trainer"]["max_epochs"] == 3


def test_a_folder_that_cannot_be_written_any_more(run: Path) -> None:
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    (run / "checkpoints" / "previous.ckpt.part").mkdir()  # in the way of the second epoch's
    (run / "checkpoints" / "previous.ckpt.part" / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*resume="):
        go_on(run)
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"),
              RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()], ids=repr,
)  # fmt: skip
def test_out_of_memory_names_what_to_lower(
    run: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: VAEModule, batch: object, batch_idx: int) -> None:
        raise error

    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    monkeypatch.setattr(VAEModule, "training_step", step)
    with pytest.raises(InputError, match=r"out of memory: lower data.batch_size \(32\)"):
        go_on(run)
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before


def test_another_fault_of_memory_is_not_called_out_of_memory(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: VAEModule, batch: object, batch_idx: int) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(VAEModule, "training_step", step)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        go_on(run)


def test_a_last_checkpoint_cut_short_falls_back_and_says_so(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    go_on(run, 2)
    last = run / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:5000])
    train([f"resume={run}", "trainer.max_epochs=3"])
    said = capsys.readouterr().out
    assert "last.ckpt cannot be used: goes on from previous.ckpt, epoch 1" in said


def test_a_finished_run_may_be_trained_longer_as_if_it_always_had_been(tmp_path: Path) -> None:
    train([*SMALL, f"hydra.run.dir={tmp_path / 'a'}"], quiet=True)
    go_on(tmp_path / "a")
    whole = train([*SMALL, "trainer.max_epochs=3", f"hydra.run.dir={tmp_path / 'b'}"], quiet=True)
    weights = [load(tmp_path / name).model.state_dict() for name in "ab"]
    assert all(torch.equal(weights[0][key], value) for key, value in weights[1].items())
    with pytest.raises(InputError, match="has begun its epoch 3 already: set trainer.max_epochs"):
        train([f"resume={tmp_path / 'b'}", "trainer.max_epochs=2"])
    assert whole.metrics["val/elbo"] == whole.metrics["val/elbo"]


# What is refused


def test_what_cannot_be_resumed_is_said_in_one_line(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match="has finished"):
        train([f"resume={run}"])
    with pytest.raises(InputError, match=r"drop seed=1.*init_from="):
        train([f"resume={run}", "seed=1"])
    with pytest.raises(InputError, match="no run at"):
        train([f"resume={run / 'figures'}"])
    (run / "config.yaml").write_text("a: 1\n")
    with pytest.raises(InputError, match="no run's configuration"):
        train([f"resume={run}"])
    monkeypatch.chdir(run)
    with pytest.raises(InputError, match="nothing to resume"):
        train(["resume=latest"])


def test_latest_is_the_unfinished_run_begun_last_that_nobody_trains(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    from vae_lab.experiment.resume import resumed

    for age, name in enumerate(("finished", "busy", "wanted", "older")):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        for file in (LOCK, "config.yaml", *(["result.json"] if name == "finished" else [])):
            (folder / file).write_bytes((run / file).read_bytes())
        os.utime(folder / "config.yaml", (1e9 - age, 1e9 - age))
    with RunFolder(tmp_path / "runs" / "busy").hold():
        _, folder = resumed("latest", ["resume=latest"])
    assert folder.path.name == "wanted"


def test_a_refused_run_takes_back_the_folder_that_hydra_made_and_no_other(
    command: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("mine", "hydras"):
        refused = command("train.py", "data.batch_size=0", f"hydra.run.dir={tmp_path / name}")
        assert refused.returncode == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_weights_of_another_run_start_a_new_one(run: Path, tmp_path: Path) -> None:
    still = train(
        [*SMALL, f"init_from={run}", "optimizer.lr=1e-30", f"hydra.run.dir={tmp_path / 'new'}"],
        quiet=True,
    )
    weights = [load(folder).model.state_dict() for folder in (run, still.folder)]
    assert all(torch.equal(weights[0][key], value) for key, value in weights[1].items())
    with pytest.raises(InputError, match="another model than the one being trained"):
        train([*SMALL, f"init_from={run}", "model.z_shape=[3]", f"hydra.run.dir={tmp_path / 'c'}"])
    with pytest.raises(InputError, match="no checkpoint at nowhere"):
        train([*SMALL, "init_from=nowhere", f"hydra.run.dir={tmp_path / 'd'}"])
    assert not (tmp_path / "c").exists()
