"""Lines for people are printed as they are."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from vae_lab.loggers import CSV
from vae_lab.terminal import say


@pytest.mark.parametrize("name", ["run[lr]", "run[", "[bold]"])
def test_a_warning_keeps_the_brackets_of_a_path(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / name / "[/x]"
    (folder / "csv").mkdir(parents=True)
    (folder / "csv" / "metrics.csv").write_text("step\nx\n")
    CSV(str(folder)).log_metrics({"a": 1.0}, 1)
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {folder / 'csv' / 'metrics.csv'} is damaged")
    assert said.count("\n") == 1


def test_a_line_is_printed_as_it_is() -> None:
    told = io.StringIO()
    line = f"[red]a[/] [/x] {'long ' * 40} 0.5 'text' :smile:"
    say(Console(file=told, width=40), line)
    assert told.getvalue() == f"{line}\n"
