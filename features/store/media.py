"""Settling `media` at its commit: the same bytes end as one media, and newer bytes supersede older ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features.schema import BATCH_ID
from features.store.commit import Settled, live_files
from features.store.files import FileRecord, write_file
from features.store.index import media_index
from features.store.lineage import carried, read_lineage
from features.store.read import read_committed
from features.store.rows import table_of
from features.store.storage import parquet_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from deltalake import DeltaTable

    from features.store.store import Store

    Row = dict[str, Any]
    Losers = frozenset[tuple[str, str]]


class Claim(NamedTuple):
    """A batch found these bytes at a URI; of two claims on one URI, the later batch's holds."""

    batch_id: str
    uri: str
    media_id: str


def read_record(store: Store, file: FileRecord) -> pa.Table:
    """Rows of a file that is not committed yet."""
    with parquet_file(store.table_path(file.table) / file.path) as parquet:
        return parquet.read().replace_schema_metadata(None)


def duplicates_in(store: Store, results: Iterable[FileRecord]) -> tuple[Claim, ...]:
    """Claims of sources whose bytes were known before, from uncommitted files of `source_results`."""
    return tuple(
        Claim(file.batch_id, row["uri"], row["media_id"])
        for file in results
        for row in read_record(store, file).to_pylist()
        if row["status"] == "duplicate"
    )


class MediaSettlement:
    """Decides, on the fresh table at each try of the commit, which of a wave's media stand.

    Attributes:
        losers: After a look: (batch, media) pairs whose bytes another batch had first.
    """

    def __init__(self, store: Store, duplicates: Sequence[Claim] = ()) -> None:
        self._store = store
        self._duplicates = duplicates
        self.losers: Losers = frozenset()

    def find_losers(self, files: Sequence[FileRecord]) -> Losers:
        """Pairs (batch, media) of these files whose bytes stand in `media` or in an earlier batch of the wave."""
        own = {file.batch_id for file in files}
        rows = [(claim.batch_id, claim.media_id) for claim in self._claims(sorted(files, key=_batch))]
        index = media_index(self._store)
        taken = {media_id for media_id, batch in index.batches_of({m for _, m in rows}).items() if batch not in own}
        losers = set()
        for batch_id, media_id in rows:
            if media_id in taken:
                losers.add((batch_id, media_id))
            taken.add(media_id)
        self.losers = frozenset(losers)
        return self.losers

    def settle(self, handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        """Files to commit: the wave's batches without their losers, and old batches with superseded rows marked."""
        losers = self.find_losers(files)  # looks at a handle as fresh as this one, or fresher: then a rival refuses it
        claims = [*self._claims(files), *self._duplicates]
        own = {file.batch_id for file in files}
        others = sorted(media_index(self._store).batches_of_uris({claim.uri for claim in claims}) - own)
        before = read_committed(self._store, "media", batch_ids=others)
        known = (Claim(row[BATCH_ID], row["uri"], row["media_id"]) for row in _known(before))
        newest = _newest([*sorted(known), *sorted(claims)])
        settled = [self._settled(file, losers, newest) for file in files]
        changed = _superseded(before, newest)
        removed = live_files(handle, changed.keys())
        for batch_id, rows in changed.items():
            paths = [path for path, batch in removed if batch == batch_id]
            lineage = carried(self._store.table_path("media"), paths)
            settled.append(write_file(self._store, "media", batch_id, table_of("media", rows), lineage=lineage))
        return Settled(settled, removed)

    def _claims(self, files: Iterable[FileRecord]) -> Iterator[Claim]:
        for file in files:
            for row in read_record(self._store, file).select(["uri", "media_id"]).to_pylist():
                yield Claim(file.batch_id, row["uri"], row["media_id"])

    def _settled(self, file: FileRecord, losers: Losers, newest: Mapping[str, str]) -> FileRecord:
        """The file without its losers, and with the rows marked that a later batch has superseded already."""
        lost = [media_id for batch_id, media_id in losers if batch_id == file.batch_id]
        given = read_record(self._store, file)
        kept = given.filter(pc.invert(pc.is_in(given["media_id"], pa.array(lost, pa.string()))))
        rows = table_of("media", ({**row, "superseded_by": _successor(row, newest)} for row in kept.to_pylist()))
        return file if rows.equals(given) else _rewritten(self._store, file, rows)


def settle_results(store: Store, file: FileRecord, losers: Losers) -> FileRecord:
    """The file of `source_results` in which sources whose media lost to another batch are duplicates."""
    lost = {media_id for batch_id, media_id in losers if batch_id == file.batch_id}
    if not lost:
        return file
    rows = read_record(store, file).to_pylist()
    rows = [{**row, "status": "duplicate" if row["media_id"] in lost else row["status"]} for row in rows]
    return _rewritten(store, file, table_of(file.table, rows))


def _batch(file: FileRecord) -> str:
    return file.batch_id


def _rewritten(store: Store, file: FileRecord, rows: pa.Table) -> FileRecord:
    lineage = read_lineage(store.table_path(file.table) / file.path)
    return write_file(store, file.table, file.batch_id, rows, lineage=lineage)


def _known(before: pa.Table) -> Iterator[Row]:
    """Rows that hold their URI: a superseded one does so no more."""
    return (row for row in before.to_pylist() if row["superseded_by"] is None)


def _newest(claims: Iterable[Claim]) -> dict[str, str]:
    """By URI: the media that the batch found there that was planned last; in one second, the one that comes last."""
    return {claim.uri: claim.media_id for claim in sorted(claims, key=_planned_at)}


def _planned_at(claim: Claim) -> str:
    return claim.batch_id.partition("-")[0]


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
    """What supersedes a media; nothing where its own bytes are (again) the newest at its URI."""
    before: str | None = row["superseded_by"]
    now = newest.get(row["uri"])
    if now is None or now == row["media_id"]:
        return before if now is None else None
    return before if before is not None else now
