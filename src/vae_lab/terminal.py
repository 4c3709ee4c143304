"""Lines for people: printed as they are, whatever their length and the characters in them."""

from rich.console import Console
from rich.text import Text


def say(console: Console, line: str) -> None:
    """Print a line."""
    console.print(Text(line), soft_wrap=True)


def tell(kind: str, line: str) -> None:
    """Print a line on stderr, after what `kind` it is of: "warning", or "error" of something."""
    colour = "yellow" if kind == "warning" else "red"
    said = Text.assemble((f"{kind}: ", f"bold {colour}"), line)
    Console(stderr=True).print(said, soft_wrap=True)
