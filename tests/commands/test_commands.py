"""Bad input gets one clear line, before any training, and leaves nothing behind."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import QUICK, ROOT
from parts import choices, one_line_of
from PIL import Image

from vae_lab import InputError, load, train

Command = Callable[..., "subprocess.CompletedProcess[str]"]

BAD = [
    (["model=conv_vea"], "unknown choice of model 'conv_vea'. Did you mean 'conv_vae'"),
    (["model/encoder=con"], "unknown choice of model/encoder 'con'. Did you mean 'conv'"),
    (["modle=conv_vae"], "unknown key 'modle'. Did you mean 'model'"),
    (["model/encodr=conv"], "unknown group 'model/encodr'. Did you mean 'model/encoder'"),
    (["model.z_shap=[2]"], "unknown key of model 'z_shap'. Did you mean 'z_shape'"),
    (["lr=1"], "unknown key 'lr'. Did you mean 'optimizer.lr'"),
    (["epochs=2"], "unknown key 'epochs'. Did you mean 'trainer.max_epochs'"),
    (["batch_size=2"], "unknown key 'batch_size'. Did you mean 'data.batch_size'"),
    (["model={encodr: 1}"], "unknown key of model 'encodr'. Did you mean 'encoder'"),
    (["hydra/launcher=joblob"], "unknown choice of hydra/launcher 'joblob'"),
    (["hydra.verbos=1"], "unknown key of hydra 'verbos'. Did you mean 'verbose'"),
    (["hydra.job.num=abc"], "hydra.job.num=abc: Value 'abc' of type 'str' could not be converted"),
    (["~foo"], "'foo' does not exist"),
    (["seed"], "missing EQUAL"),
    (["trainer.max_epoch=2"], "unknown key of trainer 'max_epoch'. Did you mean 'max_epochs'"),
    (["model.encoder.chanels=[2]"], "unknown key of model.encoder 'chanels'"),
    (["+model.encoder.width=2"], "unknown argument of model.encoder (MLP) 'width'"),
    (["data.binarize=false"], "bernoulli_grey"),
    (["model/likelihood=gaussian", "data.binarize=true"], "drop data.binarize=true"),
    (["model.z_shape=[0]"], "model.z_shape must be a list of sizes of 1 or more"),
    (["model.z_shape=3"], "model.z_shape must be a list of sizes of 1 or more"),
    (["data.batch_size=0"], "data.batch_size must be a whole number of 1 or more"),
    (["data.batch_size=many"], "data.batch_size must be a whole number"),
    (["data.val_size=abc"], "data.val_size must be a number"),
    (["data.split_seed=abc"], "data.split_seed must be a whole number"),
    (["data.resident_gib=abc"], "data.resident_gib must be a number"),
    (["data.num_workers=-1"], "data.num_workers must be a whole number of 0 or more"),
    (["estimator.num_draws=1.5"], "estimator.num_draws must be a whole number"),
    (["seed=-1"], "seed must be a whole number of 0 or more"),
    (["model.x_shape=[1,9,9]"], "the run cannot start"),
    (["model=null"], "takes one of its choices"),
    (["data=null"], "takes one of its choices"),
    (["trainer=null"], "takes one of its choices"),
    (["trainer.max_epochs=0"], "trainer.max_epochs must be a whole number of 1 or more, -1"),
    (["trainer.max_epochs=abc"], "trainer.max_epochs must be a whole number"),
    (["scheduler=step", "scheduler.step_size=0"], "scheduler.step_size must be"),
    (["scheduler=plateau", "data.val_size=0"], "scheduler=plateau needs validation data"),
    (["early_stopping=patience", "data.val_size=0"], "early stopping needs validation data"),
    (
        ["early_stopping=patience", "+trainer.limit_val_batches=0"],
        "leave out trainer.limit_val_batches=0",
    ),
    (["foo=1", "bar=2"], "unknown key 'foo'"),
    (
        [
            "model/likelihood=gaussian",
            "model.likelihood._target_=vae_lab.model.VAE",
            "~model.likelihood.sigma",
        ],
        "is not a likelihood",
    ),
    (["objective/beta=linear_warmup"], "the training's 1: lower objective.beta.epochs, or"),
    (["objective=late_adversary"], "lower objective.start_epoch or objective.ramp_epochs, or"),
    (["model=completion_vae", "objective=vae_gan"], "not offer: say objective.samples=false"),
    (["model=completion_vae", "objective=vae_gan", "objective.samples=false"], "works on images"),
    (
        ["model=completion_vae", "model/posterior=vector_quantised", "model.z_shape=[4,4]"],
        "on one code here: say model/posterior=diagonal_gaussian",
    ),
    (["model/prior=uniform_codes"], "z is none: say model/prior=standard_normal"),
    (["data=tensors"], "not set: data.path"),
    (["data=tensors", "data.path=nowhere.npz"], "no file at nowhere.npz"),
    (["data=folder", "data.path=nowhere"], "data.path"),
    (["objective=iwae", "estimator.num_draws=1"], "estimator.num_draws to 2 or more"),
    (["model.encoder.activation=rellu"], "Did you mean 'relu'"),
    (["optimizer.lr=fast"], "optimizer.lr must be a number above 0"),
    (["trainer.devices=zero"], "trainer.devices must be a whole number of 1 or more"),
    (["seed=x"], "seed must be a whole number of 0 or more"),
    (["optimizer._target_=os.system"], "may not be built"),
    (["model.encoder.widths=[0]"], "widths must be whole numbers of 1 or more"),
    (["model=conv_vae", "model.encoder.channels=[4,4,4,4,4]"], "fewer channels"),
]


@pytest.mark.parametrize(("overrides", "said"), BAD, ids=lambda v: str(v)[:40])
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    folder = tmp_path / "runs" / "run"
    with pytest.raises(InputError) as caught:
        train([*QUICK, f"hydra.run.dir={folder}", *overrides], quiet=True)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert not (tmp_path / "runs").exists()


def test_a_conditional_model_needs_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((40, 8, 8), "uint8"))
    for model in ("cvae", "cvae_film", "cvae_class_means"):
        with pytest.raises(InputError, match="labels"):
            train([*QUICK, f"model={model}", "data=tensors", f"data.path={tmp_path / 'x.npz'}",
                   f"hydra.run.dir={tmp_path / 'run'}"])  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_labels_outside_the_classes(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((40, 8, 8), "uint8"), labels=np.arange(40) % 5)
    with pytest.raises(InputError, match="outside the 4 classes"):
        train([*QUICK, "data=tensors", f"data.path={tmp_path / 'x.npz'}", "data.num_classes=4",
               f"hydra.run.dir={tmp_path / 'run'}"])  # fmt: skip


def test_missing_data_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(InputError, match="VAE_LAB_DATA") as caught:
        train([*QUICK, "data=mnist", f"data.root={tmp_path / 'absent'}",
               f"hydra.run.dir={tmp_path / 'run'}"])  # fmt: skip
    assert str(tmp_path / "absent") in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.process
def test_the_command_prints_one_line(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    said = one_line_of(command("train.py", "model=conv_vea", f"hydra.run.dir={folder}", cold=True))
    assert ", ".join(choices("model")) in said
    said = one_line_of(command("train.py", "data.batch_size=0", f"hydra.run.dir={folder}"))
    assert "batch_size" in said
    assert not folder.exists()


@pytest.mark.process
def test_an_unwritable_output_folder(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    said = one_line_of(command("train.py", f"hydra.run.dir={tmp_path / 'file' / 'run'}"))
    assert str(tmp_path / "file") in said
    assert "hydra.run.dir" in said


@pytest.mark.process
def test_the_whole_traceback_on_request(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    finished = command("train.py", "model=conv_vea", cold=True)
    assert finished.returncode == 1
    assert "Traceback" in finished.stderr


@pytest.mark.process
def test_evaluate_asks_for_a_run(command: Command) -> None:
    assert "run=" in one_line_of(command("evaluate.py"))
    assert "no checkpoint at nowhere" in one_line_of(command("evaluate.py", "run=nowhere"))


# Checkpoints


def edited(run: Path, tmp_path: Path, edit: Callable[[dict], object]) -> Path:
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    edit(content)
    torch.save(content, tmp_path / "edited.ckpt")
    return tmp_path / "edited.ckpt"


def test_a_checkpoint_cut_short(digits_run: Path, tmp_path: Path) -> None:
    whole = (digits_run / "checkpoints" / "best.ckpt").read_bytes()
    for length in (0, 10, 1000, len(whole) - 100):
        (tmp_path / "cut.ckpt").write_bytes(whole[:length])
        with pytest.raises(InputError, match="cut short"):
            load(tmp_path / "cut.ckpt")


def test_a_checkpoint_of_another_project(tmp_path: Path) -> None:
    torch.save({"state_dict": {}, "epoch": 3}, tmp_path / "other.ckpt")
    with pytest.raises(InputError, match="not made by vae-lab"):
        load(tmp_path / "other.ckpt")


def test_a_checkpoint_of_another_model(digits_run: Path, tmp_path: Path) -> None:
    def widen(content: dict) -> None:
        content["vae_lab"]["config"]["model"]["z_shape"] = [7]

    with pytest.raises(InputError, match="another model"):
        load(edited(digits_run, tmp_path, widen))


def test_a_checkpoint_of_another_format(digits_run: Path, tmp_path: Path) -> None:
    def age(content: dict) -> None:
        content["vae_lab"]["format"] = 99

    with pytest.raises(InputError, match="format 99"):
        load(edited(digits_run, tmp_path, age))


@pytest.mark.parametrize("target", ["os.system", "torch.optim.Adam", "vae_lab.run.Path"])
def test_a_checkpoint_may_not_name_other_code(
    digits_run: Path, tmp_path: Path, target: str
) -> None:
    def poison(content: dict) -> None:
        content["vae_lab"]["config"]["model"]["encoder"]["_target_"] = target

    with pytest.raises(InputError, match="_target_"):
        load(edited(digits_run, tmp_path, poison))


def test_a_checkpoint_may_not_hold_pickled_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (print, ("code ran",))

    torch.save({"state_dict": {}, "vae_lab": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match="not loaded"):
        load(tmp_path / "evil.ckpt")


def test_no_checkpoint_at_all(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(InputError, match="no checkpoint"):
            load(path)


def test_a_checkpoint_may_not_smuggle_parts(digits_run: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    node = {"_target_": "os.mkdir", "path": str(made)}
    for smuggled in ((node,), [[node]], f"${{oc.create:{{_target_: os.mkdir, path: {made}}}}}"):

        def poison(content: dict, smuggled: object = smuggled) -> None:
            content["vae_lab"]["config"]["model"]["encoder"]["widths"] = smuggled

        with pytest.raises(InputError):
            load(edited(digits_run, tmp_path, poison))
        assert not made.exists()


@pytest.mark.parametrize("name", ["config", "data", "commit", "epoch"])
def test_a_checkpoint_that_lacks_a_part_of_its_record(
    digits_run: Path, tmp_path: Path, name: str
) -> None:
    def remove(content: dict) -> None:
        del (content if name == "epoch" else content["vae_lab"])[name]

    with pytest.raises(InputError, match=f"incomplete .{name}"):
        load(edited(digits_run, tmp_path, remove))


@pytest.mark.parametrize("model", [None, {"_target_": "vae_lab.model.networks.MLP", "widths": [2]}])
def test_a_checkpoint_without_a_model(digits_run: Path, tmp_path: Path, model: object) -> None:
    def replace(content: dict) -> None:
        content["vae_lab"]["config"]["model"] = model

    with pytest.raises(InputError, match="model"):
        load(edited(digits_run, tmp_path, replace))


@pytest.mark.process
def test_a_sweep_tells_its_misspelt_key_in_one_line(command: Command, tmp_path: Path) -> None:
    where = f"hydra.sweep.dir={tmp_path / 'sweep'}"
    finished = command("train.py", "-m", "model=mlp_vae,conv_vae", "foo=1", where)
    assert "unknown key 'foo'" in one_line_of(finished)


@pytest.mark.process
def test_a_sweep_tells_each_bad_job_and_runs_the_others(command: Command, tmp_path: Path) -> None:
    finished = command(
        "train.py", "-m", "model.z_shape=[0],[4]", *QUICK, "data.limit=32",
        f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )  # fmt: skip
    assert finished.returncode == 1
    assert "Traceback" not in finished.stderr
    assert "error in job 1/2  z_shape=[0]: model.z_shape" in finished.stderr
    assert (tmp_path / "sweep" / "1" / "checkpoints" / "last.ckpt").is_file()
    left = [path.name for path in (tmp_path / "sweep" / "0").iterdir()]
    assert left == ["failed.json"]  # for the table


def test_the_plan_of_the_house_stands() -> None:
    tops = {"conf", "src", "tests", "notebooks", "pyproject.toml", "Makefile", "train.py"}
    assert tops <= {path.name for path in ROOT.iterdir()}


def test_a_truncated_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "photos" / "cat" / f"{i}.png")
    cut = tmp_path / "photos" / "cat" / "3.png"
    cut.write_bytes(cut.read_bytes()[:200])
    with pytest.raises(InputError, match=r"3\.png cannot be read as an image"):
        train([*QUICK, "data=folder", f"data.path={tmp_path / 'photos'}", "data.size=8",
               f"hydra.run.dir={tmp_path / 'run'}"])  # fmt: skip
    assert not (tmp_path / "run").exists()
