"""Ways to damage a store behind its back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake

from features.schema import BATCH_ID, schema_of
from features.store.salvage import drop_files, live_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from features.store import Store


def file_of(store: Store, table: str, batch_id: str) -> Path:
    """The one file of a batch."""
    (file,) = live_of(store, table, batch_id)
    return store.table_path(table) / file.path


def everything(folder: Path) -> set[str]:
    """All files below a folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def remove(path: Path) -> None:
    path.unlink()


def flip(path: Path) -> None:
    """One bit in the middle; the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def add_row(path: Path) -> None:
    """The file written anew in its place, its last row twice."""
    with pq.ParquetFile(path) as file:
        rows = file.read()
    pq.write_table(pa.concat_tables([rows, rows.slice(rows.num_rows - 1)]), path)


DAMAGES = (remove, flip, truncate, add_row)


def lose(store: Store, table: str, batch_id: str) -> None:
    """Take a batch out of a table's log."""
    drop_files(store, table, [file.path for file in live_of(store, table, batch_id)])


def append_foreign(store: Store, table: str, batch_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """Rows by another writer of Delta."""
    data = pa.Table.from_pylist([{**row, BATCH_ID: batch_id} for row in rows], schema=schema_of(table))
    write_deltalake(str(store.table_path(table)), data, mode="append", partition_by=[BATCH_ID])
