"""Imported vectors into their tables: rows beside those that are there, coverage, dead letters."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError
from features.records import WITH_FAILURES
from features.schema import BATCH_ID, data_schema_of
from features.store.commit import Settled, commit_files, live_files
from features.store.failures import is_open, open_letters, rewrite
from features.store.files import write_file
from features.store.import_places import Place
from features.store.import_spec import import_stage
from features.store.lineage import carried
from features.store.read import read_committed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from deltalake import DeltaTable
    from numpy.typing import NDArray

    from features.spec import FeatureSpec
    from features.store.files import FileRecord
    from features.store.lineage import Lineage
    from features.store.store import Store

    Row = dict[str, Any]
    Merge = Callable[[str, pa.Table], pa.Table]


class Found(NamedTuple):
    """What a file says of one media: how many vectors can be used, and what is wrong with the others, in words."""

    num_rows: int
    problems: tuple[str, ...]

    @property
    def status(self) -> str:
        """As in coverage."""
        return ("partial" if self.num_rows else "failed") if self.problems else "ok"

    @property
    def message(self) -> str | None:
        """As in coverage: the first problem, and how many more there are."""
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        return f"{self.problems[0]}{more}" if self.problems else None


def table_of_vectors(table: str, places: Sequence[Place], values: NDArray[np.float32]) -> pa.Table:
    """Rows of a feature table.

    Args:
        table: Its name.
        places: Media and span of each vector.
        values: Float32 [n, width].
    """
    offsets = np.arange(len(places) + 1, dtype=np.int64) * values.shape[1]
    kind = data_schema_of(table).field("values").type
    flat = pa.array(values.reshape(-1), kind.value_type)
    vectors = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=kind)
    columns = [list(column) for column in zip(*places, strict=True)] if places else [[], [], []]
    return pa.table([*columns, vectors], schema=data_schema_of(table))


def put_rows(store: Store, table: str, batch_ids: Collection[str], merge: Merge, lineage: Lineage) -> int:
    """Let batches of a table hold what `merge` makes of the rows that they hold now, in one commit.

    Args:
        store: The store, which has the table.
        table: Its name.
        batch_ids: The batches.
        merge: Called with a batch and its rows; gives its new ones. Called again where a rival was faster.
        lineage: What changes them.

    Returns:
        How many rows more there are in batches that changed.
    """
    once = replace(lineage, stage=f"{lineage.stage}:{uuid.uuid4().hex[:8]}")  # a second write is not the first again
    looks: dict[int, tuple[Settled, int]] = {}

    def look(handle: DeltaTable) -> Settled:
        if handle.version() not in looks:
            looks[handle.version()] = _looked(store, table, handle, sorted(batch_ids), merge, once)
        return looks[handle.version()][0]

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        del files  # what counts is what is there now
        return look(handle)

    first = look(store.load(table))
    if first.files:
        commit_files(store, table, first.files, stage=once.stage, metadata=once.metadata(), settle=settle)
    return looks[max(looks)][1]


def _looked(
    store: Store, table: str, handle: DeltaTable, batch_ids: Sequence[str], merge: Merge, lineage: Lineage
) -> tuple[Settled, int]:
    live: dict[str, list[str]] = {batch_id: [] for batch_id in batch_ids}
    for path, batch_id in live_files(handle, batch_ids):
        live[batch_id].append(path)
    held = _by_batch(read_committed(store, table, batch_ids=batch_ids, versions={table: handle.version()}))
    files, removed, num_more = [], [], 0
    for batch_id, paths in live.items():
        own = held.get(batch_id, data_schema_of(table).empty_table())
        rows = merge(batch_id, own)
        if not paths or not rows.equals(own):
            made = carried(store.table_path(table), paths, lineage)
            files.append(write_file(store, table, batch_id, rows, lineage=made))
            removed += [(path, batch_id) for path in paths]
            num_more += rows.num_rows - own.num_rows
    return Settled(files, removed), num_more


def _by_batch(rows: pa.Table) -> dict[str, pa.Table]:
    """Rows of each batch; those of one stand together."""
    runs = pc.run_end_encode(rows[BATCH_ID].combine_chunks()) if rows.num_rows else None
    if runs is None:
        return {}
    ends, data = runs.run_ends.to_pylist(), rows.drop_columns([BATCH_ID])
    starts = [0, *ends[:-1]]
    names = runs.values.to_pylist()
    return {name: data.slice(a, b - a).combine_chunks() for name, a, b in zip(names, starts, ends, strict=True)}


def merged_vectors(spec: FeatureSpec, new: pa.Table, held: pa.Table, whole: Collection[str]) -> pa.Table:
    """A batch's vectors and new ones, by media and time.

    A version of a feature says one thing of a media for good: what it holds stays, and more comes only to media that
    failed before, in part or in all.

    Args:
        spec: Of the features.
        new: All vectors of the file that are of the batch.
        held: What the batch holds.
        whole: Media that the coverage calls `ok`.

    Raises:
        ConfigError: The new vectors lack some that are held, or are others.
    """
    media = pc.unique(new["media_id"])
    stated = pc.is_in(held["media_id"], value_set=media)
    before = held.filter(stated)
    _refuse_changes(spec, new, before, whole)
    rows = pa.concat_tables([held.filter(pc.invert(stated)), new])
    keys = [("media_id", "ascending"), ("start_us", "ascending"), ("end_us", "ascending")]
    order = pc.sort_indices(rows.select([name for name, _ in keys]), sort_keys=keys)
    return rows.take(order).combine_chunks()


def _refuse_changes(spec: FeatureSpec, new: pa.Table, before: pa.Table, whole: Collection[str]) -> None:
    ours = {place: number for number, place in enumerate(_places(new))}
    theirs = _places(before)
    gone = [place for place in theirs if place not in ours]
    both = [number for number, place in enumerate(theirs) if place in ours]
    old, now = _matrix(spec, before)[both], _matrix(spec, new)[[ours[theirs[number]] for number in both]]
    other = [theirs[both[number]] for number in np.flatnonzero((old != now).any(axis=1))]
    more = [place for place in ours.keys() - set(theirs) if place.media_id in whole]
    changed = [*other, *gone, *sorted(more)]
    if changed:
        what = "other vectors" if other else "vectors that the file lacks" if gone else "fewer vectors"
        media_id, start_us, end_us = changed[0]
        message = (
            f"{spec.table} holds {what} at {len(changed)} places of these media, such as media {media_id} at "
            f"[{start_us}, {end_us}) µs; a version stays as it is: import the file with --version {spec.version + 1}"
        )
        raise ConfigError(message)


def _places(rows: pa.Table) -> list[Place]:
    return [Place(*place) for place in zip(*(rows[name].to_pylist() for name in Place._fields), strict=True)]


def _matrix(spec: FeatureSpec, rows: pa.Table) -> NDArray[np.float32]:
    flat = rows["values"].combine_chunks().flatten() if rows.num_rows else pa.array([], pa.float32())
    return np.asarray(flat.to_numpy(zero_copy_only=False), np.float32).reshape(rows.num_rows, spec.shape[0])


def merged_coverage(
    spec: FeatureSpec, media: Mapping[str, str | None], found: Mapping[str, Found], held: pa.Table
) -> pa.Table:
    """Coverage of a batch: what the file says of its media; of others what was said before, else that they have none.

    Args:
        spec: Of the features.
        media: Media of the batch, each with the purpose that its consent refuses, or None.
        found: What the file says, by media.
        held: What the batch's coverage says now.
    """
    before = {row["media_id"]: row for row in held.to_pylist()}
    rows: list[Row] = []
    for media_id in sorted(media):
        row: Row = {"media_id": media_id, "num_rows": 0, "status": "absent", "message": None}
        if media_id in found:
            own = found[media_id]
            row |= {"num_rows": own.num_rows, "status": own.status, "message": own.message}
        elif media_id in before:
            row = before[media_id]
        elif media[media_id] is not None:
            row |= {"status": "skipped", "message": f"consent refused for {media[media_id]}"}
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=data_schema_of(spec.coverage_table))


def tell_failures(store: Store, spec: FeatureSpec, found: Mapping[str, Mapping[str, Found]], lineage: Lineage) -> None:
    """One open dead letter for each media of which a vector could not be used; letters of media that are whole close.

    Args:
        store: The store.
        spec: Of the features.
        found: By batch: what the file says, by media.
        lineage: What imports them.
    """
    stage = import_stage(spec)
    waiting = {letter.batch_id for letter in open_letters(store) if letter.stage == stage}
    failing = {b for b, own in found.items() if any(one.status in WITH_FAILURES for one in own.values())}
    batch_ids = sorted((failing | waiting) & found.keys())
    if not batch_ids:
        return

    def change(batch_id: str, rows: list[Row]) -> list[Row]:
        return _told(rows, stage, found[batch_id], lineage.run_id)

    rewrite(store, batch_ids, change, replace(lineage, stage=f"{stage}:{uuid.uuid4().hex[:8]}"))


def _told(rows: Sequence[Row], stage: str, found: Mapping[str, Found], run_id: str) -> list[Row]:
    now = datetime.now(UTC)
    before = {row["media_id"]: row for row in rows if is_open(row, stage)}
    new = {media_id: own for media_id, own in found.items() if own.problems}
    new = {m: own for m, own in new.items() if m not in before or before[m]["message"] != own.message}
    over = {media_id for media_id, own in found.items() if not own.problems} | new.keys()
    closed = [{**row, "closed_at": now} if is_open(row, stage) and row["media_id"] in over else row for row in rows]
    letters = [
        {
            "stage": stage,
            "media_id": media_id,
            "error": "ExtractionError",
            "message": own.message,
            "attempts": (before[media_id]["attempts"] or 1) + 1 if media_id in before else 1,
            "generation": 1,
            "run_id": run_id,
            "failed_at": now,
        }
        for media_id, own in sorted(new.items())
    ]
    return [*closed, *letters]
