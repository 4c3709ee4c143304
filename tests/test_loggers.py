"""What loggers receive, read back with their own tools."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import QUICK

from vae_lab import InputError, train
from vae_lab.loggers import has_wandb_key

SMALL = ("data.limit=64", "trainer.max_epochs=2", "callbacks.progress=null")
WITH_FIGURES = [o for o in QUICK if "figures" not in o and "logger" not in o]


def inspected(folder: Path) -> dict:
    """The W&B files of a run, through W&B's own reader."""
    (run,) = wandb_runs(folder)
    return run


def wandb_runs(folder: Path) -> list[dict]:
    """The same for each time that the run was begun or gone on with."""
    wandb = Path(sys.executable).parent / "wandb"
    read = [
        subprocess.run(
            [str(wandb), "leet", "inspect", "--summary", "--json", str(run)],
            capture_output=True, text=True, check=True, timeout=120,
        )
        for run in sorted((folder / "wandb").glob("offline-run-*"))
    ]  # fmt: skip
    return [json.loads(each.stdout) for each in read]


@pytest.fixture
def _quiet_wandb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.mark.usefixtures("_quiet_wandb")
def test_wandb_offline_holds_metrics_config_figures_and_summary(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    finished = train([*WITH_FIGURES, *SMALL, f"hydra.run.dir={folder}"], quiet=True)
    found = inspected(folder)
    assert found["state"] == "finished"
    assert found["exit_code"] == 0
    assert found["name"] == "mlp_vae-digits"
    config = found["config"]
    assert config["model"]["z_shape"] == [32]
    assert {"split_hash", "commit", "parameters"} <= set(config)
    summary = found["summary"]
    assert summary["val/elbo"]["max"] == pytest.approx(finished.best, rel=1e-5)
    assert {"train/rate", "val/distortion", "test/elbo", "val/active_units"} <= set(summary)
    assert {"media/reconstructions", "media/samples", "media/interpolation"} <= set(summary)
    assert (folder / "figures" / "samples.png").is_file()


@pytest.mark.usefixtures("_quiet_wandb")
def test_a_failed_run_is_marked_failed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(InputError, match="NaN or infinite"):
        train([*WITH_FIGURES, *SMALL, "optimizer.lr=1e30", f"hydra.run.dir={folder}"], quiet=True)
    assert inspected(folder)["exit_code"] == 1


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
