"""The ladder VAE as a run: what it logs, scores and refuses, in one process and in two."""

import json
from pathlib import Path

import pytest
import torch
from conftest import QUICK
from killed import Watched

from vae_lab import InputError, Run, train
from vae_lab.commands.evaluate import evaluate_task
from vae_lab.commands.export import export_task
from vae_lab.commands.fit_prior import fit_prior
from vae_lab.config.compose import compose_config


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.encoder.channels=[8,8,8,8]", "model.units=[0,0,0,1,4,2]"],
         "the ladder's 4 halvings leave nothing of a 8x8 image: give it fewer channels"),
        (["model.units=[4,2]"], "model.units=[4,2] is for 2: give a number for each, from x up"),
        (["model.units=[0,4,32,0]"], "model.units=[0,4,32,0] has no layer at its top"),
        (["model.encoder.channels=[]", "model.encoder.widths=[]", "model.units=[1]"],
         "has no rungs"),
        (["model/prior=class_mixture", "model.encoder.widths=[]", "model.units=[0,4]"],
         "needs a vector z"),
        (["model.units=[0,4,32,-1]"], "model.units must be"),
        (["model.encoder.activation=sin"], "unknown activation 'sin'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_before_anything_is_written(
    tmp_path: Path, overrides: list[str], said: str
) -> None:
    with pytest.raises(InputError) as refused:
        train([*QUICK, "model=ladder_vae", *overrides, f"hydra.run.dir={tmp_path / 'run'}"])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    overrides = [o for o in QUICK if "figures" not in o]
    return train(
        [*overrides, "model=ladder_vae", "model.units=[0,2,8,4]", "data.limit=600",
         "trainer.max_epochs=4", "ema=default", "ema.decay=0.9",
         f"hydra.run.dir={tmp_path_factory.mktemp('ladder') / 'run'}"], quiet=True,
    )  # fmt: skip


def test_a_run_tells_of_every_layer(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val", "test"):
        rates = [run.metrics[f"{split}/rate_{layer}"] for layer in (1, 2, 3)]
        assert sum(rates) == pytest.approx(run.metrics[f"{split}/rate"], rel=1e-4)
        assert min(rates) > 0
    for split in ("val", "test"):
        active = [run.metrics[f"{split}/active_units_{layer}"] for layer in (1, 2, 3)]
        assert sum(active) == run.metrics[f"{split}/active_units"] > 0
        assert all(n <= most for n, most in zip(active, (8, 8, 4), strict=True))
    assert (run.folder / "figures" / "layers.png").is_file()
    settings = [f"run={run.folder}", "evaluate.num_draws=5", "evaluate.progress=false",
                "evaluate.samples_per_class=2", "evaluate.limit=60"]  # fmt: skip
    evaluate_task(compose_config("evaluate", settings))
    told = json.loads((run.folder / "evaluation.json").read_text())["estimates"]
    values = {name: estimate["value"] for name, estimate in told.items()}
    for name in ("rate", "active_units"):
        every = [values[f"{name}_{layer}"] for layer in (1, 2, 3)]
        assert sum(every) == pytest.approx(values[name])
    assert values["nll"] < values["negative_elbo"]
    assert "rate_3, nats" in capsys.readouterr().out
    assert (run.folder / "evaluation" / "layers.png").is_file()


def test_a_trained_ladder_is_used_from_python(run: Run, tmp_path: Path) -> None:
    model, x = run.load(), torch.rand(3, 1, 8, 8)
    assert "20 latent units" in repr(model)
    assert model.sample(4, seed=0).shape == (4, 1, 8, 8)
    assert model.reconstruct(x).shape == (3, 1, 8, 8)
    assert model.log_prob(x, 10, seed=0).shape == (3,)
    for refused in (lambda: model.encode(x), lambda: model.decode(torch.zeros(1, 4))):
        with pytest.raises(InputError, match="has no latent layer that stands alone"):
            refused()
    with pytest.raises(InputError, match="no one encoder and decoder to export"):
        export_task(compose_config("export", [f"run={run.folder}", f"export.out={tmp_path}"]))
    with pytest.raises(InputError, match="codes that stand alone, of one latent layer"):
        fit_prior(run.folder, ["model/prior=mixture"], quiet=True)


OWN = ("model=ladder_vae", "model.units=[0,2,8,4]", "ema=default")


@pytest.mark.process
def test_it_goes_on_bit_by_bit_in_two_processes(tmp_path: Path) -> None:
    ddp = ("trainer=ddp", "trainer.devices=2", "trainer.max_epochs=3")

    def watched(folder: Path) -> Watched:
        made = Watched(folder, *OWN, *ddp)
        made.first = [o for o in made.first if "widths" not in o]
        return made

    whole, killed = watched(tmp_path / "whole"), watched(tmp_path / "killed")
    whole.finish()
    killed.kill_after(2 * 9)
    killed.finish("resume=run")
    assert killed.curve() == whole.curve()
    kept = [torch.load(w.folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
            for w in (killed, whole)]  # fmt: skip
    assert all(torch.equal(kept[0][name], value) for name, value in kept[1].items())
