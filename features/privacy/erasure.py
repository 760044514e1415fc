"""Erasure: a media's rows leave every table, and every file that held them leaves the disk.

A tombstone is written first. Whatever breaks off after that is completed by `complete_erasure`, which starts from the
tombstones alone, does only what is left to do, and may run twice at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features.schema import BASE_TABLES, BATCH_ID, OPTIONAL_TABLES
from features.store.cleansing import Cleanser, erase_rows, key_rows, new_groups, traces
from features.store.files import checksum_in_name
from features.store.index import forget_index
from features.store.leases import live_leases
from features.store.plan import unfinished_batches
from features.store.storage import remove_files
from features.store.tombstones import KEY_COLUMNS, Place, add_tombstones, if_forgotten, read_tombstones

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from features.store.leases import Lease
    from features.store.store import Store
    from features.store.tombstones import Tombstones

REPORT = "report.html"
"""The store's own report; it shows pictures and names."""

_WHOLE = ("media", "sources", "source_results", "failures")
"""Tables in which any batch may name a media, beside `splits/...`: they are looked through whole; they are small."""

_NEVER = ("tombstones", "runs")
_LAST = ("failures", "sources", "source_results", "media")


class Named(NamedTuple):
    """A media, by what people call it."""

    media_id: str
    name: str
    batch_id: str


@dataclass(frozen=True, slots=True)
class ErasurePlan:
    """What forgetting some media will do.

    Attributes:
        media: The media, by name.
        places: Where their bytes lay, and which batches have rows of them.
        rows: Rows that will go, by table.
        batches: Batches whose files will be replaced.
    """

    media: tuple[Named, ...]
    places: tuple[Place, ...]
    rows: Mapping[str, int]
    batches: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure did.

    Attributes:
        rows: Rows that went, by table.
        num_files: Files that were deleted.
        waiting: Files that may hold rows and were left, for a run is at work on their batch: erase again after it.
        report: Whether the store's report was deleted.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    num_files: int = 0
    waiting: tuple[str, ...] = ()
    report: bool = False


class Trace(NamedTuple):
    """A file that has rows of a forgotten media, or names one; relative to the store. `live`: a log lists it."""

    table: str
    path: str
    live: bool


def plan_erasure(store: Store, media_ids: Collection[str]) -> ErasurePlan:
    """Look up what forgetting these media will do; nothing is written."""
    media = _of_media(key_rows(store, "media", None, ["media_id", "name"]), media_ids).to_pylist()
    named = tuple(sorted(Named(row["media_id"], row["name"], row[BATCH_ID]) for row in media))
    places = _places(store, media_ids)
    tombstones = if_forgotten(store, places)
    living = _living(store, tombstones)
    rows: dict[str, int] = {}
    batches: set[str] = set()
    for table in _tables(store):
        gone, touched = _touched(store, table, tombstones, living)
        rows |= {table: gone} if gone else {}
        batches |= touched
    return ErasurePlan(named, places, rows, tuple(sorted(batches)))


def erase(store: Store, plan: ErasurePlan, run_id: str) -> Erased:
    """Forget what a plan names, for good.

    Raises:
        StoreError: A table cannot be read or written; run again, and it goes on from there.
    """
    add_tombstones(store, plan.places, run_id)
    return complete_erasure(store, run_id)


def complete_erasure(store: Store, run_id: str) -> Erased:
    """Do what is left of all erasures: rows, then old files, the index and the report.

    Raises:
        StoreError: A table cannot be read or written.
    """
    tombstones = read_tombstones(store)
    if tombstones is None:
        return Erased()
    living = _living(store, tombstones)
    rows = {}
    for table in _tables(store):
        groups = _groups(store, table, tombstones)
        cleanser = Cleanser(store, table, tombstones, run_id, living=living, groups=groups)
        _, touched = _touched(store, table, tombstones, living)
        count = erase_rows(store, table, touched, cleanser) if touched else 0
        if count:
            rows[table] = count
    doomed, waiting = _doomed(store, tombstones, living)
    told = bool(rows or doomed) and _drop_derived(store)  # first: once no file is left, nothing tells that it is due
    remove_files(doomed)
    return Erased(rows, len(doomed), waiting, told)


def _drop_derived(store: Store) -> bool:
    """Delete what was made of the tables: the index, and the report; whether there was one."""
    forget_index(store)
    report = store.path / REPORT
    told = report.exists()
    report.unlink(missing_ok=True)
    return told


def rows_of_forgotten(store: Store) -> Iterator[Trace]:
    """Every file of a store that still has rows of a forgotten media; none, once an erasure is complete."""
    tombstones = read_tombstones(store)
    if tombstones is None:
        return
    living, live = _living(store, tombstones), _live(store)
    for path in _files(store):
        try:
            found = traces(path, tombstones, living)
        except (OSError, pa.ArrowException):
            continue  # `verify` finds what is damaged
        if found:
            relative = _relative(store, path)
            yield Trace(relative.partition(f"/{BATCH_ID}=")[0], relative, relative in live)


def _tables(store: Store) -> list[str]:
    """All tables that may have rows of a media; `media` last, so that a name finds it until all else is gone."""
    tables = [table for table in store.tables() if table not in _NEVER]
    return sorted(tables, key=lambda table: (_LAST.index(table) if table in _LAST else -1, table))


def _suspected(store: Store, table: str, tombstones: Tombstones) -> frozenset[str] | None:
    """Batches of a table in which there may be rows of what was forgotten; None for all."""
    if table in _WHOLE or table.startswith("splits/"):
        return None
    return tombstones.batches | frozenset(unfinished_batches(store))


def _places(store: Store, media_ids: Collection[str]) -> tuple[Place, ...]:
    """Batches with rows of media, and the sources there that held their bytes."""
    found: dict[tuple[str, str], set[str]] = {}
    for table in ("media", "source_results", "failures"):
        for row in _of_media(key_rows(store, table, None, ["media_id", "uri"]), media_ids).to_pylist():
            found.setdefault((row[BATCH_ID], row["media_id"]), set()).add(row["uri"])
    batches = {batch_id for batch_id, _ in found}
    sources: dict[tuple[str, str], list[tuple[int | None, int | None]]] = {}
    for row in key_rows(store, "sources", batches, ["uri", "size_bytes", "mtime_us"]).to_pylist():
        sources.setdefault((row[BATCH_ID], row["uri"]), []).append((row["size_bytes"], row["mtime_us"]))
    places = [
        Place(media_id, batch_id, uri, *stated)
        for (batch_id, media_id), uris in found.items()
        for uri in uris - {None}
        for stated in sources.get((batch_id, uri), [(None, None)])
    ]
    bare = [Place(media_id, batch_id) for batch_id, media_id in found if found[batch_id, media_id] == {None}]
    return tuple(sorted({*places, *bare, *_unfinished(store, media_ids)}, key=repr))


def _unfinished(store: Store, media_ids: Collection[str]) -> Iterator[Place]:
    """Batches that a killed ingest left half committed."""
    for table in (*BASE_TABLES, *OPTIONAL_TABLES):
        rows = key_rows(store, table, unfinished_batches(store), ["media_id"])
        for row in _of_media(rows, media_ids).to_pylist():
            yield Place(row["media_id"], row[BATCH_ID])


def _of_media(rows: pa.Table, media_ids: Collection[str]) -> pa.Table:
    return rows.filter(pc.is_in(rows["media_id"], pa.array(sorted(media_ids), pa.string())))


def _living(store: Store, tombstones: Tombstones) -> frozenset[str]:
    """Of the places where forgotten bytes lay, those that other media hold."""
    living: set[str] = set()
    for table in ("media", "source_results"):
        rows = key_rows(store, table, None, ["media_id", "uri"])
        others = rows.filter(pa.array(rows["media_id"].is_valid().to_numpy() & ~tombstones.gone(rows)))
        living.update(others["uri"].to_pylist())
    return frozenset(uri for uri in living if uri is not None and tombstones.uri_hash(uri) in tombstones.uris)


def _touched(store: Store, table: str, tombstones: Tombstones, living: Collection[str]) -> tuple[int, frozenset[str]]:
    """How many rows have to go, and batches with rows that go or change."""
    rows = key_rows(store, table, _suspected(store, table, tombstones), KEY_COLUMNS)
    going = tombstones.gone(rows, living)
    touched = rows.filter(pa.array(going | tombstones.points(rows)))[BATCH_ID]
    return int(going.sum()), frozenset(touched.to_pylist())


def _groups(store: Store, table: str, tombstones: Tombstones) -> dict[str, str]:
    if not table.startswith("splits/"):
        return {}
    return new_groups(key_rows(store, table, None, ["group_id", "media_id"]), tombstones)


def _doomed(store: Store, tombstones: Tombstones, living: Collection[str]) -> tuple[list[Path], tuple[str, ...]]:
    """Files that no log lists and that hold what was forgotten, whoever left them; and those left to a run.

    A file that a run has not committed yet is left to it: the commit lets no such rows in, and deletes it. One that was
    never finished cannot be read; it goes where its batch had rows of what was forgotten, and nobody is at work on it.
    """
    live, busy = _live(store), live_leases(store)
    removed = _removed(store) if busy else frozenset()
    suspected = tombstones.batches | frozenset(unfinished_batches(store))
    doomed: list[Path] = []
    waiting: list[Path] = []
    for path in _files(store):
        batch_id = path.parent.name.removeprefix(f"{BATCH_ID}=")
        if _relative(store, path) in live or not _may_hold(path, tombstones, living, batch_id in suspected):
            continue
        of_a_run = _relative(store, path) not in removed and _is_written_by(busy, batch_id, path)
        (waiting if of_a_run else doomed).append(path)
    live = _live(store) if doomed else live  # what was committed meanwhile is the business of its commit
    doomed = [path for path in doomed if _relative(store, path) not in live]
    return doomed, tuple(_relative(store, path) for path in waiting)


def _relative(store: Store, path: Path) -> str:
    return path.relative_to(store.path).as_posix()


def _is_written_by(busy: Sequence[Lease], batch_id: str, path: Path) -> bool:
    """Whether one who is at work on the batch may have made the file: it is younger than they are."""
    since = [lease.holder.started for lease in busy if lease.name.endswith(batch_id)]
    return bool(since) and path.stat().st_mtime >= min(since)


def _may_hold(path: Path, tombstones: Tombstones, living: Collection[str], suspected: bool) -> bool:
    try:
        return traces(path, tombstones, living)
    except FileNotFoundError:
        return False
    except (OSError, pa.ArrowException):
        return suspected and checksum_in_name(path.name) is None


def _live(store: Store) -> frozenset[str]:
    return frozenset(f"{table}/{path}" for table in store.tables() for path in store.files(table)["path"].to_pylist())


def _removed(store: Store) -> frozenset[str]:
    """Files that a log listed once: no run waits to commit them."""
    handles = {table: store.load(table) for table in store.tables()}
    lists = {t: h.vacuum(0, dry_run=True, enforce_retention_duration=False) for t, h in handles.items()}
    return frozenset(f"{table}/{path}" for table, paths in lists.items() for path in paths)


def _files(store: Store) -> Sequence[Path]:
    """Parquet files of batches, of tables that there are, were, or were never begun; but no tombstones."""
    found = store.path.rglob(f"{BATCH_ID}=*/*.parquet")
    return sorted(path for path in found if path.relative_to(store.path).parts[0] not in _NEVER)
