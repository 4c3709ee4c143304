"""A CSV file, as this project uses it."""

import csv
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger


class CSV(CSVLogger):
    """Lightning's CSVLogger, whose metrics.csv a resumed run goes on with."""

    def __init__(self, save_dir: str) -> None:
        """`save_dir` is the run folder; the file is csv/metrics.csv in it."""
        super().__init__(save_dir, name="csv", version="")
        self._before: list[dict[str, Any]] = []

    @property
    def experiment(self) -> Any:
        if self._experiment is None:
            path = Path(self.log_dir) / "metrics.csv"
            if path.is_file():  # Lightning would delete it
                with path.open(newline="") as file:
                    self._before = [_numbers(row) for row in csv.DictReader(file)]
                path.unlink()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*logs directory .* exists")
                return super().experiment
        return super().experiment

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        written = self.experiment.metrics
        if self._before:  # what is logged again from the checkpoint on replaces what was
            written[:0] = [row for row in self._before if step is None or row["step"] < step]
            self._before = []
        super().log_metrics(metrics, step)


def _numbers(row: dict[str, str]) -> dict[str, Any]:
    given = {name: float(value) for name, value in row.items() if value}
    return given | {name: int(given[name]) for name in ("step", "epoch") if name in given}
