"""Metrics as a table: `metrics.csv` in the run directory, a row a step, a column a metric."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from regimen.system.files import write_atomic

if TYPE_CHECKING:
    from regimen.runs.loggers.logger import Row
    from regimen.runs.run import Run


@dataclass
class CsvTableCfg:
    """A table beside metrics.jsonl, for spreadsheets and pandas."""

    _target_: str = "regimen.runs.loggers.csv_table.CsvTable"


class CsvTable:
    """Writes `metrics.csv`; a metric without a value at a step is an empty cell."""

    def __init__(self, cfg: CsvTableCfg, run: Run) -> None:
        """Args: cfg: has no settings; run: whose directory gets the file."""
        self.path = run.dir / "metrics.csv"
        self._run = run
        self._columns: list[str] = []

    def open(self) -> None:
        """Name the file as an artifact of the run."""
        self._run.artifact(self.path, "table")

    def rewind(self, step: int | None) -> None:
        """Begin a new table: all rows up to `step` follow."""
        self._columns = []

    def write(self, rows: list[Row]) -> None:
        """Append rows; the table is rewritten atomically at the beginning and for each new metric."""
        columns = list(dict.fromkeys([*self._columns, *(name for row in rows for name in row)]))
        if columns == self._columns:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                file.write(self._text(rows))
            return
        earlier = self._read() if self._columns else []
        self._columns = columns
        write_atomic(self.path, (",".join(_quoted(columns)) + "\n" + self._text([*earlier, *rows])).encode())

    def close(self, status: str, headline: dict[str, float]) -> None:
        """Nothing is left to write."""

    def _read(self) -> list[Row]:
        with self.path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _text(self, rows: list[Row]) -> str:
        sink = io.StringIO()
        csv.DictWriter(sink, self._columns, restval="", lineterminator="\n").writerows(rows)
        return sink.getvalue()


def _quoted(names: list[Any]) -> list[str]:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="").writerow(names)
    return [sink.getvalue()]
