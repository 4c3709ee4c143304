"""A trained model for use elsewhere: its weights, and its encoder and decoder as programs.

Every file is read back and compared with the model on the same inputs before it takes its name.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from vae_lab.errors import InputError, cannot_write, explained, one_line, require, unknown
from vae_lab.export import completion as completion  # whose programs it registers
from vae_lab.export import programs
from vae_lab.export.programs import Case, Tensors
from vae_lab.model import VAE
from vae_lab.storage.checkpoint import sealed
from vae_lab.trained import TrainedVAE, load

TOLERANCE = 1e-4
"""How far a program's float32 may lie from the model's: absolutely up to 1, relatively above."""

Functions = Mapping[str, Callable[..., Tensors]]  # some of the parts


class Subject:
    """A trained model, its parts as programs, and what these must give."""

    def __init__(self, trained: TrainedVAE) -> None:
        """Raises InputError for a model of a kind that has no such parts."""
        self.record, self.model = trained.record, trained.model
        programs.parts(self.model)

    @cached_property
    def cases(self) -> dict[str, list[Case]]:
        """For each part, one case of each batch size."""
        found = [programs.cases(self.model, n) for n in (3, 1, 7)]
        return {part: [case[part] for case in found] for part in programs.parts(self.model)}

    @cached_property
    def traced(self) -> dict[str, ExportedProgram]:
        """Its parts as programs.

        Raises InputError for one that draws random numbers, and where z is drawn value by value.
        """
        if isinstance(self.model, VAE) and self.model.prior.draws_in_steps:
            raise InputError(
                f"{type(self.model.prior).__name__} draws z value by value, which no fixed "
                "function does: export the weights alone, export.formats=[safetensors]."
            )
        plain = deepcopy(self.model).to(memory_format=torch.contiguous_format)  # else torch warns
        parts = programs.parts(plain)
        return {name: programs.traced(part, self.cases[name][0]) for name, part in parts.items()}


# The formats: each writes its files, and yields them with the functions it reads back from them.


def _safetensors(subject: Subject, folder: Path) -> Iterator[tuple[Path, Functions]]:
    path = folder / "model.safetensors"
    weights = {name: value.contiguous() for name, value in subject.model.state_dict().items()}
    path.write_bytes(
        sealed(weights, json.dumps(subject.record))
    )  # save_file makes a file that only its owner reads
    yield path, programs.parts(load(path).model)


def _torch(subject: Subject, folder: Path) -> Iterator[tuple[Path, Functions]]:
    for part, program in subject.traced.items():
        path = folder / f"{part}.pt2"
        torch.export.save(program, path)
        yield path, {part: torch.export.load(path).module()}


def _onnx(subject: Subject, folder: Path) -> Iterator[tuple[Path, Functions]]:
    import onnxruntime

    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level, quiet.intra_op_num_threads = 3, 1
    for part, program in subject.traced.items():
        path, case = folder / f"{part}.onnx", subject.cases[part][0]
        with warnings.catch_warnings():  # it names the axis of y as that of x, and says so
            warnings.filterwarnings("ignore", message="# The axis name: batch will not be used")
            onnx = torch.onnx.export(
                program,
                input_names=list(case.inputs),
                output_names=list(case.outputs),
                dynamic_shapes={name: {0: "batch"} for name in case.inputs},
                verbose=False,
            )
        assert onnx is not None
        onnx.save(path)
        session = onnxruntime.InferenceSession(path, quiet, providers=["CPUExecutionProvider"])
        yield path, {part: partial(_run, session)}


def _run(session: Any, *inputs: Tensor) -> Tensors:
    into, out = session.get_inputs(), session.get_outputs()
    given = {node.name: value.numpy() for node, value in zip(into, inputs, strict=True)}
    found = map(torch.from_numpy, session.run(None, given))
    return {node.name: value for node, value in zip(out, found, strict=True)}


@dataclass(frozen=True)
class Format:
    """A kind of file: how it is written, what that needs, and how exact it must be."""

    write: Callable[[Subject, Path], Iterator[tuple[Path, Functions]]]
    packages: tuple[str, ...]
    tolerance: float


FORMATS = {
    "safetensors": Format(_safetensors, ("safetensors",), 0.0),
    "torch": Format(_torch, (), TOLERANCE),
    "onnx": Format(_onnx, ("onnx", "onnxscript", "onnxruntime"), TOLERANCE),
}


@torch.no_grad()
def export(trained: TrainedVAE, out: Path, formats: Sequence[str]) -> dict[Path, float]:
    """Write a model, on the CPU, into the folder `out`, with its record in config.json.

    Returns the files that were compared, each with its largest difference from the model. Raises
    InputError where a format does not exist or lacks a package, before anything is written; and
    where one cannot express the model or a file differs from it: then that format's files in `out`
    stay as they were, the others' are written, and it says which.
    """
    for name in formats:
        if name not in FORMATS:
            raise unknown("format", str(name), FORMATS)
        require("export", *FORMATS[name].packages)
    subject = Subject(trained)
    written: dict[str, dict[Path, float]] = {}
    refused: list[InputError] = []
    for name in formats:
        try:
            written[name] = _export(name, subject, out)
        except InputError as error:
            refused.append(error)
    if refused:
        rest = f" Written: {', '.join(written)}." if written else ""
        raise InputError(" ".join(dict.fromkeys(map(str, refused))) + rest) from refused[0]
    return {path: off for files in written.values() for path, off in files.items()}


def _export(name: str, subject: Subject, out: Path) -> dict[Path, float]:
    """Write one format into `out`, whole or not at all, and the record beside it."""
    with explained(partial(cannot_write, out, "set export.out to another folder")):
        out.mkdir(parents=True, exist_ok=True)
        unfinished = TemporaryDirectory(prefix=".unfinished-", dir=out)
    differences = {}
    with unfinished as place:
        folder = Path(place)
        (folder / "config.json").write_text(json.dumps(subject.record, indent=2) + "\n")
        with explained(partial(_cannot_express, name)):
            for path, functions in FORMATS[name].write(subject, folder):
                off = _difference(path.name, functions, subject, FORMATS[name].tolerance)
                differences[out / path.name] = off
        for path in folder.iterdir():
            path.replace(out / path.name)
    return differences


def _difference(file: str, functions: Functions, subject: Subject, tolerance: float) -> float:
    """The largest over all cases. Raises InputError where it is beyond the tolerance."""
    worst = 0.0
    for part, function in functions.items():
        for case in subject.cases[part]:
            with programs.same_draws():
                found = function(*case.inputs.values())
            for name, expected in case.outputs.items():
                scale = expected.abs().clamp(min=1)
                off = float(((found[name] - expected).abs() / scale).max())
                if found[name].shape != expected.shape or not off <= tolerance:
                    raise InputError(
                        f"{file} lies {off:.1g} from the model in {name} for a batch of "
                        f"{len(expected)}, beyond {tolerance:g}: it is not written."
                    )
                worst = max(worst, off)
    return worst


def _cannot_express(name: str, error: Exception) -> InputError:
    """Why a model cannot be written in this format: the first sentence of the first cause."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    why = one_line(cause).partition(". ")[0][:200]
    return InputError(
        f"the model cannot be written as {name} ({why}): leave {name} out of "
        "export.formats. HYDRA_FULL_ERROR=1 shows where."
    )
