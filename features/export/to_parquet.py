"""Parquet: `data/part-00000.parquet`, …; vectors are lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from features.export.writer import PartFiles

if TYPE_CHECKING:
    from pathlib import Path

_ROW_GROUP_BYTES = 16 << 20
_COMPRESSED_COLUMNS = ("jpeg", "flac")


class ParquetRows:
    """One Parquet file, written in groups of rows of some megabytes."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = lists_of(schema)
        self._writer = pq.ParquetWriter(path, self._schema, **settings_of(self._schema))
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self.num_rows = 0
        self.num_bytes = 0

    def write(self, rows: pa.Table) -> None:
        """Add rows; they reach the file when enough of them make a group.

        Raises:
            OSError: The disk is full or may not be written.
        """
        self._waiting.append(rows)
        self._waiting_bytes += rows.nbytes
        self.num_rows += rows.num_rows
        self.num_bytes += rows.nbytes
        if self._waiting_bytes >= _ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """End the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            rows = pa.concat_tables(
                self._waiting
            ).combine_chunks()  # how rows came in pieces does not show in the bytes
            self._writer.write_table(rows.cast(self._schema))
            self._waiting, self._waiting_bytes = [], 0
            pa.default_memory_pool().release_unused()  # else it keeps the most that it ever needed


class ParquetWriter(PartFiles):
    """A Parquet file a part."""

    suffix = "parquet"

    def open_file(self, name: str) -> None:
        """Begin a file, under its interim name."""
        self._file = ParquetRows(self.folder.interim(name), self.schema)

    def write_rows(self, rows: pa.Table) -> None:
        """Add rows to the file."""
        self._file.write(rows)

    def close_file(self) -> None:
        """End the file."""
        self._file.close()


def lists_of(schema: pa.Schema) -> pa.Schema:
    """A schema in which lists have any size: Parquet readers refuse a list of a fixed size that is null."""
    return pa.schema([pa.field(field.name, _list_of(field.type)) for field in schema])


def _list_of(kind: pa.DataType) -> pa.DataType:
    return pa.list_(_list_of(kind.value_type)) if pa.types.is_fixed_size_list(kind) else kind


def settings_of(schema: pa.Schema) -> dict[str, Any]:
    """How columns are stored: a dictionary does nothing for a vector's numbers, nor compression for JPEG and FLAC."""
    plain = [field.name for field in schema if _is_vector(field.type) or field.name in _COMPRESSED_COLUMNS]
    leaves = {field.name: _leaf(field) for field in schema}
    return {
        "compression": {
            leaf: "none" if name in _COMPRESSED_COLUMNS else "zstd" for name, own in leaves.items() for leaf in own
        },
        "use_dictionary": [leaf for name, own in leaves.items() if name not in plain for leaf in own],
        "column_encoding": {
            leaf: "BYTE_STREAM_SPLIT" for field in schema if _is_vector(field.type) for leaf in leaves[field.name]
        }
        or None,
        "write_statistics": [leaf for name, own in leaves.items() if name not in plain for leaf in own],
    }


def _is_vector(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _is_vector(kind.value_type) or bool(pa.types.is_float32(kind.value_type))
    return False


def _leaf(field: pa.Field, prefix: str = "") -> list[str]:
    """Names of a column's leaves, as Parquet counts them."""
    path = f"{prefix}{field.name}"
    if pa.types.is_list(field.type):
        return _leaf(field.type.value_field.with_name("element"), f"{path}.list.")
    if pa.types.is_struct(field.type):
        return [leaf for child in field.type for leaf in _leaf(child, f"{path}.")]
    return [path]
