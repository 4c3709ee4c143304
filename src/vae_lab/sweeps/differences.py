"""What differs between the configurations of any runs: the columns of a table over them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from vae_lab.sweeps.runs import Job

Column = dict[int, Any]
"""A value for each job that has one, by the job's place."""

_LEFT_OUT = (
    "seed", "name", "group", "tags", "resume", "run_dir", "run_id", "overrides", "config_digest",
    "test", "logger", "profiler", "lr_find", "data.root", "data.path", "data.x_shape",
    "data.num_classes", "data.num_workers", "data.resident_gib", "model.x_shape",
    "model.num_classes", "callbacks.last", "callbacks.figures", "callbacks.latents",
    "callbacks.system", "callbacks.histograms", "callbacks.progress",
)  # fmt: skip
"""What changes no figure, follows from the data, which a `Measure` tells apart, or names it."""


def columns(jobs: Sequence[Job]) -> dict[str, Column]:
    """What differs between jobs, by dotted path; a seed does not count.

    What a sweep's command line has chosen stands for all that follows from it.
    """
    begun = {
        at: _from(str(job.config.get("run_dir")), job.config)
        for at, job in enumerate(jobs)
        if job.config is not None
    }
    found = differences(begun)
    for key in dict.fromkeys(key for job in jobs for key in job.overrides):
        path = key.partition("@")[0].replace("/", ".")
        if path in _LEFT_OUT:
            continue
        said = {
            at: value(job.overrides[key]) for at, job in enumerate(jobs) if key in job.overrides
        }
        if len(said) == len(jobs):
            below = {p: of for p, of in found.items() if f"{p}.".startswith(f"{path}.")}
            follow = [p for p, of in below.items() if _follows(of, said, begun)]
            told = {tuple(found[p].get(at, "") for p in follow) for at in begun}
            if len(told) == len({said[at] for at in begun}) and len(set(said.values())) > 1:
                found = {p: of for p, of in found.items() if p not in follow} | {path: said}
        elif path in found:
            found[path] |= {at: said[at] for at in said if at not in begun}
    return found


def _from(folder: str, node: Any) -> Any:
    """The same, its paths told from the run's own folder, where each run has its files."""
    if isinstance(node, dict):
        return {key: _from(folder, inner) for key, inner in node.items()}
    return node.replace(folder, "") if isinstance(node, str) else node


def _follows(column: Column, choice: Column, among: Iterable[int]) -> bool:
    pairs = {(choice[at], column.get(at, "")) for at in among}
    return len(pairs) == len({chosen for chosen, _ in pairs})


def differences(nodes: Mapping[int, Any], path: str = "") -> dict[str, dict[int, Any]]:
    """Where configurations differ: by dotted path, the value of each.

    A part is told by its class, and its arguments are compared with those of the same class alone.
    """
    kinds = {at: _kind(node) for at, node in nodes.items()}
    found = {path: kinds} if len(set(kinds.values())) > 1 else {}
    for kind in dict.fromkeys(kinds.values()):
        parts = {at: nodes[at] for at in nodes if kinds[at] == kind}
        keys = dict.fromkeys(k for part in parts.values() if isinstance(part, dict) for k in part)
        for key in keys:
            inner = f"{path}.{key}" if path else str(key)
            if inner not in _LEFT_OUT and key != "_target_":
                values = {at: part.get(key) for at, part in parts.items()}
                for place, of in differences(values, inner).items():
                    found.setdefault(place, {}).update(of)
    return found


def _kind(node: Any) -> Any:
    """What stands for a node where it is compared: a part's class, or a plain value."""
    if isinstance(node, dict):
        return str(node.get("_target_", "..."))
    if isinstance(node, list):
        return str(node).replace(" ", "").replace("'", "")
    if node is None or isinstance(node, bool):
        return str(node).lower()
    return value(str(node)) if isinstance(node, float | int) else str(node)


def value(text: str) -> Any:
    """A number where it is one, so that 1e-3 is 0.001; lists and words as they are."""
    try:
        number = float(text)
    except ValueError:
        return text.replace(" ", "")
    return int(number) if number.is_integer() and abs(number) < 1e15 else number


def short(names: Sequence[str]) -> list[str]:
    """Dotted names by their last words: as many as tell them apart.

    >>> short(["model.encoder.widths", "model.decoder.widths", "optimizer.lr"])
    ['encoder.widths', 'decoder.widths', 'lr']
    """
    words = [name.split(".") for name in names]
    ends = [[".".join(w[-n:]) for n in range(1, len(w) + 1)] for w in words]
    return [
        next(
            end for end in mine
            if sum(end in other for other in ends) == 1 or end == mine[-1]
        )
        for mine in ends
    ]  # fmt: skip
