"""Write README's table of choices anew, from the files below conf/: what `make docs` runs."""

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
FIRST = ("model", "data")  # what is chosen before all else; Hydra wants another order
BEGIN, END = "<!-- written by make docs -->\n", "<!-- until here -->\n"


def chosen(path: Path) -> dict[str, str | None]:
    """The groups that a YAML chooses from, with what it takes; those of its bases too."""
    found: dict[str, str | None] = {}
    for entry in (yaml.safe_load(path.read_text()) or {}).get("defaults", ()):
        if isinstance(entry, dict):  # "override group" is no folder: it opens no choice
            found |= {name: take for name, take in entry.items() if (path.parent / name).is_dir()}
        elif (base := path.parent / f"{entry}.yaml").is_file():
            found |= chosen(base)
    return found


def rows(folder: Path, name: str, options: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each group that these YAMLs of a folder choose from, and the rest of its row.

    That is whose group it is, where not of all, and its options, the default first. A group is
    followed by those within it.
    """
    groups = {option: chosen(folder / f"{option}.yaml") for option in options}
    for group in dict.fromkeys(group for inside in groups.values() for group in inside):
        owners = [option for option in groups if group in groups[option]]
        default, within = groups[owners[0]][group], folder / group
        names = sorted(path.stem for path in within.glob("[!_]*.yaml"))
        names.sort(key=lambda option: option != default)
        others = [option for option in groups if option not in owners]
        fewer, word = (owners, "of") if len(owners) <= len(others) else (others, "not of")
        of = f" ({word} {_code(fewer)})" if others else ""
        if names != ["default"]:
            yield f"`{name}{group}`", f"{of} | {_code(names)} |"
        yield from rows(within, f"{name}{group}/", names)


def table(conf: Path) -> str:
    """All choices, neighbours of the same options in one row."""
    lines = ["| choice | options (first the default, where there is one) |\n| --- | --- |\n"]
    every = sorted(rows(conf, "", ["train"]), key=_place)
    for rest, same in groupby(every, key=lambda row: row[1]):
        lines.append(f"| {', '.join(group for group, _ in same)}{rest}\n")
    return "".join(lines)


def updated(readme: str, conf: Path) -> str:
    """The README with the table that belongs there."""
    before, _, rest = readme.partition(BEGIN)
    return before + BEGIN + "\n" + table(conf) + "\n" + END + rest.partition(END)[2]


def _place(row: tuple[str, str]) -> int:
    group = row[0].strip("`").partition("/")[0]
    return FIRST.index(group) if group in FIRST else len(FIRST)


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    README = ROOT / "README.md"
    README.write_text(updated(README.read_text(), ROOT / "conf"))
