"""Parts from a user's own package: a prior and a data source, in one file and one YAML each."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from conftest import QUICK
from parts import one_line_of

from vae_lab import InputError, load, train
from vae_lab.commands import estimators
from vae_lab.commands.evaluate import evaluate_task
from vae_lab.commands.export import export_task
from vae_lab.config.allowed import locate
from vae_lab.config.compose import choices, compose_config, needs, searchpath

Command = Callable[..., "CompletedProcess[str]"]

PARTS = """
from collections import OrderedDict

import torch
from vae_lab.data import Images, Source
from vae_lab.model.distributions.normal import diagonal_normal
from vae_lab.model.priors import Prior


class WidePrior(Prior):
    reads_labels = False

    def __init__(self, context, scale):
        super().__init__(context)
        self.scale = torch.nn.Parameter(torch.full(self.z_shape, float(scale)))

    def forward(self, y):
        return diagonal_normal(torch.zeros_like(self.scale), self.scale, self.scale.dim())


class Stripes(Source):
    name = "stripes"

    def __init__(self, num_images):
        self.num_images = num_images

    def read(self):
        pixels = torch.zeros(self.num_images, 1, 8, 8, dtype=torch.uint8)
        pixels[torch.arange(self.num_images), :, torch.arange(self.num_images) % 8] = 255
        return Images(pixels, None), None
"""

PRIOR = """
_target_: own_parts.WidePrior
_partial_: true
scale: 2
"""

DATA = """
defaults:
  - _common
  - override /model/likelihood@_global_.model.likelihood: bernoulli
  - _self_

_target_: own_parts.Stripes
num_images: 64
"""

OBJECTIVE = """
# Reconstruction, by a YAML of one's own.
# needs: model/posterior=point_mass
_target_: vae_lab.objectives.Reconstruction
_partial_: true
"""

ESTIMATOR = """
_target_: vae_lab.estimators.Pathwise
num_draws: 1
"""

SWEEP = """
# @package _global_
hydra:
  sweeper:
    params:
      trainer.devices: 1,2
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a package of two parts, `own_parts`, and their YAML in `my_conf`."""
    place = tmp_path_factory.mktemp("own")
    files = {
        "own_parts/__init__.py": PARTS,
        "my_conf/model/prior/wide.yaml": PRIOR,
        "my_conf/data/stripes.yaml": DATA,
        "my_conf/objective/mine.yaml": OBJECTIVE,
        "my_conf/estimator/my_own.yaml": ESTIMATOR,
        "my_conf/sweep/one_and_two.yaml": SWEEP,
    }
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text.lstrip())
    return place


@pytest.fixture(autouse=True)
def _importable(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("VAE_LAB_TRUST", raising=False)
    monkeypatch.syspath_prepend(place)
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, [place, *filter(None, sys.path)])))
    yield
    sys.modules.pop("own_parts", None)


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE_LAB_TRUST", "another_package, own_parts")


@pytest.fixture(scope="module")
def own_run(place: Path) -> Path:
    """A run with both parts, made from Python."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VAE_LAB_TRUST", "own_parts")
        patch.syspath_prepend(place)
        asked = own(place, "data=stripes", "model/prior=wide", "model.prior.scale=3")
        return train([*asked, f"hydra.run.dir={place / 'run'}"], quiet=True).folder


def own(place: Path, *overrides: str) -> list[str]:
    return [*QUICK, f"hydra.searchpath=[file://{place / 'my_conf'}]", *overrides]


@pytest.mark.usefixtures("trusted")
def test_own_parts_train_and_are_loaded(own_run: Path) -> None:
    trained = load(own_run)
    assert type(trained.model.prior).__name__ == "WidePrior"
    assert trained.record["config"]["model"]["prior"]["scale"] == 3
    assert trained.model.prior.scale.detach().mean().item() == pytest.approx(3, abs=0.1)
    assert trained.sample(2, seed=0).shape == (2, 1, 8, 8)


def test_no_checkpoint_names_what_is_trusted(own_run: Path, place: Path) -> None:
    with pytest.raises(InputError, match=r"own_parts\.WidePrior may not be built.*VAE_LAB_TRUST"):
        load(own_run)
    with pytest.raises(InputError, match="VAE_LAB_TRUST=own_parts"):
        train([f"resume={own_run}", "trainer.max_epochs=2"], quiet=True)
    assert "own_parts" not in sys.modules  # nothing of it was run


@pytest.mark.usefixtures("trusted")
def test_misspelt_arguments_of_own_parts_are_told(place: Path) -> None:
    with pytest.raises(InputError, match="unknown argument of model.prior .* 'scael'. Did you"):
        train(own(place, "model/prior=wide", "+model.prior.scael=1"), quiet=True)
    with pytest.raises(InputError, match="unknown argument of data .* 'num_imags'. Did you"):
        train(own(place, "data=stripes", "+data.num_imags=1"), quiet=True)


@pytest.mark.usefixtures("trusted")
def test_trust_is_in_the_classes_of_a_package() -> None:
    assert locate("own_parts.Stripes", packages=("vae_lab",)).__name__ == "Stripes"
    for other in ("own_parts.OrderedDict", "own_parts.torch.nn.Linear", "own_parts.torch.load"):
        with pytest.raises(InputError, match="is not a class of own_parts"):
            locate(other)
    for other in ("own_parts_too.Stripes", "os.system", "torch.nn.Linear"):
        with pytest.raises(InputError, match="may not be built"):
            locate(other)


def test_the_commands_take_a_folder_of_ones_own(
    command: Command, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, conf = tmp_path / "run", ("--config-dir", str(place / "my_conf"))
    asked = (*QUICK, "data=stripes", "model/prior=wide", f"hydra.run.dir={folder}")
    said = one_line_of(command("train.py", *conf, *asked))
    assert "VAE_LAB_TRUST=own_parts" in said
    assert not folder.exists()
    monkeypatch.setenv("VAE_LAB_TRUST", "own_parts")
    finished = command("train.py", *asked, *conf)
    assert finished.returncode == 0, finished.stderr
    score = (f"run={folder}", "evaluate.num_draws=2", "evaluate.progress=false")
    finished = command("evaluate.py", *conf, *score)
    assert finished.returncode == 0, finished.stderr
    assert "stripes" in finished.stdout


def test_choices_of_ones_own_are_listed_with_ours(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--config-dir", str(place / "my_conf")])
    with pytest.raises(InputError, match="Say model/prior=.* or wide"):
        train([*QUICK, "model.prior=null"], quiet=True)


def test_evaluate_and_export_ask_for_trust(
    own_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overrides = [f"run={own_run}", f"export.out={tmp_path}", "export.formats=[safetensors]"]
    export, evaluate = (
        compose_config("export", overrides),
        compose_config("evaluate", overrides[:1]),
    )
    for task, cfg in ((export_task, export), (evaluate_task, evaluate)):
        with pytest.raises(InputError, match="VAE_LAB_TRUST=own_parts"):
            task(cfg)
    monkeypatch.setenv("VAE_LAB_TRUST", "own_parts")
    export_task(export)
    assert load(tmp_path).model.z_shape


@pytest.mark.usefixtures("trusted")
def test_a_group_and_a_sweep_preset_of_ones_own(
    command: Command, place: Path, tmp_path: Path
) -> None:
    finished = command(
        "train.py", "--config-dir", str(place / "my_conf"), *QUICK, "sweep=one_and_two",
        "data=stripes", "model/prior=wide", "trainer=ddp", f"hydra.sweep.dir={tmp_path / 'sweep'}",
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    for job in ("0", "1"):
        assert (tmp_path / "sweep" / job / "result.json").is_file()
        weights = torch.load(
            tmp_path / "sweep" / job / "checkpoints" / "last.ckpt", weights_only=True
        )
        assert "model.prior.scale" in weights["state_dict"]


@pytest.mark.parametrize("asked", ["--config-dir=my_conf", "hydra.searchpath=[file://my_conf]"])
def test_a_group_has_the_choices_of_ones_own_folder(
    place: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.chdir(place)
    assert {"mine", "elbo"} <= {*choices("objective", [asked])}
    assert "mine" not in choices("objective", [])
    assert needs("objective", "mine", [asked]) == ["model/posterior=point_mass"]
    cfg = compose_config("train", ["objective=mine", *searchpath([asked])])
    assert cfg.objective._target_.endswith("Reconstruction")


def test_the_estimators_table_has_ones_own_parts(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def listed(group: str, arguments: Sequence[str]) -> list[str]:  # of ours one: that is quick
        return [c for c in choices(group, arguments) if c in ("pathwise", "my_own", "mine")]

    monkeypatch.setattr("vae_lab.experiment.serves.choices", listed)
    monkeypatch.setattr("vae_lab.commands.estimators.choices", listed)
    monkeypatch.setattr("sys.argv", ["vae-lab estimators", "--config-dir", str(place / "my_conf")])
    estimators.main()
    said = capsys.readouterr().out
    assert "my_own" in said
    (row,) = [line for line in said.splitlines() if "objective=mine" in line]
    assert row.count("yes") == 2
    monkeypatch.setattr("sys.argv", ["vae-lab estimators", "--config-dir", "nowhere"])
    with pytest.raises(SystemExit):
        estimators.main()
    assert "nowhere is no folder" in capsys.readouterr().err
