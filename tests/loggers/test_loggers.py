"""What loggers receive, read back with their own tools."""

import json
import os
from pathlib import Path

import pytest
from conftest import QUICK, ROOT
from parts import inspect, inspected
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from warm import run_script

from vae_lab import InputError, Run, train
from vae_lab.loggers import has_wandb_key

SMALL = ("data.limit=64", "trainer.max_epochs=2", "callbacks.progress=null")
BOUNDS = ("elbo", "rate", "distortion", "bits_per_dim", "objective")
LATENT = (
    "active_share", "posterior_stddev", "aggregate_stddev", "kl_mean", "kl_median", "kl_max",
    "kl_per_unit", "variance_of_means_per_unit",
)  # fmt: skip
SYSTEM = ("items_per_second", "seconds_per_epoch", "peak_memory_gib", "learning_rate")
WITH_FIGURES = [o for o in QUICK if "figures" not in o and "logger" not in o]


def artifacts(folder: Path) -> dict[str, dict]:
    """What it uploads, by type."""
    (run,) = (folder / "wandb").glob("offline-run-*")
    records = (json.loads(line) for line in inspect(run).splitlines())
    logged = [record["artifact"] for record in records if record["type"] == "artifact"]
    assert len({artifact["type"] for artifact in logged}) == len(logged)
    return {artifact["type"]: artifact for artifact in logged}


@pytest.fixture
def _quiet_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")


def test_wandb_offline_holds_config_and_summary(wandb_run: Run) -> None:
    found = inspected(wandb_run.folder)
    assert found["state"] == "finished"
    assert found["exit_code"] == 0
    assert found["name"] == "mlp_vae-digits"
    config = found["config"]
    assert config["model"]["z_shape"] == [2]
    assert {"measure", "commit", "parameters"} <= set(config)
    assert found["summary"]["val/elbo"]["max"] == pytest.approx(wandb_run.best, rel=1e-5)


def test_wandb_offline_holds_every_section(wandb_run: Run) -> None:
    summary = inspected(wandb_run.folder)["summary"]
    for split in ("train", "val", "test"):
        assert {f"{split}/{name}" for name in BOUNDS} <= set(summary)
    assert {"val/active_units", "test/active_units"} <= set(summary)
    assert {f"latent/{figure}" for figure in LATENT} <= set(summary)
    assert {f"system/{figure}" for figure in SYSTEM} <= set(summary)
    for name in ("reconstructions", "samples", "interpolation", "latent_means", "manifold"):
        (image,) = summary[f"media/{name}"]["filenames"]
        (run,) = (wandb_run.folder / "wandb").glob("offline-run-*")
        assert (run / "files" / image).is_file()
        assert (wandb_run.folder / "figures" / f"{name}.png").is_file()


def test_every_unit_and_every_parameter_is_counted_in_its_histogram(wandb_run: Run) -> None:
    summary = inspected(wandb_run.folder)["summary"]
    for name in ("kl_per_unit", "variance_of_means_per_unit"):
        assert sum(summary[f"latent/{name}"]["values"]) == 2
    for name, parameter in wandb_run.load().model.named_parameters():
        for kind in ("weights", "gradients"):
            assert sum(summary[f"{kind}/{name}"]["values"]) == parameter.numel()


def test_checkpoint_and_figures_become_artifacts_that_say_where_they_came_from(
    wandb_run: Run,
) -> None:
    found = artifacts(wandb_run.folder)
    assert [file["path"] for file in found["model"]["manifest"]["contents"]] == ["best.ckpt"]
    figures = {file["path"] for file in found["figures"]["manifest"]["contents"]}
    assert figures == {path.name for path in (wandb_run.folder / "figures").glob("*.png")}
    record = wandb_run.load().record
    for artifact in found.values():
        origin = json.loads(artifact["metadata"])
        assert origin["data"] == record["data"]
        assert origin["measure"] == record["measure"]
        assert origin["commit"] == record["commit"]
        assert origin["likelihood"] == "vae_lab.model.likelihoods.Bernoulli"
    assert json.loads(found["model"]["metadata"])["epochs"] == record["epoch"] + 1
    assert json.loads(found["figures"]["metadata"])["checkpoint"] == "best"


@pytest.mark.usefixtures("_quiet_wandb")
def test_a_failed_run_is_marked_failed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InputError, match="NaN or infinite"):
        train([*WITH_FIGURES, *SMALL, "optimizer.lr=1e30", f"hydra.run.dir={folder}"], quiet=True)
    assert inspected(folder)["exit_code"] == 1


def test_nothing_is_uploaded_and_no_weight_is_drawn_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    train([*QUICK[1:], *SMALL, f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    assert artifacts(tmp_path / "run") == {}
    summary = inspected(tmp_path / "run")["summary"]
    assert not [name for name in summary if name.startswith(("weights/", "gradients/"))]


def test_tensorboard_holds_the_same_scalars_images_and_histograms(
    tmp_path: Path, wandb_run: Run
) -> None:
    folder = tmp_path / "run"
    settings = ["model.z_shape=[2]", "callbacks.histograms.every_n_steps=2"]
    train(
        [*WITH_FIGURES, *SMALL, *settings, "logger=tensorboard", f"hydra.run.dir={folder}"],
        quiet=True,
    )
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    summary = inspected(wandb_run.folder)["summary"]
    ours = {name: value for name, value in summary.items() if not name.startswith(("_", "trainer"))}
    kinds = {name: value.get("_type") for name, value in ours.items() if isinstance(value, dict)}
    tags = events.Tags()
    assert {n for n, kind in kinds.items() if kind == "images/separated"} == set(tags["images"])
    assert {n for n, kind in kinds.items() if kind == "histogram"} == set(tags["histograms"])
    assert {n for n in ours if kinds.get(n) is None} <= set(tags["scalars"])
    last = {tag: events.Scalars(tag)[-1].value for tag in tags["scalars"]}
    for name, value in wandb_run.metrics.items():
        assert last[name] == pytest.approx(value, rel=1e-5), name
    assert len(events.Scalars("latent/kl_mean")) == 2  # epochs
    assert len(events.Scalars("system/items_per_second")) == 2


def test_csv_holds_every_scalar_and_refuses_histograms(tmp_path: Path, wandb_run: Run) -> None:
    train([*QUICK[1:], *SMALL, "logger=csv", f"hydra.run.dir={tmp_path / 'run'}"], quiet=True)
    header, *rows = (tmp_path / "run" / "csv" / "metrics.csv").read_text().splitlines()
    assert set(wandb_run.metrics) | {f"system/{name}" for name in SYSTEM} <= set(header.split(","))
    assert len(rows) > 4
    for logger in ("csv", "none"):
        with pytest.raises(InputError, match="histograms.every_n_steps needs logger=wandb"):
            train(
                [*QUICK, *SMALL, "callbacks.histograms.every_n_steps=1", f"logger={logger}",
                 f"hydra.run.dir={tmp_path / logger}"],
                quiet=True,
            )  # fmt: skip


@pytest.mark.parametrize(
    ("logger", "left"),
    [("csv", "csv/metrics.csv"), ("tensorboard", "tensorboard/events*"), ("none", "config.yaml")],
)
def test_other_loggers(tmp_path: Path, logger: str, left: str) -> None:
    folder = tmp_path / "run"
    train([*WITH_FIGURES, *SMALL, f"logger={logger}", f"hydra.run.dir={folder}"], quiet=True)
    assert list(folder.glob(left))
    assert (folder / "figures" / "samples.png").is_file()
    assert not (folder / "wandb").exists()


def test_a_key_is_found_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    assert not has_wandb_key()
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret")
    (tmp_path / "netrc").chmod(0o600)
    assert has_wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert not has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    assert has_wandb_key()


BREAK = """
import os, signal
import vae_lab.training.module as training
whole = training.VAEModule.on_train_epoch_end
def end(self):
    whole(self)
    if self.current_epoch == 0:
        for child in open(f"/proc/self/task/{os.getpid()}/children").read().split():
            if b"wandb-core" in open(f"/proc/{child}/cmdline", "rb").read():
                os.kill(int(child), signal.SIGKILL)
                open("broken", "w").close()
training.VAEModule.on_train_epoch_end = end
"""


def logged_by_command(folder: Path, *overrides: str, cold: bool = False, **environment: str) -> str:
    """`python train.py` with W&B, in `folder`; what it said on stderr."""
    finished = run_script(
        [ROOT / "train.py", *WITH_FIGURES, *SMALL, "hydra.run.dir=run", *overrides],
        folder, {**os.environ, **environment}, cold,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert (folder / "run" / "result.json").is_file()
    assert "Traceback" not in finished.stderr
    return finished.stderr


@pytest.mark.process
def test_training_goes_on_where_wandb_breaks_down(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(BREAK)
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    said = logged_by_command(tmp_path, "trainer.max_epochs=3", PYTHONPATH=path)
    assert (tmp_path / "broken").exists()
    assert said.count("W&B broke down, training goes on without it") == 1


@pytest.mark.process
def test_a_wandb_that_cannot_be_reached_is_offline(tmp_path: Path) -> None:
    said = logged_by_command(
        tmp_path, "callbacks.figures=null", cold=True, WANDB_MODE="online",
        WANDB_API_KEY="x" * 40, WANDB_INIT_TIMEOUT="3",
        WANDB_BASE_URL="http://127.0.0.1:9",  # nobody listens there
    )  # fmt: skip
    assert "W&B cannot be reached, logging offline" in said
    assert inspected(tmp_path / "run")["exit_code"] == 0
