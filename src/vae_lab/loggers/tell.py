"""What a logger says of itself, on stderr."""

from rich.console import Console


def tell(line: str) -> None:
    """Print a warning, in one line however long it is."""
    Console(stderr=True).print(f"[bold yellow]warning:[/] {line}", soft_wrap=True, highlight=False)
