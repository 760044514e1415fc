"""Parquet files of a batch: written once under a fresh name, public only when the log lists them."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from typing import TYPE_CHECKING, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import StoreError
from features.schema import BATCH_ID, check_rows, data_schema_of

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from features.store.store import Store

_COMPRESSED_COLUMNS = ("jpeg", "flac")
_READ_BYTES = 1 << 20
_ROW_GROUP_BYTES = 8 << 20
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class FileRecord(NamedTuple):
    """A Parquet file that waits for its commit; all that ever crosses a shuffle.

    `path` is relative to the table's folder; `checksum` is hex of the file's BLAKE2b-128.
    """

    table: str
    batch_id: str
    path: str
    size_bytes: int
    num_rows: int
    checksum: str


class BatchWriter:
    """Writes one file of one batch in row groups of a few megabytes, so that memory does not grow with the batch.

    Use as a context manager: an error inside removes the file.
    """

    def __init__(self, store: Store, table: str, batch_id: str, *, part: int = 0) -> None:
        self._table = table
        self._batch_id = batch_id
        self._relative = f"{BATCH_ID}={batch_id}/part-{part:05d}-{uuid.uuid4().hex}.parquet"
        self._path: Path = store.table_path(table) / self._relative
        self._num_rows = 0
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self.record: FileRecord | None = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(
                self._path, data_schema_of(table), compression=_compression(table), write_statistics=False
            )
        except OSError as error:
            raise _write_error(self._path, error) from error

    def write(self, rows: pa.Table) -> None:
        """Append rows; they reach the disk when enough of them make a row group, or at the end.

        Raises:
            SchemaError: The columns are not the table's.
            StoreError: The disk is full or may not be written.
        """
        check_rows(self._table, rows)
        self._waiting.append(rows)
        self._num_rows += rows.num_rows
        self._waiting_bytes += rows.nbytes
        if self._waiting_bytes < _ROW_GROUP_BYTES:
            return
        try:
            self._flush()
        except OSError as error:
            raise _write_error(self._path, error) from error

    def _flush(self) -> None:
        if self._waiting:
            rows = pa.concat_tables(self._waiting)
            self._writer.write_table(rows, row_group_size=max(1, rows.num_rows))
            self._waiting.clear()
            self._waiting_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is None:
                self.record = self._finish()
        except OSError as problem:
            self._path.unlink(missing_ok=True)
            raise _write_error(self._path, problem) from problem
        if kind is not None:
            self._path.unlink(missing_ok=True)

    def _finish(self) -> FileRecord:
        digest = hashlib.blake2b(digest_size=16)
        with self._path.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                digest.update(chunk)
            os.fsync(file.fileno())
        return FileRecord(
            self._table, self._batch_id, self._relative, self._path.stat().st_size, self._num_rows, digest.hexdigest()
        )


def write_file(store: Store, table: str, batch_id: str, rows: pa.Table, *, part: int = 0) -> FileRecord:
    """Write all rows of a batch as one file, also when there are none (an empty batch counts as done).

    Raises:
        SchemaError: The columns are not the table's.
        StoreError: The disk is full or may not be written.
    """
    with BatchWriter(store, table, batch_id, part=part) as writer:
        writer.write(rows)
    record = writer.record
    if record is None:  # pragma: no cover - set by a clean exit
        message = f"the file for batch {batch_id!r} of {table!r} was not finished; run again"
        raise StoreError(message)
    return record


def reason_of(error: Exception) -> str:
    """What a library says of a failed write, on one line and without the colours that Delta puts in."""
    return " ".join(_COLOUR.sub("", str(error)).replace("↳", ":").split()).replace(" :", ":")


def _compression(table: str) -> dict[str, str]:
    names = _leaf_names(data_schema_of(table))
    return {name: "none" if name in _COMPRESSED_COLUMNS else "zstd" for name in names}


def _leaf_names(schema: pa.Schema) -> list[str]:
    names = []
    for field in schema:
        if not pa.types.is_list(field.type):
            names.append(field.name)
        elif pa.types.is_struct(field.type.value_type):
            names += [f"{field.name}.list.element.{child.name}" for child in field.type.value_type]
        else:
            names.append(f"{field.name}.list.element")
    return names


def _write_error(path: Path, error: OSError) -> StoreError:
    reason = error.strerror or reason_of(error)
    return StoreError(f"cannot write {str(path)!r} ({reason}); free space or rights there, then run again")
