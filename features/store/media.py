"""Settling `media` at its commit: the same bytes end as one media, and newer bytes supersede older ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.schema import BATCH_ID
from features.store.commit import Settled
from features.store.files import FileRecord, write_file
from features.store.read import read_committed
from features.store.rows import table_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa
    from deltalake import DeltaTable

    from features.store.store import Store

    Row = dict[str, Any]
    Losers = frozenset[tuple[str, str]]


def known_media_ids(store: Store) -> frozenset[str]:
    """All committed media, to tell a duplicate before it is decoded."""
    return frozenset(read_committed(store, "media", columns=["media_id"])["media_id"].to_pylist())


def read_record(store: Store, file: FileRecord) -> pa.Table:
    """Rows of a file that is not committed yet."""
    with pq.ParquetFile(store.table_path(file.table) / file.path) as parquet:
        return parquet.read()


class MediaSettlement:
    """Decides, on the fresh table at each try of the commit, which of a wave's media stand.

    Attributes:
        losers: After a look: (batch, media) pairs whose bytes another batch had first.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.losers: Losers = frozenset()

    def find_losers(self, files: Sequence[FileRecord]) -> Losers:
        """Pairs (batch, media) of these files whose bytes stand in `media` or in an earlier batch of the wave."""
        own = {file.batch_id for file in files}
        before = read_committed(self._store, "media", columns=["media_id"])
        known = {
            m for b, m in zip(before[BATCH_ID].to_pylist(), before["media_id"].to_pylist(), strict=True) if b not in own
        }
        losers = set()
        for file in sorted(files, key=lambda file: file.batch_id):
            for media_id in read_record(self._store, file)["media_id"].to_pylist():
                if media_id in known:
                    losers.add((file.batch_id, media_id))
                known.add(media_id)
        self.losers = frozenset(losers)
        return self.losers

    def settle(self, handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        """Files to commit: the wave's batches without their losers, and old batches with superseded rows marked."""
        del handle  # the reads below look at a handle as fresh as this one
        losers = self.find_losers(files)
        settled = [self._without(file, losers) for file in files]
        changed = _superseded(read_committed(self._store, "media"), self._newest(settled))
        for batch_id, rows in changed.items():
            settled.append(write_file(self._store, "media", batch_id, table_of("media", rows)))
        live = self._store.files("media").select(["path", BATCH_ID]).to_pylist()
        return Settled(settled, [(row["path"], row[BATCH_ID]) for row in live if row[BATCH_ID] in changed])

    def _without(self, file: FileRecord, losers: Losers) -> FileRecord:
        lost = [media_id for batch_id, media_id in losers if batch_id == file.batch_id]
        if not lost:
            return file
        rows = read_record(self._store, file)
        kept = rows.filter(pc.invert(pc.is_in(rows["media_id"], _strings(lost))))
        return write_file(self._store, file.table, file.batch_id, kept)

    def _newest(self, files: Iterable[FileRecord]) -> dict[str, str]:
        rows = [row for file in files for row in read_record(self._store, file).select(["uri", "media_id"]).to_pylist()]
        return {row["uri"]: row["media_id"] for row in rows}


def settle_results(store: Store, file: FileRecord, losers: Losers) -> FileRecord:
    """The file of `source_results` in which sources whose media lost to another batch are duplicates."""
    lost = {media_id for batch_id, media_id in losers if batch_id == file.batch_id}
    if not lost:
        return file
    rows = read_record(store, file).to_pylist()
    rows = [{**row, "status": "duplicate" if row["media_id"] in lost else row["status"]} for row in rows]
    return write_file(store, file.table, file.batch_id, table_of(file.table, rows))


def _superseded(before: pa.Table, newest: Mapping[str, str]) -> dict[str, list[Row]]:
    """Whole row lists of the old batches in which newer bytes at a known uri supersede a row."""
    rows = before.to_pylist()
    touched = {row[BATCH_ID] for row in rows if _successor(row, newest) != row["superseded_by"]}
    changed: dict[str, list[Row]] = {batch_id: [] for batch_id in sorted(touched)}
    for row in rows:
        batch_id = row.pop(BATCH_ID)
        if batch_id in changed:
            changed[batch_id].append({**row, "superseded_by": _successor(row, newest)})
    return changed


def _successor(row: Row, newest: Mapping[str, str]) -> str | None:
    before: str | None = row["superseded_by"]
    if before is not None or newest.get(row["uri"], row["media_id"]) == row["media_id"]:
        return before
    return newest[row["uri"]]


def _strings(values: Sequence[str]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.string())
