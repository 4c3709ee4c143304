"""A CSV file that a run goes on with as if it had never been stopped."""

import csv
from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any, TextIO

from lightning.pytorch.loggers import Logger

from vae_lab.storage.files import atomic_file
from vae_lab.terminal import tell

Row = dict[str, str]  # by column; a metric that a row does not have is not in it


class CSV(Logger):
    """csv/metrics.csv in the run folder: a row whenever something is logged, with its step.

    Each row is in the file when the next line of the program runs: a line is appended, or, where
    it has a new column, the file replaced by another. A run that goes on logs again what came after
    its checkpoint: rows of those steps are left out, so that none is lost or doubled.
    """

    def __init__(self, save_dir: str) -> None:
        """`save_dir` is the run folder."""
        super().__init__()
        self._folder = Path(save_dir) / "csv"
        self._path = self._folder / "metrics.csv"
        self._columns: list[str] = []  # of the file; none before this process has written it

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self._folder)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: config.yaml lies beside it, and every checkpoint has them."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        assert step is not None  # Lightning gives it
        row = {**{name: str(value) for name, value in metrics.items()}, "step": str(step)}
        if not self._columns:
            self._rewrite([*(old for old in self._read() if int(old["step"]) < step), row])
        elif row.keys() <= set(self._columns):
            with self._path.open("a", newline="") as file:
                self._writer(file).writerow(row)
        else:
            self._rewrite([*self._read(), row])

    def _rewrite(self, rows: list[Row]) -> None:
        self._columns = sorted({name for row in rows for name in row})
        self._folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(self._path) as part, part.open("w", newline="") as file:
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(rows)

    def _writer(self, file: TextIO) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._columns, lineterminator="\n")

    def _read(self) -> list[Row]:
        """The rows in the file, but those damaged; then the file as it was is kept aside."""
        if not self._path.is_file():
            return []
        rows, damaged = _parse(self._path.read_bytes().decode(errors="replace"))
        if damaged:
            aside = self._path.with_name("damaged.csv")
            copyfile(self._path, aside)
            tell(
                "warning",
                f"{self._path} is damaged, {damaged} of its lines are lost; as it was: {aside}",
            )
        return rows


def _parse(text: str) -> tuple[list[Row], int]:
    """The rows of a file, and how many of its lines cannot be read."""
    header, *lines = text.split("\n")
    columns = _fields(header)
    if "step" not in columns or len(set(columns)) < len(columns):
        return [], len(lines)
    torn = lines.pop() if lines else header  # nothing, where the last line was written whole
    rows = []
    for values in map(_fields, lines):
        if len(values) == len(columns) and all(map(_is_number, values)):
            row = {name: value for name, value in zip(columns, values, strict=True) if value}
            if row.get("step", "").isdecimal():
                rows.append(row)
    return rows, len(lines) - len(rows) + bool(torn)


def _fields(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _is_number(text: str) -> bool:
    try:
        float(text or 0)
    except ValueError:
        return False
    return True
