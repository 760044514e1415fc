"""Plans as data: which sources are new, which batches each stage still owes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.identity import fingerprint, make_batch_id, second_of_batch
from features.samples.record import sample_of_row
from features.schema import BATCH_ID, data_schema_of
from features.store.commit import Settled, commit_files
from features.store.files import write_file
from features.store.known import KnownSources
from features.store.lineage import Lineage, code_version
from features.store.listing import KEY, listing_of
from features.store.read import read_committed
from features.store.tombstones import without_forgotten

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from deltalake import DeltaTable

    from features.samples.record import Sample
    from features.store.files import FileRecord
    from features.store.store import Store

_TABLE = "sources"
_SMALL_NIGHT_BATCHES = 4


class Source(NamedTuple):
    """A file to ingest, as listed.

    `mtime_us` is its last change; `sidecars` are subtitle files beside it; `consent` is `granted`, `refused`
    or `unstated`; `attempt` counts the times that it has been planned, this one too; `etag` tells contents of one size
    and time apart, where something does; `sample` is what a row of a manifest says of it.
    """

    uri: str
    size_bytes: int
    mtime_us: int
    sidecars: tuple[str, ...] = ()
    consent: str = "unstated"
    attempt: int = 1
    etag: str | None = None
    sample: Sample | None = None


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a planned batch may grow.

    Attributes:
        max_bytes: Bytes of sources, so that a batch's file of pictures is 16 to 128 MB.
        max_sources: Sources.
        min_batches: Spread the sources over so many batches, to keep all workers busy: a small night over a few of any
            size, a larger one over more as long as each has `min_bytes`.
        min_bytes: Bytes of sources below which more batches would only make small files.
    """

    max_bytes: int = 1 << 30
    max_sources: int = 256
    min_batches: int = 1
    min_bytes: int = 16 << 20


class PlannedBatch(NamedTuple):
    """A batch as it stands in `sources`."""

    batch_id: str
    sources: tuple[Source, ...]


def pending_batches(store: Store, done: str, *, of: str = "media", needs: Collection[str] = ()) -> tuple[str, ...]:
    """Batches that one table has and another lacks, from the logs alone.

    Args:
        store: The store.
        done: Table that marks a batch as done, such as `coverage/mfcc@1`.
        of: Table whose batches are wanted.
        needs: Tables that must have the batch too: inputs that are another's output.

    Returns:
        Batch ids, oldest first.
    """
    wanted = store.batches(of) - store.batches(done)
    for table in needs:
        wanted &= store.batches(table)
    return tuple(sorted(wanted))


def unfinished_batches(store: Store) -> tuple[str, ...]:
    """Planned batches whose `media` is not committed, oldest first."""
    return pending_batches(store, "media", of="sources")


def read_plan(store: Store, batch_ids: Collection[str]) -> tuple[PlannedBatch, ...]:
    """The stored lists of batches, in order of their ids."""
    rows = read_committed(store, "sources", batch_ids=batch_ids)
    lists: dict[str, list[Source]] = {}
    for row in rows.to_pylist():
        source = Source(
            row["uri"],
            row["size_bytes"],
            row["mtime_us"],
            tuple(row["sidecars"] or ()),
            row["consent"] or "unstated",
            row["attempt"] or 1,
            row["etag"],
            sample_of_row(row["sample"]),
        )
        lists.setdefault(row[BATCH_ID], []).append(source)
    return tuple(PlannedBatch(batch_id, tuple(lists[batch_id])) for batch_id in sorted(lists))


def plan_sources(
    store: Store,
    sources: Iterable[Source],
    *,
    now: datetime,
    limits: BatchLimits,
    config: str = "",
    limit: int | None = None,
    run_id: str = "",
    again: bool = False,
) -> tuple[str, ...]:
    """Commit what is new among listed sources as batches of `sources`; nothing new commits nothing.

    A source is known when its uri, size, time of change and tag stand in `sources`, whatever became of it.

    Args:
        store: The store.
        sources: What was listed; read once.
        now: Time of planning, UTC.
        limits: Size of a batch.
        config: JSON of the options that the sources shall be decoded with; kept with the plan.
        limit: Plan at most so many sources.
        run_id: Run that plans, for lineage.
        again: Plan sources although they are known; each attempt at one is planned once.

    Returns:
        Ids of the new batches.

    Raises:
        StoreError: `sources` is damaged, or cannot be written.
    """
    store.ensure(_TABLE)
    known = KnownSources(store, again=again)
    new = listing_of(known.new_of(sources), again=again)
    new = without_forgotten(store, new).slice(0, limit)  # after the look: an erased row's tombstone is there by then
    if not new.num_rows:
        return ()
    lineage = Lineage(run_id, "plan", code_version(), fingerprint=fingerprint(config), config=config)
    stated = {"planned_at": now, "config_fingerprint": lineage.fingerprint}
    since = _after_all(store, now)
    drafts = {make_batch_id(since, i, rows[KEY].to_pylist()): rows for i, rows in enumerate(_batches(new, limits))}

    def write(batch_id: str) -> FileRecord:
        return write_file(store, _TABLE, batch_id, _rows_of(drafts[batch_id], stated), lineage=[lineage])

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        del handle  # the look below is as fresh
        drafts.update(zip(drafts, known.strike(list(drafts.values())), strict=True))
        kept = [file for file in files if drafts[file.batch_id].num_rows]
        return Settled([f if f.num_rows == drafts[f.batch_id].num_rows else write(f.batch_id) for f in kept])

    files = [write(batch_id) for batch_id in drafts]
    return commit_files(store, _TABLE, files, stage="plan", metadata=lineage.metadata(), settle=settle).batch_ids


def _after_all(store: Store, now: datetime) -> datetime:
    """The time that new batches are named after: later than every batch there is, whatever the clock says.

    What is planned later then sorts later: a retry in the same second, or after a clock was set back.
    """
    latest = second_of_batch(max(store.batches(_TABLE), default=""))
    return now if latest is None else max(now, latest + timedelta(seconds=1))


def waves(batch_ids: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """Cut batches into waves of at most `size`, in order."""
    for start in range(0, len(batch_ids), size):
        yield tuple(batch_ids[start : start + size])


def _batches(listed: pa.Table, limits: BatchLimits) -> Iterator[pa.Table]:
    """A listing cut into batches, in order."""
    start = 0
    for count in _even_cuts(listed["size_bytes"].to_pylist(), limits):
        yield listed.slice(start, count)
        start += count


def _even_cuts(sizes_bytes: Sequence[int], limits: BatchLimits) -> Iterator[int]:
    """Number of sources in each batch: within the limits, no more batches than wanted, about equally full."""
    least = sum(1 for _ in _cuts(sizes_bytes, limits, 1))
    spread = max(_SMALL_NIGHT_BATCHES, sum(sizes_bytes) // limits.min_bytes)
    wanted = min(len(sizes_bytes), max(least, min(limits.min_batches, spread)))
    yield from _cuts(sizes_bytes, limits, wanted)


def _cuts(sizes_bytes: Sequence[int], limits: BatchLimits, wanted: int) -> Iterator[int]:
    """A batch ends where it is full, or nearest to an even share of what is left for the batches still wanted.

    A source fills a batch by its bytes and by being one more.
    """
    fills = [size / limits.max_bytes + 1 / limits.max_sources for size in sizes_bytes]
    left, count, size_bytes, filled = sum(fills), 0, 0, 0.0
    for size, fill in zip(sizes_bytes, fills, strict=True):
        full = size_bytes + size > limits.max_bytes or count >= limits.max_sources
        if count and (full or filled + fill / 2 > left / wanted):
            yield count
            left, wanted = left - filled, max(1, wanted - 1)
            count, size_bytes, filled = 0, 0, 0.0
        count, size_bytes, filled = count + 1, size_bytes + size, filled + fill
    yield count


def _rows_of(listed: pa.Table, stated: Mapping[str, object]) -> pa.Table:
    """Rows of `sources`: what was listed, and what is the same for all."""
    schema = data_schema_of(_TABLE)
    columns = []
    for field in schema:
        there = field.name in listed.column_names
        columns.append(listed[field.name] if there else _repeated(stated.get(field.name), field.type, listed.num_rows))
    return pa.table(columns, schema=schema)


def _repeated(value: object, kind: pa.DataType, count: int) -> pa.Array:
    return pa.array([value] * count, kind)
