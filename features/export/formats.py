"""The formats, by name; a format's libraries are loaded when it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from features.export.folder import OutFolder
    from features.export.options import ExportOptions
    from features.export.writer import Writer


def make_writer(folder: OutFolder, schema: pa.Schema, options: ExportOptions) -> Writer:
    """The writer of a format."""
    return _writer_class(options.format)(folder, schema, options.shard_bytes)


def written_as(form: str, path: str) -> str:
    """The name for which a file of an export was written, before the export was whole."""
    return _writer_class(form).written_as(path)


def _writer_class(form: str) -> type[Writer]:
    if form == "csv":
        from features.export.to_csv import CsvWriter

        return CsvWriter
    from features.export.to_parquet import ParquetWriter

    return ParquetWriter
