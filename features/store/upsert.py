"""Rows that people state about media - labels, splits - in the media's batches; a later one replaces an earlier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.schema import BATCH_ID
from features.store.commit import Commit, Settled, commit_files
from features.store.files import FileRecord, write_file
from features.store.read import read_committed
from features.store.rows import table_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deltalake import DeltaTable

    from features.store.store import Store

    Row = dict[str, Any]


def batches_of_media(store: Store) -> dict[str, str]:
    """The batch of each committed media."""
    media = read_committed(store, "media", columns=["media_id"])
    return dict(zip(media["media_id"].to_pylist(), media[BATCH_ID].to_pylist(), strict=True))


def upsert(
    store: Store,
    table: str,
    rows: Sequence[Row],
    *,
    key: Sequence[str],
    stage: str,
    metadata: Mapping[str, str] | None = None,
) -> Commit:
    """Put rows into their media's batches in one commit; a row with the same key is replaced.

    Args:
        store: The store.
        table: Such as `labels/sentiment`.
        rows: With `media_id` of committed media.
        key: Columns that tell one row from another.
        stage: Unique name of this write.
        metadata: Lineage.

    Returns:
        What was committed; nothing where the table said all of it before.
    """
    batch_of = batches_of_media(store)
    by_batch: dict[str, list[Row]] = {}
    for row in rows:
        by_batch.setdefault(batch_of[row["media_id"]], []).append(row)
    store.ensure(table)
    files, _ = _merge(store, table, by_batch, key)
    if not files:
        return Commit(table, (), 0, 0)

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        del handle, files  # rivals may have written in between: merge with what is there now
        return Settled(*_merge(store, table, by_batch, key))

    return commit_files(store, table, files, stage=stage, metadata=metadata, settle=settle)


def _merge(
    store: Store, table: str, by_batch: Mapping[str, Sequence[Row]], key: Sequence[str]
) -> tuple[list[FileRecord], list[tuple[str, str]]]:
    before: dict[str, list[Row]] = {batch_id: [] for batch_id in by_batch}
    for row in read_committed(store, table, batch_ids=by_batch.keys()).to_pylist():
        before[row.pop(BATCH_ID)].append(row)
    files = []
    for batch_id in sorted(by_batch):
        old = table_of(table, before[batch_id])
        new = table_of(table, _merged(before[batch_id], by_batch[batch_id], key))
        if not new.equals(old):
            files.append(write_file(store, table, batch_id, new))
    changed = {file.batch_id for file in files}
    live = store.files(table).select(["path", BATCH_ID]).to_pylist()
    return files, [(row["path"], row[BATCH_ID]) for row in live if row[BATCH_ID] in changed]


def _merged(old: Sequence[Row], new: Sequence[Row], key: Sequence[str]) -> list[Row]:
    by_key = {tuple(row.get(name) for name in key): row for row in (*old, *new)}
    return [by_key[value] for value in sorted(by_key, key=repr)]
