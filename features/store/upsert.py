"""Rows that people state about media - labels, splits - in the media's batches; a later one replaces an earlier."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from features.schema import BATCH_ID
from features.store.commit import Settled, commit_files, live_files
from features.store.files import FileRecord, write_file
from features.store.index import media_index
from features.store.lineage import carried
from features.store.read import read_committed
from features.store.rows import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deltalake import DeltaTable

    from features.store.lineage import Lineage
    from features.store.store import Store

    Row = dict[str, Any]
    Identity = Callable[[Row], tuple[object, ...]]


class Upserted(NamedTuple):
    """Batches that were rewritten, and rows in them that are new or say something else."""

    batch_ids: tuple[str, ...]
    num_changed: int


def upsert(
    store: Store,
    table: str,
    rows: Sequence[Row],
    *,
    key: Sequence[str] | Identity,
    lineage: Lineage,
) -> Upserted:
    """Put rows into their media's batches in one commit; a row with the same key is replaced.

    Args:
        store: The store.
        table: Such as `labels/sentiment`.
        rows: With `media_id` of committed media.
        key: Columns that tell one row from another, or what makes a row's identity.
        lineage: What writes them.

    Returns:
        What was committed; nothing where the table said all of it before.
    """
    lineage = replace(lineage, stage=f"{lineage.stage}:{uuid.uuid4().hex[:8]}")  # a second write is not the first again
    batch_of = media_index(store).batches_of({row["media_id"] for row in rows})
    by_batch: dict[str, list[Row]] = {}
    for row in rows:
        by_batch.setdefault(batch_of[row["media_id"]], []).append(row)
    store.ensure(table)
    first = _merge(store, table, by_batch, key, lineage)
    num_changed = [first.num_changed]
    if not first.files:
        return Upserted((), 0)

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        del handle, files  # rivals may have written in between: merge with what is there now
        merged = _merge(store, table, by_batch, key, lineage)
        num_changed.append(merged.num_changed)
        return Settled(merged.files, merged.removed)

    commit = commit_files(store, table, first.files, stage=lineage.stage, metadata=lineage.metadata(), settle=settle)
    return Upserted(commit.batch_ids, num_changed[-1])


class _Merge(NamedTuple):
    files: list[FileRecord]
    removed: list[tuple[str, str]]
    num_changed: int


def _merge(
    store: Store,
    table: str,
    by_batch: Mapping[str, Sequence[Row]],
    key: Sequence[str] | Identity,
    lineage: Lineage,
) -> _Merge:
    live = live_files(store.load(table), by_batch.keys())
    before: dict[str, list[Row]] = {batch_id: [] for batch_id in by_batch}
    for row in read_committed(store, table, batch_ids=by_batch.keys()).to_pylist():
        before[row.pop(BATCH_ID)].append(row)
    files, num_changed = [], 0
    for batch_id in sorted(by_batch):
        rows = _merged(before[batch_id], table_of(table, by_batch[batch_id]).to_pylist(), key)
        changed = sum(row not in before[batch_id] for row in rows)
        if changed:
            paths = [path for path, batch in live if batch == batch_id]
            made = carried(store.table_path(table), paths, lineage)
            files.append(write_file(store, table, batch_id, table_of(table, rows), lineage=made))
            num_changed += changed
    written = {file.batch_id for file in files}
    return _Merge(files, [(path, batch) for path, batch in live if batch in written], num_changed)


def _merged(old: Sequence[Row], new: Sequence[Row], key: Sequence[str] | Identity) -> list[Row]:
    def identity(row: Row) -> tuple[object, ...]:
        return key(row) if callable(key) else tuple(row.get(name) for name in key)

    by_key = {identity(row): row for row in (*old, *new)}
    return [by_key[value] for value in sorted(by_key, key=_in_order)]


def _in_order(identity: tuple[object, ...]) -> tuple[tuple[bool, Any], ...]:
    """Numbers by size, texts by letters, what is missing first."""
    return tuple((part is not None, 0 if part is None else part) for part in identity)
