"""The estimators command: a table of what each estimator serves, found by trying it."""

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from vae_lab.config.compose import choices, searchpath
from vae_lab.experiment.serves import GROUPS, cells
from vae_lab.terminal import say


def main() -> None:
    """Print which estimators serve which objectives, posteriors and models, and why not."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--config-dir", "-cd", type=Path, help="a folder of YAML of your own, too")
    own = parser.parse_args().config_dir
    if own and not own.is_dir():
        parser.error(f"{own} is no folder: name one that holds YAML, such as objective/mine.yaml")
    more = searchpath(sys.argv[1:])
    console = Console()
    say(Console(stderr=True), "Tries one step of each, which takes some 20 seconds.")
    with console.status("One step of each ..."):
        found = {cell[:3]: cell for cell in cells(more)}
    reasons = dict.fromkeys(cell.reason for cell in found.values() if cell.reason)
    notes = {reason: str(number) for number, reason in enumerate(reasons, 1)}
    names = choices("estimator", more)
    table = Table("", *(Column(name, justify="center") for name in names))
    for group in GROUPS:
        for choice in choices(group, more):
            row = [found[name, group, choice] for name in names]
            told = (notes.get(c.reason) or f"with {c.under}" * bool(c.under) or "yes" for c in row)
            table.add_row(f"{group}={choice}", *told)
        table.add_section()
    console.print(table)
    for reason, number in notes.items():
        say(console, f"{number}: {reason}")


if __name__ == "__main__":
    main()
