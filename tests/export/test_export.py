"""export.py: what is written gives what the model gives, and needs no vae-lab."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import product
from pathlib import Path

import onnxruntime
import pytest
import torch
from conftest import QUICK, ROOT
from parts import choices, vae
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributions import Distribution
from warm import run_script

from vae_lab import InputError, load, train
from vae_lab.commands.export import export_task
from vae_lab.config import build
from vae_lab.config.compose import compose_config
from vae_lab.export.formats import FORMATS, export
from vae_lab.export.programs import Decoder, Encoder, cases, traced
from vae_lab.model import VAE, LadderVAE
from vae_lab.model.distributions.normal import Normal
from vae_lab.model.posteriors import FullCovariance, UniformPosterior
from vae_lab.trained import TrainedVAE

PROGRAMS = ["torch", "onnx"]
FILES = {"config.json", "model.safetensors"} | {
    f"{part}.{suffix}" for part in ("encoder", "decoder") for suffix in ("pt2", "onnx")
}
PAIRS = [*product(choices("model"), ["digits"]), ("conv_vae", "colour"), ("mlp_vae", "colour")]
LIKELIHOODS = choices("model/likelihood")
MODELS = [  # every model, every likelihood, grey images and colour
    (*PAIRS[i % len(PAIRS)], LIKELIHOODS[i % len(LIKELIHOODS)])
    for i in range(max(len(PAIRS), len(LIKELIHOODS)))
]
SLOW = {  # whose networks and likelihood others here have too
    ("mlp_vae", "digits"), ("mlp_vae", "colour"), ("conv_vae", "digits"),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(digits_run: Path) -> TrainedVAE:
    return load(digits_run)


@pytest.fixture(scope="module")
def weights(trained: TrainedVAE, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("weights")
    export(trained, out, ["safetensors"])
    return out


def by_torch(out: Path, part: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return torch.export.load(out / f"{part}.pt2").module()(*inputs.values())


def by_onnx(out: Path, part: str, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    session = onnxruntime.InferenceSession(out / f"{part}.onnx")
    assert {i.name: i.shape[0] for i in session.get_inputs()} == dict.fromkeys(inputs, "batch")
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {name: value.numpy() for name, value in inputs.items()})
    return dict(zip(names, map(torch.from_numpy, values), strict=True))


@torch.no_grad()
def assert_programs_agree(model: VAE, out: Path, n: int, labels_enter: bool) -> None:
    x, z, y = torch.rand(n, *model.x_shape), torch.randn(n, *model.z_shape), torch.arange(n)
    q, p = model.q_z(x, y), model.p_x(z, y)
    labels = {"y": y} if labels_enter else {}
    for run in (by_torch, by_onnx):
        found = {
            **run(out, "encoder", {"x": x, **labels}),
            **run(out, "decoder", {"z": z, **labels}),
        }
        expected = {"z_mean": q.mean, "z_stddev": q.stddev, "x_mean": p.mean}
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "data", "likelihood"),
    [pytest.param(*each, marks=[pytest.mark.slow] * (each[:2] in SLOW)) for each in MODELS],
)
def test_programs_of_every_model_and_likelihood(
    tmp_path: Path, colour_file: Path, model: str, data: str, likelihood: str
) -> None:
    images = {"digits": [], "colour": ["data=tensors", f"data.path={colour_file}"]}[data]
    run = train(
        [*QUICK, *images, f"model={model}", f"model/likelihood={likelihood}", "data.limit=40",
         "data.batch_size=8", f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    built = run.load().model
    if isinstance(built, LadderVAE):
        with pytest.raises(InputError, match="has no one encoder and decoder to export"):
            export(run.load(), tmp_path / "out", PROGRAMS)
        return
    export(run.load(), tmp_path / "out", PROGRAMS)
    if not isinstance(built, VAE):
        return  # whose programs were compared as they were written
    assert_programs_agree(built, tmp_path / "out", n=5, labels_enter=built.encoder.reads_labels)


@pytest.fixture(scope="module")
def exported(
    conditional_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """What the command has written of a conditional model, and said."""
    run = shutil.copytree(conditional_run, tmp_path_factory.mktemp("exported") / "run")
    return run / "export", run_script(["export.py", f"run={run}"], cold=True)


@pytest.mark.process
def test_the_command_writes_every_file_and_a_table(
    exported: tuple[Path, "subprocess.CompletedProcess[str]"], conditional_run: Path
) -> None:
    out, finished = exported
    assert finished.returncode == 0, finished.stderr
    assert not finished.stderr
    assert {path.name for path in out.iterdir()} == FILES
    assert all(name in finished.stdout for name in FILES)
    assert len(finished.stdout.splitlines()) == len(FILES) + 4  # the table's frame
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1
    for path in out.iterdir():
        assert path.name == "config.json" or str(ROOT).encode() not in path.read_bytes()
    assert_programs_agree(load(conditional_run).model, out, n=10, labels_enter=True)


@pytest.mark.process
def test_programs_need_no_vae_lab(
    exported: tuple[Path, "subprocess.CompletedProcess[str]"],
    conditional_run: Path,
    tmp_path: Path,
) -> None:
    for name in ("encoder.pt2", "encoder.onnx"):
        shutil.copy(exported[0] / name, tmp_path)
    x, y = torch.rand(2, 1, 8, 8), torch.tensor([3, 7])
    with torch.no_grad():
        torch.save((x, y, load(conditional_run).model.q_z(x, y).mean), tmp_path / "expected.pt")
    code = """
import sys, torch, onnxruntime
x, y, expected = torch.load("expected.pt")
found = torch.export.load("encoder.pt2").module()(x, y)["z_mean"]
inputs = {"x": x.numpy(), "y": y.numpy()}
(same,) = onnxruntime.InferenceSession("encoder.onnx").run(["z_mean"], inputs)
torch.testing.assert_close(found, expected)
torch.testing.assert_close(torch.from_numpy(same), expected, rtol=1e-5, atol=1e-5)
assert "vae_lab" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


# Weights


def test_the_configuration_alone_rebuilds_the_model(trained: TrainedVAE, weights: Path) -> None:
    record = json.loads((weights / "config.json").read_text())
    assert record == trained.record
    model = build.model(record["config"]["model"]).eval()
    model.load_state_dict(load_file(weights / "model.safetensors"))
    x = torch.rand(5, 1, 8, 8)
    with torch.no_grad():
        assert torch.equal(model.q_z(x, None).stddev, trained.model.q_z(x, None).stddev)


def test_load_reads_exported_weights(trained: TrainedVAE, weights: Path) -> None:
    for path in (weights, weights / "model.safetensors"):
        again = load(path)
        assert again.record == {**trained.record, "checkpoint": "model.safetensors"}
        assert torch.equal(again.sample(3, seed=0), trained.sample(3, seed=0))


@pytest.mark.parametrize("sigma", choices("model/likelihood/sigma"))
def test_weights_hold_the_likelihoods_own(tmp_path: Path, sigma: str) -> None:
    run = train(
        [*QUICK, "model/likelihood=gaussian", f"model/likelihood/sigma={sigma}", "data.limit=64",
         f"hydra.run.dir={tmp_path / 'run'}"], quiet=True,
    )  # fmt: skip
    export(run.load(), tmp_path / "out", ["safetensors"])
    x = torch.rand(4, 1, 8, 8)
    again, first = (
        model.log_prob(x, num_draws=3, seed=0) for model in (load(tmp_path / "out"), run.load())
    )
    assert torch.equal(again, first)


def test_weights_that_are_not_ours_are_refused(weights: Path, tmp_path: Path) -> None:
    whole, path = weights / "model.safetensors", tmp_path / "model.safetensors"
    tensors, record = load_file(whole), json.loads((weights / "config.json").read_text())
    for length in (0, 10, 1000, whole.stat().st_size - 100):
        path.write_bytes(whole.read_bytes()[:length])
        with pytest.raises(InputError, match="cut short"):
            load(path)
    for metadata in (None, {"vae_lab": "null"}, {"vae_lab": "[]"}):
        save_file(tensors, path, metadata)
        with pytest.raises(InputError, match="not made by vae-lab"):
            load(path)
    save_file(
        {name: tensors[name] for name in list(tensors)[1:]}, path, {"vae_lab": json.dumps(record)}
    )
    with pytest.raises(InputError, match="another model"):
        load(path)
    record["config"]["model"]["encoder"]["_target_"] = "os.system"
    save_file(tensors, path, {"vae_lab": json.dumps(record)})
    with pytest.raises(InputError, match="_target_"):
        load(path)


# What does not agree is not written


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("off", [1e-3, float("nan")])
def test_a_file_that_differs_is_not_written(
    trained: TrainedVAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, off: float
) -> None:
    class Wrong(Decoder):
        def forward(self, z: Tensor, y: Tensor | None = None) -> dict[str, Tensor]:
            return {"x_mean": super().forward(z, y)["x_mean"] + off}

    before = tmp_path / "decoder.onnx"
    before.write_text("of an earlier export")
    monkeypatch.setattr("vae_lab.export.programs.Decoder", Wrong)
    with pytest.raises(InputError, match=f"lies {off:g} from the model in x_mean"):
        export(trained, tmp_path, [name])
    assert list(tmp_path.iterdir()) == [before]
    assert before.read_text() == "of an earlier export"


def _drawn(q: Distribution) -> torch.Tensor:
    return q.rsample((100,)).mean(0)


def _none_known(q: Distribution) -> torch.Tensor:
    raise NotImplementedError  # as torch's distributions do


@pytest.mark.parametrize("mean", [_drawn, _none_known])
def test_a_mean_that_is_drawn_makes_no_program(
    mean: Callable[[Distribution], torch.Tensor],
    digits_run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("vae_lab.model.distributions.normal.Normal.mean", property(mean))
    trained = load(digits_run)
    for name in PROGRAMS:
        with pytest.raises(InputError, match="the encoder draws random numbers"):
            export(trained, tmp_path, [name])
    export(trained, tmp_path, ["safetensors"])
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.parametrize("posterior", [FullCovariance, UniformPosterior])
def test_an_encoder_of_any_moments_is_a_program(posterior: type, tmp_path: Path) -> None:
    model = vae(posterior=posterior).eval()
    program = traced(Encoder(model), cases(model, 3)["encoder"])
    other = cases(model, 5)["encoder"]
    for found in (program.module()(*other.inputs.values()), Encoder(model)(*other.inputs.values())):
        for name, value in other.outputs.items():
            torch.testing.assert_close(found[name], value)
    torch.onnx.export(program, f=tmp_path / "encoder.onnx", dynamo=True, verbose=False)


def test_a_model_that_cannot_be_traced_is_told_in_one_line(
    digits_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def branch(q: Normal) -> Tensor:
        return q.loc if q.loc.sum() > 0 else -q.loc

    monkeypatch.setattr("vae_lab.model.distributions.normal.Normal.mean", property(branch))
    with pytest.raises(InputError, match="cannot be written as onnx") as caught:
        export(load(digits_run), tmp_path, ["onnx"])
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_formats_that_work_are_kept_beside_one_that_fails(
    trained: TrainedVAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object, **named: object) -> None:
        cause = ValueError("No \x1b[96mONNX\x1b[0m function\nfound. See the trace")
        raise RuntimeError("This is step 3/3. Next steps: many") from cause

    monkeypatch.setattr("torch.onnx.export", fails)
    with pytest.raises(InputError) as caught:
        export(trained, tmp_path, ["onnx", "safetensors", "torch"])
    assert str(caught.value) == (
        "the model cannot be written as onnx (ValueError: No ONNX function found): leave onnx out "
        "of export.formats. HYDRA_FULL_ERROR=1 shows where. Written: safetensors, torch."
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json", "model.safetensors", "encoder.pt2", "decoder.pt2",
    }  # fmt: skip
    load(tmp_path)


# Bad input


@pytest.mark.parametrize(
    ("formats", "said"),
    [
        ("[onx]", "unknown format 'onx'. Did you mean 'onnx'.* onnx, safetensors, torch"),
        ("[safetensors,3]", "unknown format '3'"),
        ("[]", "must be a list"),
        ("onnx", "must be a list"),
        ("null", "must be a list"),
    ],
)
def test_bad_formats(digits_run: Path, tmp_path: Path, formats: str, said: str) -> None:
    settings = [f"run={digits_run}", f"export.formats={formats}", f"export.out={tmp_path / 'out'}"]
    with pytest.raises(InputError, match=said):
        export_task(compose_config("export", settings))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "package"), [(name, package) for name in FORMATS for package in FORMATS[name].packages]
)
def test_a_missing_package_is_named(
    trained: TrainedVAE, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    name: str, package: str,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, package, None)
    said = rf"needs {package}: pip install 'vae-lab\[export\]'"
    with pytest.raises(InputError, match=said):
        export(trained, tmp_path / "out", [name])
    assert not (tmp_path / "out").exists()
    if name == "safetensors":
        with pytest.raises(InputError, match=said):
            load(weights)


def test_a_folder_that_cannot_be_written(trained: TrainedVAE, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match="set export.out to another"):
        export(trained, tmp_path / "file" / "out", ["safetensors"])


def test_export_asks_for_a_run() -> None:
    with pytest.raises(InputError, match="run=<run folder or checkpoint>"):
        export_task(compose_config("export"))
    with pytest.raises(InputError, match="no checkpoint at nowhere"):
        export_task(compose_config("export", ["run=nowhere"]))
