"""Plans as data: which sources are new, which batches each stage still owes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.identity import make_batch_id
from features.schema import BATCH_ID
from features.store.commit import Settled, commit_files
from features.store.files import FileRecord, write_file
from features.store.read import read_committed
from features.store.rows import table_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from deltalake import DeltaTable

    from features.store.store import Store


class Source(NamedTuple):
    """A file to ingest, as listed.

    `mtime_us` is its last change; `sidecars` are subtitle files beside it; `consent` is `granted`, `refused`
    or `unstated`; `attempt` counts the times that it has been planned, this one too.
    """

    uri: str
    size_bytes: int
    mtime_us: int
    sidecars: tuple[str, ...] = ()
    consent: str = "unstated"
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How large a planned batch may grow.

    Attributes:
        max_bytes: Bytes of sources, so that a batch's file of pictures is 16 to 128 MB.
        max_sources: Sources.
        min_batches: Spread the sources over at least so many batches, where there are enough.
    """

    max_bytes: int = 1 << 30
    max_sources: int = 256
    min_batches: int = 1


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
        )
        lists.setdefault(row[BATCH_ID], []).append(source)
    return tuple(PlannedBatch(batch_id, tuple(lists[batch_id])) for batch_id in sorted(lists))


def plan_sources(
    store: Store,
    sources: Sequence[Source],
    *,
    now: datetime,
    limits: BatchLimits,
    config_fingerprint: str,
    limit: int | None = None,
    metadata: Mapping[str, str] | None = None,
) -> tuple[str, ...]:
    """Commit what is new among listed sources as batches of `sources`; nothing new commits nothing.

    A source is known when its uri, size and time of change stand in `sources`, whatever became of it.

    Args:
        store: The store.
        sources: What was listed.
        now: Time of planning, UTC.
        limits: Size of a batch.
        config_fingerprint: Of the ingest configuration, kept beside each source.
        limit: Plan at most so many sources.
        metadata: Lineage for the commit.

    Returns:
        Ids of the new batches.
    """
    store.ensure("sources")
    new = _new_sources(store, sources)[:limit]
    if not new:
        return ()
    groups = enumerate(_group(new, limits))
    batches = [PlannedBatch(make_batch_id(now, index, _entries(group)), group) for index, group in groups]

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        still_new = {_key(source) for source in _new_sources(store, new)}
        del handle  # read_committed looks at a handle as fresh
        kept = [file for file in files if _any_new(by_id[file.batch_id], still_new)]
        return Settled(
            [_rewrite(store, file, by_id[file.batch_id], still_new, now, config_fingerprint) for file in kept]
        )

    by_id = {batch.batch_id: batch for batch in batches}
    files = [
        write_file(store, "sources", b.batch_id, _source_rows(b.sources, now, config_fingerprint)) for b in batches
    ]
    commit = commit_files(store, "sources", files, stage="plan", metadata=metadata, settle=settle)
    return commit.batch_ids


def waves(batch_ids: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """Cut batches into waves of at most `size`, in order."""
    for start in range(0, len(batch_ids), size):
        yield tuple(batch_ids[start : start + size])


def _key(source: Source) -> tuple[str, int, int]:
    return source.uri, source.size_bytes, source.mtime_us


def _entries(sources: Iterable[Source]) -> list[str]:
    return [f"{source.uri}\n{source.size_bytes}\n{source.mtime_us}" for source in sources]


def _new_sources(store: Store, sources: Sequence[Source]) -> list[Source]:
    rows = read_committed(store, "sources", columns=["uri", "size_bytes", "mtime_us"])
    columns = (rows[name].to_pylist() for name in ("uri", "size_bytes", "mtime_us"))
    known = set(zip(*columns, strict=True))
    unique = {_key(source): source for source in sources}
    return [unique[key] for key in sorted(unique) if key not in known]


def _group(sources: Sequence[Source], limits: BatchLimits) -> Iterator[tuple[Source, ...]]:
    total = sum(source.size_bytes for source in sources)
    even_share = -(-total // max(1, limits.min_batches))
    even_count = -(-len(sources) // max(1, min(limits.min_batches, len(sources))))
    max_bytes, max_sources = min(limits.max_bytes, even_share), min(limits.max_sources, even_count)
    group: list[Source] = []
    size_bytes = 0
    for source in sources:
        if group and (size_bytes + source.size_bytes > max_bytes or len(group) >= max_sources):
            yield tuple(group)
            group, size_bytes = [], 0
        group.append(source)
        size_bytes += source.size_bytes
    yield tuple(group)


def _source_rows(sources: Sequence[Source], now: datetime, config_fingerprint: str) -> pa.Table:
    return table_of(
        "sources",
        ({**source._asdict(), "planned_at": now, "config_fingerprint": config_fingerprint} for source in sources),
    )


def _any_new(batch: PlannedBatch, still_new: set[tuple[str, int, int]]) -> bool:
    return any(_key(source) in still_new for source in batch.sources)


def _rewrite(
    store: Store,
    file: FileRecord,
    batch: PlannedBatch,
    still_new: set[tuple[str, int, int]],
    now: datetime,
    config_fingerprint: str,
) -> FileRecord:
    kept = [source for source in batch.sources if _key(source) in still_new]
    if len(kept) == len(batch.sources):
        return file
    return write_file(store, "sources", batch.batch_id, _source_rows(kept, now, config_fingerprint))
