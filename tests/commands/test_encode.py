"""encode: the codes of a whole data set, in one file or in none."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import QUICK

from vae_lab import InputError, load, train
from vae_lab.commands.encode import encode_task
from vae_lab.config.compose import compose_config

HOME = "vae_lab.commands.encode"
CODES = dict[str, np.ndarray]


def encode(run: Path, *overrides: str) -> CODES:
    """What the command writes into `codes.npz`, or elsewhere, as the README reads it."""
    given = [f"encode.{override}" for override in overrides]
    encode_task(compose_config("encode", [f"run={run}", *given]))
    out = next((o.partition("=")[2] for o in overrides if o.startswith("out=")), run / "codes.npz")
    return dict(np.load(out))


@pytest.fixture(scope="module")
def spatial_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of levels, which are prepared without any noise."""
    folder = tmp_path_factory.mktemp("spatial") / "run"
    train(
        [*QUICK, "model=spatial_vae", "model/likelihood=discretized_logistic", "data.limit=300",
         "model.encoder.channels=[8]", "model.decoder.channels=[8]", "objective.beta.value=0.1",
         "trainer.max_epochs=2", f"hydra.run.dir={folder}"], quiet=True,
    )  # fmt: skip
    return folder


def test_it_is_what_encode_gives_of_the_same_items_in_their_order(
    spatial_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = encode(spatial_run, "batch_size=64")
    said = " ".join(capsys.readouterr().out.split())
    trained = load(spatial_run)
    data = trained.data()
    assert found["splits"].tolist() == ["train", "val", "test"]
    for split in found["splits"]:
        images = data.stored[split]
        assert images.labels is not None
        q = trained.encode(images.pixels)  # type: ignore[attr-defined]
        assert found[split].shape == (len(images), 4, 4, 4)
        assert found[split].dtype == np.float32
        np.testing.assert_allclose(found[split], q.mean, rtol=1e-4, atol=1e-5)
        assert found[f"{split}_labels"].tolist() == images.labels.tolist()
    assert not np.allclose(found["train"][0], found["train"][1])
    about = json.loads(str(found["about"]))
    assert about["codes"] == "centres of q(z|x)"
    assert about["measure"] == trained.record["measure"]
    assert f"scale {found['scale']:.4g}, 1 / std of z" in said
    assert set(found) == {
        "splits", "scale", "about", *(s + e for s in found["splits"] for e in ("", "_labels")),
    }  # fmt: skip


def test_times_their_scale_codes_have_a_standard_deviation_of_1(spatial_run: Path) -> None:
    found = encode(spatial_run)
    assert (found["train"] * found["scale"]).std() == pytest.approx(1, abs=1e-5)
    assert found["train"].std() != pytest.approx(1, abs=1e-3)
    drawn = encode(spatial_run, "draw=true")
    assert (drawn["train"] * drawn["scale"]).std() == pytest.approx(1, abs=1e-5)
    assert drawn["scale"] < found["scale"]  # the posterior's own variance is in them


def test_draws_are_of_the_posterior_and_the_seeds(spatial_run: Path) -> None:
    one, same, other = (encode(spatial_run, "draw=true", f"seed={seed}") for seed in (1, 1, 2))
    assert all(np.array_equal(one[split], same[split]) for split in one["splits"])
    trained = load(spatial_run)
    stored = trained.data().stored
    noises = []
    for found, split in ((one, "test"), (one, "val"), (other, "test")):
        q = trained.encode(stored[split].pixels)  # type: ignore[attr-defined]
        noises.append((torch.from_numpy(found[split]) - q.mean) / q.stddev)
        count = noises[-1].numel()
        assert abs(float(noises[-1].mean())) < 5 / count**0.5
        assert float(noises[-1].std()) == pytest.approx(1, abs=5 / (2 * count) ** 0.5)
    for noise in noises[1:]:  # neither another split's nor another seed's
        assert float((noise[:20] - noises[0][:20]).abs().mean()) > 0.5


def test_of_any_model_with_one_latent_layer(
    digits_run: Path, conditional_run: Path, autoencoder_run: Path, tmp_path: Path
) -> None:
    for number, run in enumerate((digits_run, conditional_run, autoencoder_run)):
        found = encode(run, f"out={tmp_path / str(number) / 'codes.npz'}")
        trained = load(run)
        batch = next(trained.data().batches("test", 5, torch.device("cpu")))
        with torch.no_grad():
            z = trained._vae.q_z(batch.x, batch.y).mean  # binarised once, the same each time
        np.testing.assert_allclose(found["test"][:5], z, rtol=1e-4, atol=1e-5)
        assert np.isfinite(found["scale"])
    assert not (digits_run / "codes.npz").exists()


def test_data_without_labels_or_splits_have_none_in_the_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.random.default_rng(0).random((40, 8, 8), np.float32))
    run = train(
        [*QUICK, "model=spatial_vae", "data=tensors", f"data.path={tmp_path / 'x.npz'}",
         "data.val_size=0", f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    found = encode(run.folder)
    assert set(found) == {"train", "test", "splits", "scale", "about"}
    assert found["splits"].tolist() == ["train", "test"]


def test_the_evaluation_tells_the_scale_too(spatial_run: Path, tmp_path: Path) -> None:
    from vae_lab.commands.evaluate import evaluate_task

    asked = [f"out={tmp_path}", "num_draws=1", "progress=false", "frechet=false"]
    settings = [f"run={spatial_run}", *(f"evaluate.{setting}" for setting in asked)]
    evaluate_task(compose_config("evaluate", settings))
    found = json.loads((tmp_path / "evaluation.json").read_text())["estimates"]
    scale = float(encode(spatial_run, "draw=true")["scale"])
    told = found["code_scale"]
    assert told["unit"] == "1 / std of z"
    assert told["value"] == pytest.approx(scale, abs=5 * told["standard_error"])
    assert found["psnr"]["unit"] == "dB, of peak 1"
    assert "ssim" not in found  # windows of 11x11 do not fit into 8x8


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("batch_size=0", "encode.batch_size must be a whole number of 1 or more"),
        ("draw=maybe", "encode.draw must be true or false"),
        ("seed=-1", "encode.seed must be"),
        ("out=config.yaml", r"encode\.out=config\.yaml must end in \.npz"),
        ("device=tpu", "encode.device must be one of auto"),
        ("data_root=a", "encode.data_root: the run's data have no root"),
    ],
)
def test_bad_settings_are_refused_before_anything_is_written(
    digits_run: Path, tmp_path: Path, override: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        encode(digits_run, f"out={tmp_path / 'codes.npz'}", override)
    with pytest.raises(InputError, match=r"unknown key 'encode\.foo'"):
        encode_task(compose_config("encode", [f"run={digits_run}", "+encode.foo=1"]))
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_told_before_the_work(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "codes.npz").mkdir()
    monkeypatch.setattr(f"{HOME}.latents", lambda *_: pytest.fail("it has been encoded"))
    with pytest.raises(InputError, match=r"codes\.npz cannot be written .*: set encode\.out to"):
        encode(digits_run, f"out={tmp_path / 'codes.npz'}")


def test_a_file_is_written_whole_or_stays_as_it_was(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "codes.npz"
    before = encode(digits_run, f"out={out}")

    def full(file: object, **arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match="cannot be written .No space left on device.: set encode"):
        encode(digits_run, f"out={out}", "draw=true")
    assert np.array_equal(np.load(out)["train"], before["train"])
    assert [path.name for path in tmp_path.iterdir()] == ["codes.npz"]


def test_a_model_of_several_layers_and_codes_that_say_nothing_are_refused(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(digits_run, tmp_path / "run"))
    with monkeypatch.context() as patch:
        patch.setattr(f"{HOME}.latents", lambda *_: torch.ones(5, 32))
        with pytest.raises(InputError, match="all codes are the same"):
            encode(run)
    monkeypatch.setattr(f"{HOME}.load", lambda *_: SimpleNamespace(model=torch.nn.Identity()))
    with pytest.raises(InputError, match="one latent layer, which a Identity lacks"):
        encode(run)
    assert not (run / "codes.npz").exists()
