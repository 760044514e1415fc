"""CSV: `data/part-00000.csv`, …, each with a header line; UTF-8, texts quoted, nothing between commas where null."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyarrow import csv

from features.export.cells import flat_rows, flat_schema
from features.export.writer import PartFiles

if TYPE_CHECKING:
    import pyarrow as pa


class CsvWriter(PartFiles):
    """A CSV file a part."""

    suffix = "csv"

    def open_file(self, name: str) -> None:
        """Begin a file, under its interim name."""
        self._file = csv.CSVWriter(self.folder.interim(name), flat_schema(self.schema))

    def write_rows(self, rows: pa.Table) -> None:
        """Add rows to the file."""
        self._file.write_table(flat_rows(rows))

    def close_file(self) -> None:
        """End the file."""
        self._file.close()
