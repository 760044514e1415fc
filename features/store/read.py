"""Reading committed rows: only live files, only whole batches, only media that `media` lists."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from features.errors import StoreError
from features.schema import BATCH_ID, schema_of
from features.store.storage import parquet_dataset, parquet_file

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from features.store.store import Store

_MANY_FILES = 64
_FILES_A_DATASET = 1000
_NOT_OF_MEDIA = ("media", "sources", "source_results", "failures", "runs", "tombstones")


def read_table(
    store: Store,
    table: str,
    *,
    batch_ids: Collection[str] | None = None,
    columns: Sequence[str] | None = None,
    versions: Mapping[str, int] | None = None,
) -> pa.Table:
    """Rows of a table that belong to whole batches, in order of batch and file.

    Args:
        store: The store.
        table: Name of the table; one that has not been made is empty.
        batch_ids: Read these batches only.
        columns: Read these columns only (and `batch_id`).
        versions: Read as of these versions, by table; the newest where a table is not named.

    Returns:
        Rows with `batch_id` first. Rows of a batch that `media` does not list, or of a media that another batch
        won (the same bytes twice at once), are left out.

    Raises:
        StoreError: A file that the log lists is missing or damaged.
    """
    wanted = _with_media_id(table, columns)
    rows = read_committed(store, table, batch_ids=batch_ids, columns=wanted, versions=versions)
    if table not in _NOT_OF_MEDIA:
        media = read_committed(store, "media", batch_ids=batch_ids, columns=["media_id"], versions=versions)
        rows = _of_whole_batches(media, rows)
    return rows.select([BATCH_ID, *columns]) if columns is not None else rows


def read_committed(
    store: Store,
    table: str,
    *,
    batch_ids: Collection[str] | None = None,
    columns: Sequence[str] | None = None,
    versions: Mapping[str, int] | None = None,
) -> pa.Table:
    """Rows of a table's live files, also of batches that are not whole yet."""
    schema = schema_of(table)
    if columns is not None:
        schema = pa.schema([schema.field(BATCH_ID), *(schema.field(name) for name in columns)])
    if not store.has(table):
        return schema.empty_table()
    files = store.files(table, (versions or {}).get(table))
    if batch_ids is not None:
        files = files.filter(pc.is_in(files[BATCH_ID], pa.array(sorted(batch_ids), pa.string())))
    return read_files(store, table, files, schema)


def read_files(store: Store, table: str, files: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of some files of a table, in their order.

    Args:
        store: The store.
        table: Name of the table.
        files: Columns path and batch_id, as `Store.files` tells them.
        schema: Columns to read; one that a file lacks is null.

    Raises:
        StoreError: A file is missing or damaged.
    """
    if files.num_rows > _MANY_FILES:
        with suppress(OSError, pa.ArrowInvalid):  # then file by file, to name the one that is wrong
            return _read_together(store.table_path(table), files["path"].to_pylist(), schema)
    tables = [_read_file(store, table, row["path"], row[BATCH_ID], schema) for row in files.to_pylist()]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _read_together(folder: Path, paths: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Many small files, four times as fast as one by one; some at a time, for a dataset keeps all their footers."""
    tables = []
    for start in range(0, len(paths), _FILES_A_DATASET):
        some = [folder / path for path in paths[start : start + _FILES_A_DATASET]]
        partitioning = ds.partitioning(pa.schema([schema.field(BATCH_ID)]), flavor="hive")
        tables.append(parquet_dataset(some, schema, partitioning=partitioning).to_table())
    return pa.concat_tables(tables)


def _read_file(store: Store, table: str, relative: str, batch_id: str, schema: pa.Schema) -> pa.Table:
    path = store.table_path(table) / relative
    names = [name for name in schema.names if name != BATCH_ID]
    try:
        with parquet_file(path) as file:
            there = [name for name in names if name in file.schema_arrow.names]
            rows = file.read(columns=there)
    except (OSError, pa.ArrowInvalid) as error:
        message = f"cannot read {str(path)!r} of table {table!r} ({error}); see what can be done: triptych verify"
        raise StoreError(message) from error
    data = {name: rows[name] if name in there else pa.nulls(rows.num_rows, schema.field(name).type) for name in names}
    data[BATCH_ID] = pa.array([batch_id], pa.string()).take(pa.array([0] * rows.num_rows, pa.int32()))
    return pa.table([data[name] for name in schema.names], schema=schema)


def _with_media_id(table: str, columns: Sequence[str] | None) -> Sequence[str] | None:
    if columns is None or table in _NOT_OF_MEDIA or "media_id" in columns:
        return columns
    return ["media_id", *columns]


def _of_whole_batches(media: pa.Table, rows: pa.Table) -> pa.Table:
    """Semi-join with `media` on batch and media, keeping order."""
    whole = pc.binary_join_element_wise(media[BATCH_ID], media["media_id"], "/")
    keys = pc.binary_join_element_wise(rows[BATCH_ID], rows["media_id"], "/")
    return rows.filter(pc.is_in(keys, whole.combine_chunks() if whole.num_chunks else pa.array([], pa.string())))
