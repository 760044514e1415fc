"""The formats, by name; a format's libraries are loaded when it is written."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

    from features.export.folder import OutFolder
    from features.export.options import ExportOptions
    from features.export.writer import Writer

_CLASSES = {
    "parquet": "ParquetWriter",
    "csv": "CsvWriter",
    "numpy": "NumpyWriter",
    "webdataset": "WebDatasetWriter",
    "datasets": "DatasetsWriter",
}


def make_writer(folder: OutFolder, schema: pa.Schema, options: ExportOptions) -> Writer:
    """The writer of a format."""
    return _writer_class(options.format)(folder, schema, options.shard_bytes)


def written_as(form: str, path: str) -> str:
    """The name for which a file of an export was written, before the export was whole."""
    return _writer_class(form).written_as(path)


def _writer_class(form: str) -> type[Writer]:
    name = _CLASSES[form]
    made: type[Writer] = getattr(import_module(f"features.export.to_{form}"), name)
    return made
