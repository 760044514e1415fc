"""A snapshot of a store: the versions and live files of tables, resolved once, and rows of one batch out of them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import ConfigError, StoreError
from features.fusion.settings import nearest
from features.schema import BATCH_ID, schema_of
from features.spec import SPEC_KEY, FeatureSpec
from features.store.storage import parquet_file
from features.store.store import Store, files_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from deltalake import DeltaTable
    from numpy.typing import NDArray

_LARGE_BYTES = 4 << 20

AsOf = datetime | dict[str, int] | None
"""The newest version of each table; that of a time; or the versions named, the newest where one is not."""


@dataclass(frozen=True)
class Snapshot:
    """Files of tables as they were at one version each; what rivals commit later does not show.

    Attributes:
        store: The store.
        versions: Version by table; tables that had not been made are missing.
        files: Paths relative to the table's folder, by table and batch.
        specs: Spec by feature table, where it states one.
    """

    store: Store
    versions: dict[str, int]
    files: dict[str, dict[str, tuple[str, ...]]]
    specs: dict[str, FeatureSpec]

    def paths(self, table: str, batch_id: str) -> list[Path]:
        """Files of a batch; none where the table does not have it."""
        folder = self.store.table_path(table)
        return [folder / path for path in self.files.get(table, {}).get(batch_id, ())]

    def read(self, table: str, batch_id: str, columns: Sequence[str], media_id: str | None = None) -> pa.Table:
        """Rows of a batch, of one media where it is named; columns that a file lacks are null.

        Raises:
            StoreError: A file is missing or damaged.
        """
        schema = pa.schema([schema_of(table).field(name) for name in columns])
        tables = [self._read_file(path, table, schema, media_id) for path in self.paths(table, batch_id)]
        return pa.concat_tables(tables) if tables else schema.empty_table()

    def pick(
        self, table: str, batch_id: str, columns: Sequence[str], places: NDArray[np.int64]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Some rows of a batch, for columns too large to hold for all: one group of rows of a file is held at a time.

        Args:
            table: Name of the table.
            batch_id: The batch.
            columns: Columns to read.
            places: Places among the rows that `read` gives of the batch, in any order.

        Yields:
            A place and its row, each place once, in order.

        Raises:
            StoreError: A file is missing or damaged.
        """
        wanted, begin = np.unique(places), 0
        for path in self.paths(table, batch_id):
            with self._opened(path, table) as file:
                for index in range(file.num_row_groups):
                    end = begin + file.metadata.row_group(index).num_rows
                    own = wanted[(wanted >= begin) & (wanted < end)]
                    if len(own):
                        rows = file.read_row_group(index, columns=list(columns), use_threads=False)
                        yield from zip(own.tolist(), _each(rows, own - begin), strict=True)
                    begin = end

    @contextmanager
    def _opened(self, path: Path, table: str) -> Iterator[pq.ParquetFile]:
        try:
            with parquet_file(path) as file:
                yield file
        except (OSError, pa.ArrowInvalid) as error:
            message = (
                f"cannot read {str(path)!r} of table {table!r}, version {self.versions[table]} ({error}); "
                "open the features again, or see what can be done: triptych verify"
            )
            raise StoreError(message) from error

    def _read_file(self, path: Path, table: str, schema: pa.Schema, media_id: str | None) -> pa.Table:
        with self._opened(path, table) as file:
            rows = _rows_of(file, [name for name in schema.names if name in file.schema_arrow.names], media_id)
        if rows.nbytes > _LARGE_BYTES:
            pa.default_memory_pool().release_unused()  # else each thread keeps the most that it ever needed
        there = [
            rows[field.name] if field.name in rows.schema.names else pa.nulls(rows.num_rows, field.type)
            for field in schema
        ]
        return pa.table(there, schema=schema)


def take_snapshot(store: Store, tables: Iterable[str], as_of: AsOf = None) -> Snapshot:
    """Look up the live files of these tables, in the order given; those that have not been made are left out.

    Args:
        store: The store.
        tables: `media` last, so that a batch that it lists has all that was committed with it.
        as_of: Which versions.

    Raises:
        ConfigError: `as_of` names a table that is none of these, or is a time without a zone.
        StoreError: A log cannot be read, or no longer reaches back so far.
    """
    wanted = list(tables)
    _check_as_of(store, as_of, wanted)
    handles = {table: handle for table in wanted if (handle := _handle(store, table, as_of)) is not None}
    return Snapshot(
        store,
        {table: handle.version() for table, handle in handles.items()},
        {table: _files_by_batch(handle) for table, handle in handles.items()},
        {table: spec for table, handle in handles.items() if (spec := _spec_of(handle)) is not None},
    )


def _each(rows: pa.Table, places: NDArray[np.int64]) -> Iterator[dict[str, Any]]:
    """Rows one after another, so that their Python values do not stand beside each other."""
    return (rows.slice(place, 1).to_pylist()[0] for place in places.tolist())


def _rows_of(file: pq.ParquetFile, columns: Sequence[str], media_id: str | None) -> pa.Table:
    if media_id is None:
        return file.read(columns=columns, use_threads=False)
    if file.num_row_groups == 1:
        with_id = file.read(columns=list({"media_id", *columns}), use_threads=False)
        return with_id.filter(pc.equal(with_id["media_id"], media_id)).select(columns)
    ids = file.read(columns=["media_id"], use_threads=False)["media_id"]
    is_own = np.asarray(pc.equal(ids, media_id).to_numpy(), np.bool_)
    sizes = [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)]
    group = np.repeat(np.arange(len(sizes)), sizes)
    groups = np.unique(group[is_own])
    rows = file.read_row_groups(groups.tolist(), columns=columns, use_threads=False)
    return rows.filter(pa.array(is_own[np.isin(group, groups)]))


def _handle(store: Store, table: str, as_of: AsOf) -> DeltaTable | None:
    if not store.has(table):
        return None
    if isinstance(as_of, datetime):
        version = version_at(store, table, as_of)
        return None if version is None else store.load(table, version)
    return store.load(table, (as_of or {}).get(table))


def version_at(store: Store, table: str, when: datetime) -> int | None:
    """The newest version of a table that was committed by a time; None where the table had not been made.

    It goes by the times that the commits state: those of the files change when a store is copied.

    Raises:
        StoreError: The log no longer reaches back so far.
    """
    log = store.table_path(table) / "_delta_log"
    entries = sorted(path for path in log.glob("*.json") if path.stem.isdigit())
    low, high = 0, len(entries)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if _committed_ms(entries[middle]) <= when.timestamp() * 1000 else (low, middle)
    if low:
        return int(entries[low - 1].stem)
    if entries and int(entries[0].stem) == 0:
        return None
    oldest = f"its oldest entry is version {int(entries[0].stem)}" if entries else "it has no entry"
    message = f"the log of table {table!r} no longer reaches back to {when.isoformat()} ({oldest}); name a later time"
    raise StoreError(message)


def _committed_ms(entry: Path) -> float:
    try:
        with entry.open(encoding="utf-8") as file:
            for line in file:
                if "commitInfo" in (action := json.loads(line)):
                    return float(action["commitInfo"]["timestamp"])
    except (OSError, ValueError, KeyError) as error:
        message = f"cannot read the log entry {str(entry)!r} ({error}); name versions instead of a time"
        raise StoreError(message) from error
    return entry.stat().st_mtime * 1000


def _check_as_of(store: Store, as_of: AsOf, tables: Sequence[str]) -> None:
    if isinstance(as_of, datetime):
        if as_of.tzinfo is None:
            message = f"as_of is {as_of.isoformat()!r} without a time zone; write datetime(..., tzinfo=UTC)"
            raise ConfigError(message)
        return
    known = sorted({*tables, *store.tables()})
    for table in as_of or {}:
        if table not in known:
            hint = nearest(table, known) or f"tables are {', '.join(known)}"
            message = f"as_of names table {table!r}, which the store does not have; {hint}"
            raise ConfigError(message)


def _files_by_batch(handle: DeltaTable) -> dict[str, tuple[str, ...]]:
    files = files_of(handle)
    by_batch: dict[str, tuple[str, ...]] = {}
    for path, batch_id in zip(files["path"].to_pylist(), files[BATCH_ID].to_pylist(), strict=True):
        by_batch[batch_id] = (*by_batch.get(batch_id, ()), path)
    return by_batch


def _spec_of(handle: DeltaTable) -> FeatureSpec | None:
    text = handle.metadata().configuration.get(SPEC_KEY)
    return FeatureSpec.from_json(text) if text else None
