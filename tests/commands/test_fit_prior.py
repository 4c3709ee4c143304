"""fit_prior: a prior fitted afterwards, which load samples from, and what it refuses."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import QUICK

from vae_lab import InputError, fit_prior, load, train
from vae_lab.commands.fit_prior import FittedPrior
from vae_lab.model.priors import ClassMeans
from vae_lab.model.priors.standardized import Standardized
from vae_lab.trained import TrainedVAE

HOME = "vae_lab.commands.fit_prior"
BY_CLASS = ["model/prior=class_means", "fit_prior.epochs=3", "fit_prior.lr=0.03"]


def is_learned(prior: object) -> bool:
    """Whether it is what was to be fitted to codes."""
    return isinstance(prior, Standardized) and isinstance(prior.prior, ClassMeans)


def worth(nats: float) -> torch.Tensor:
    """An NLL of every code."""
    return torch.full((9,), float(nats))


@pytest.fixture(scope="module")
def fitted(autoencoder_run: Path, tmp_path_factory: pytest.TempPathFactory) -> FittedPrior:
    folder = tmp_path_factory.mktemp("fitted") / "run"
    shutil.copytree(autoencoder_run, folder)
    return fit_prior(folder, BY_CLASS, quiet=True)


@pytest.fixture
def model(fitted: FittedPrior) -> TrainedVAE:
    return fitted.load()


def test_it_explains_codes_better_than_the_models_own(fitted: FittedPrior) -> None:
    own, gaussian, learned = fitted.nll.values()
    assert learned.value < own.value
    assert gaussian.value < own.value
    assert all(found.standard_error for found in fitted.nll.values())
    figure = fitted.path.parent / "evaluation" / "samples_prior.png"
    assert figure.is_file()


def test_load_samples_from_it(model: TrainedVAE, autoencoder_run: Path) -> None:
    assert "samples from the prior fitted afterwards" in repr(model)
    assert "fitted" not in repr(load(autoencoder_run))
    plain = model.sample(4, seed=0, fitted=False)
    assert torch.equal(plain, load(autoencoder_run).sample(4, seed=0))
    assert not torch.equal(model.sample(4, y=1, seed=0), plain)
    by_class = [model.sample(4, y=y, seed=0) for y in (0, 1)]  # a decoder that reads no label
    assert not torch.equal(*by_class)
    assert model.sample(4).shape == (4, 1, 8, 8)
    with pytest.raises(InputError, match="labels must lie in 0..9"):
        model.sample(4, y=10)
    with pytest.raises(InputError, match="reads no labels"):
        model.sample(4, y=1, fitted=False)


def test_it_leaves_torchs_generator_alone_and_repeats(fitted: FittedPrior, tmp_path: Path) -> None:
    shutil.copytree(fitted.path.parent, tmp_path / "run")
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    again = fit_prior(tmp_path / "run", BY_CLASS, quiet=True)
    assert torch.equal(torch.rand(3), expected)
    assert again.nll == fitted.nll


def test_a_prior_that_takes_anothers_place_says_what_that_had_reached(
    fitted: FittedPrior, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(fitted.path.parent, tmp_path / "run")
    fit_prior(tmp_path / "run", BY_CLASS)
    *_, before = fitted.nll.values()
    said = " ".join(capsys.readouterr().out.split())
    assert f"in place of one of {before.value:.2f} nats" in said


def test_a_prior_of_other_weights_or_a_damaged_one_is_refused(
    fitted: FittedPrior, digits_run: Path, tmp_path: Path
) -> None:
    shutil.copytree(digits_run, tmp_path / "run")
    place = tmp_path / "run" / "prior.ckpt"
    shutil.copy(fitted.path, place)
    other = load(tmp_path / "run")
    with pytest.raises(InputError, match="was fitted to other weights than these: fit it anew"):
        other.sample(1)
    assert other.sample(1, fitted=False).shape == (1, 1, 8, 8)
    place.write_bytes(fitted.path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"prior\.ckpt is damaged"):
        other.sample(1)
    torch.save({"format": 1}, place)
    with pytest.raises(InputError, match="is incomplete"):
        other.sample(1)
    place.unlink()
    place.mkdir()
    assert "samples from the prior" in repr(other)
    with pytest.raises(InputError, match=r"prior\.ckpt is damaged .*fit it anew"):
        other.sample(1)


@pytest.mark.parametrize(
    ("name", "value"), [("scale", 0.0), ("scale", torch.inf), ("prior.mu", torch.nan)]
)
def test_weights_that_are_no_numbers_are_refused(
    fitted: FittedPrior, tmp_path: Path, name: str, value: float
) -> None:
    shutil.copytree(fitted.path.parent, tmp_path / "run")
    content = torch.load(fitted.path)
    content["state_dict"][name].flatten()[0] = value
    torch.save(content, tmp_path / "run" / "prior.ckpt")
    with pytest.raises(InputError, match="weights that are no numbers, or a scale of 0: fit it an"):
        load(tmp_path / "run").sample(1)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model/prior=standard_normal"], "StandardNormal has nothing to fit: say model/prior="),
        (["model/prior=none"], "unknown choice of model/prior"),
        (["model.prior=null"], "must be a part: say, for example, model/prior=mixture"),
        (["data=mnist"], "data=mnist: the run's own model and data are used, so leave it out"),
        (["model=cvae"], "model=cvae: the run's own model and data are used, so leave it out"),
        (["model/prior=vamp"], r"VampPrior cannot be .* made of\): say model/prior=mixture or flo"),
        (["model/prior=uniform_categorical"], r"cannot be .*not \[8\]\): say model/prior=mixture"),
        (
            ["model/prior=mixture", f"model.prior.components={10**14}"],
            r"out of memory: lower model\.prior\.components",
        ),
        (["fit_prior.epochs=0"], r"fit_prior\.epochs must"),
        (["fit_prior.epoch=1"], "fit_prior"),
        (["fit_prior.device=tpu"], r"fit_prior\.device must be one of auto"),
        (["fit_prior.data_path=here"], r"fit_prior\.data_path: the run's data have no path"),
    ],
)
def test_bad_input(autoencoder_run: Path, overrides: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        fit_prior(autoencoder_run, [*BY_CLASS[:1], *overrides], quiet=True)
    assert not (autoencoder_run / "prior.ckpt").exists()


def test_a_prior_that_is_worse_than_the_models_own_is_not_written(
    autoencoder_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{HOME}.nll_of_all", lambda prior, _: worth(is_learned(prior)))
    with pytest.raises(InputError, match=r"nothing is written: .*, 1\.00 nats, .* own, 0\.00\."):
        fit_prior(autoencoder_run, BY_CLASS, quiet=True)
    assert not (autoencoder_run / "prior.ckpt").exists()


@pytest.mark.parametrize("place", ["prior.ckpt", "evaluation/samples_prior.png", "evaluation"])
def test_a_place_that_cannot_be_written_is_refused_before_the_fit(
    place: str, autoencoder_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(autoencoder_run / "checkpoints", run / "checkpoints")
    (run / place).parent.mkdir(exist_ok=True)
    (run / place).touch() if place == "evaluation" else (run / place).mkdir()
    monkeypatch.setattr(f"{HOME}.fit", lambda *_: pytest.fail("it has been fitted"))
    with pytest.raises(InputError, match=rf"{place} cannot be written \(is .*\): move it away"):
        fit_prior(run, BY_CLASS, quiet=True)


def test_where_the_figure_fails_no_prior_is_left(
    autoencoder_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"{HOME}.save_figures", full)
    with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
        fit_prior(autoencoder_run, BY_CLASS, quiet=True)
    assert not (autoencoder_run / "prior.ckpt").exists()


def test_memory_that_runs_out_in_the_fit_names_what_to_lower(
    autoencoder_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def huge(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(f"{HOME}.fit", huge)
    with pytest.raises(InputError, match=r"lower the prior's sizes, such as model\.prior\.comp"):
        fit_prior(autoencoder_run, BY_CLASS, quiet=True)


def test_of_a_folder_of_runs_it_takes_one(autoencoder_run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(autoencoder_run, tmp_path / name)
    with pytest.raises(InputError, match="holds 2 runs, and one is wanted: say, .*run=.*a"):
        fit_prior(tmp_path, BY_CLASS, quiet=True)


def test_a_run_without_validation_data_is_refused(tmp_path: Path) -> None:
    run = train(
        [*QUICK, "data.limit=20", "data.val_size=0", f"hydra.run.dir={tmp_path}"], quiet=True
    )
    with pytest.raises(InputError, match=r"train with data\.val_size above 0"):
        fit_prior(run, BY_CLASS, quiet=True)


def test_codes_of_several_layers_are_refused(
    digits_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = "vae_lab.commands.fit_prior"
    monkeypatch.setattr(f"{home}.load", lambda *_: SimpleNamespace(model=torch.nn.Identity()))
    with pytest.raises(InputError, match="one latent layer, which a Identity lacks"):
        fit_prior(digits_run, BY_CLASS, quiet=True)
