"""Parquet files of a batch: written once under a fresh name, public only when the log lists them."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import pyarrow as pa
import pyarrow.parquet as pq

from features.errors import StoreError
from features.schema import BATCH_ID, check_rows, data_schema_of
from features.store.lineage import to_footer
from features.store.storage import is_remote, local_of, put_file, remedy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from features.store.lineage import Lineage
    from features.store.store import Store

_COMPRESSED_COLUMNS = ("jpeg", "flac")
_READ_BYTES = 1 << 20
_ROW_GROUP_BYTES = 8 << 20
_VECTOR_GROUP_BYTES = 1 << 20  # one media is read without its neighbours, and a group is decoded in the cache
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ANSWER = re.compile(r"<Code>(\w+)</Code>(?:.*?<Message>([^<]*)</Message>)?")  # of a bucket, as deltalake repeats it
_SYSTEM = re.compile(r"\[errno \d+\] (?P<arrow>.+)$|(?P<delta>[^:]+) \(os error \d+\)")
_NAME = re.compile(r"part-\d+-([0-9a-f]{32})-[0-9a-f]{32}\.parquet")


class FileRecord(NamedTuple):
    """A Parquet file that waits for its commit; all that ever crosses a shuffle.

    `path` is relative to the table's folder; `checksum` is hex of the file's BLAKE2b-128 and stands in its name, so
    that it outlives the log's cleaning.
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

    def __init__(
        self, store: Store, table: str, batch_id: str, *, part: int = 0, lineage: Sequence[Lineage] = ()
    ) -> None:
        self._table = table
        self._batch_id = batch_id
        self._part = part
        self._uuid = uuid.uuid4().hex
        self._lineage = lineage
        self._folder: Path = store.table_path(table) / f"{BATCH_ID}={batch_id}"
        self._path: Path = local_of(self._folder) / f"part-{part:05d}-{self._uuid}.parquet"
        self._num_rows = 0
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0
        self.record: FileRecord | None = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(
                self._path, data_schema_of(table), write_statistics=False, **_column_settings(table)
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
            self._writer.write_table(rows, row_group_size=_rows_a_group(self._table, rows))
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
                self._writer.add_key_value_metadata(to_footer(self._lineage))
            self._writer.close()
            if kind is None:
                self.record = self._finish()
        except OSError as problem:
            self._path.unlink(missing_ok=True)
            raise _write_error(self._path, problem) from problem
        if kind is not None:
            self._path.unlink(missing_ok=True)

    def _finish(self) -> FileRecord:
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        checksum = checksum_of(self._path)
        name = f"part-{self._part:05d}-{checksum}-{self._uuid}.parquet"
        size_bytes = self._path.stat().st_size
        self._publish(name)
        relative = f"{self._folder.name}/{name}"
        return FileRecord(self._table, self._batch_id, relative, size_bytes, self._num_rows, checksum)

    def _publish(self, name: str) -> None:
        """Give the finished file its name; one for a bucket was written on a disk, and goes there whole."""
        if is_remote(self._folder):
            try:
                put_file(self._path, self._folder / name)
            except OSError as error:
                raise _write_error(self._folder / name, error) from error
            finally:
                self._path.unlink()
        else:
            self._path = self._path.rename(self._folder / name)


def checksum_of(path: Path) -> str:
    """Hex of the BLAKE2b-128 of a file's bytes.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def checksum_in_name(path: str) -> str | None:
    """The checksum that a file's name states; None where the file was not written by `BatchWriter`."""
    found = _NAME.fullmatch(path.rpartition("/")[2])
    return found[1] if found else None


def write_file(
    store: Store, table: str, batch_id: str, rows: pa.Table, *, part: int = 0, lineage: Sequence[Lineage] = ()
) -> FileRecord:
    """Write all rows of a batch as one file, also when there are none (an empty batch counts as done).

    Args:
        store: The store.
        table: Name of the table.
        batch_id: Batch that the rows belong to.
        rows: The rows, without `batch_id`.
        part: Number of the file within the batch.
        lineage: What made the rows; kept in the file's footer.

    Raises:
        SchemaError: The columns are not the table's.
        StoreError: The disk is full or may not be written.
    """
    with BatchWriter(store, table, batch_id, part=part, lineage=lineage) as writer:
        writer.write(rows)
    record = writer.record
    if record is None:  # pragma: no cover - set by a clean exit
        message = f"the file for batch {batch_id!r} of {table!r} was not finished; run again"
        raise StoreError(message)
    return record


def reason_of(error: Exception) -> str:
    """Why a library could not write, on one line: the system's words where it repeats them, without Delta's colours."""
    said = getattr(error, "strerror", None) or str(error)
    text = " ".join(_COLOUR.sub("", said).replace("↳", ":").split()).replace(" :", ":")
    told = _ANSWER.search(text)
    if told:
        return ": ".join(filter(None, told.groups()))
    system = _SYSTEM.search(text)
    return (system["arrow"] or system["delta"]).strip() if system else text


def _rows_a_group(table: str, rows: pa.Table) -> int:
    limit = _VECTOR_GROUP_BYTES if _vectors(data_schema_of(table)) else _ROW_GROUP_BYTES
    num_rows, num_groups = int(rows.num_rows), max(1, int(rows.nbytes) // limit)
    return max(1, -(-num_rows // num_groups))


def _vectors(schema: pa.Schema) -> list[str]:
    return [f"{field.name}.list.element" for field in schema if field.type == pa.list_(pa.float32())]


def _column_settings(table: str) -> dict[str, Any]:
    """How each column is stored; `tests/benchmarks/codecs.py` prints the figures that chose it.

    A vector's numbers hardly repeat, so a dictionary only costs; split into their first, second, third and fourth
    bytes, the first ones compress.
    """
    schema = data_schema_of(table)
    names = _leaf_names(schema)
    vectors = _vectors(schema)
    return {
        "compression": {name: "none" if name in _COMPRESSED_COLUMNS else "zstd" for name in names},
        "use_dictionary": [name for name in names if name not in (*vectors, *_COMPRESSED_COLUMNS)],
        "column_encoding": dict.fromkeys(vectors, "BYTE_STREAM_SPLIT") or None,
    }


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
    what = remedy(path, error, "free space or rights there, then run again")
    return StoreError(f"cannot write {str(path)!r} ({reason_of(error)}); {what}")
