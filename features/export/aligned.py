"""Features side by side, a row a segment, with labels and splits beside them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError
from features.export.labels import LABEL_COLUMNS, TaskColumn, labels_beside, task_columns
from features.export.leaving import PURPOSE, who_leaves
from features.export.source import SPLIT, check_columns, cut, read_split, split_table, with_batch
from features.fusion.segments import SEGMENTS, parse_segmentation
from features.fusion.settings import nearest
from features.reading.columns import Padded
from features.reading.open import open_features
from features.reading.raw import RAW_TABLES
from features.reading.snapshot import take_snapshot
from features.schema import BATCH_ID, MEDIA
from features.store.read import read_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from features.export.leaving import Leaving
    from features.export.options import ExportOptions
    from features.export.source import Piece, SplitColumn
    from features.reading.columns import Pool
    from features.reading.open import FeatureReader
    from features.reading.snapshot import Snapshot
    from features.store.store import Store


@dataclass(frozen=True)
class AlignedSource:
    """Segments with their features.

    Attributes:
        reader: Of the features, with all columns that are wanted and those of the segments.
        beside: Snapshot of labels, splits and `media`.
        leaving: Whose segments.
        columns: Columns in order; none: all.
        labels: Table of labels to put beside them, or an empty text.
        tasks: Its tasks.
        split: Splits to put beside them.
    """

    reader: FeatureReader
    beside: Snapshot
    leaving: Leaving
    columns: tuple[str, ...]
    labels: str = ""
    tasks: tuple[TaskColumn, ...] = ()
    split: SplitColumn | None = None

    @property
    def versions(self) -> dict[str, int]:
        """Version of each table that is read."""
        return {**self.beside.versions, **self.reader.versions}

    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of the reader, of the labels' tasks, and of the split."""
        fields = {BATCH_ID: pa.field(BATCH_ID, pa.string()), **{field.name: field for field in self.reader.schema}}
        fields |= {task.field.name: task.field for task in self.tasks}
        if self.split is not None:
            fields[SPLIT] = pa.field(SPLIT, pa.string())
        names = [*self.columns, *(name for name in fields if name == SPLIT and SPLIT not in self.columns)]
        return pa.schema([fields[name] for name in names] if self.columns else list(fields.values()))

    def stream(self, batch_ids: Sequence[str]) -> Iterator[Piece]:
        """Segments of these batches, by media in the order of `media`, then time.

        Raises:
            StoreError: A file is missing or damaged.
        """
        batches = self.reader.stream(batch_ids)
        for batch_id, batch in zip(batch_ids, batches, strict=True):
            yield from cut(batch_id, self._finished(batch_id, pa.Table.from_batches([batch])))

    def _finished(self, batch_id: str, rows: pa.Table) -> pa.Table:
        media = self.beside.read("media", batch_id, ("media_id", "duration_us"))
        is_shown = pc.is_in(rows["media_id"], value_set=self.leaving.of(media["media_id"].combine_chunks()))
        rows = rows if pc.all(is_shown).as_py() else rows.filter(is_shown)
        there = with_batch(rows, batch_id)
        wanted = [task for task in self.tasks if task.field.name in self.schema.names]
        if wanted:
            labels = self.beside.read(self.labels, batch_id, LABEL_COLUMNS)
            exact = self.labels == f"labels/{parse_segmentation(self.reader.segmentation).label_set}"
            there |= labels_beside(rows.select(SEGMENTS.names), labels, media, wanted, exact=exact)
        if self.split is not None:
            there[SPLIT] = self.split.of(rows["media_id"])
        return pa.table([there[name] for name in self.schema.names], schema=self.schema)


def open_aligned(store: Store, options: ExportOptions, as_of: Mapping[str, int] | None) -> AlignedSource:
    """Look up features, aligned with segments.

    Args:
        store: The store.
        options: Which features, segments, columns, labels, splits, batches and media.
        as_of: Versions of the tables, and no tables but these; the newest ones by default.

    Raises:
        ConfigError: A feature, a column, a segmentation, labels or splits are unknown.
        StoreError: A log cannot be read, or no longer reaches back.
    """
    versions = None if as_of is None else dict(as_of)
    names = [name.removeprefix("features/") for name in options.names]
    _check_not_tables(store, names)
    splits = [split_table(store, options.split)] if options.split else []
    labels = [_label_table(store, options.labels)] if options.labels else []
    beside = take_snapshot(store, [*splits, *labels, "media"], versions)
    pinned = {**(versions or {}), **beside.versions}
    tasks = _tasks(store, labels[0], pinned) if labels else ()
    of_media = [name for name in options.columns if name in MEDIA.names and name not in (*SEGMENTS.names, *names)]
    of_media = [name for name in of_media if name != BATCH_ID]
    reader = open_features(
        store,
        names,
        options.segmentation,
        pool=_pools(options.pool, names),
        media_columns=of_media,
        batch_ids=options.batch or None,
        as_of=pinned,
        purpose=PURPOSE,
    )
    extra = [BATCH_ID, *(task.field.name for task in tasks), *([SPLIT] if splits else [])]
    check_columns(options.columns, [*reader.schema.names, *extra])
    reader = replace(reader, schema=_read_schema(reader.schema, options.columns))
    if versions is not None:
        reader = replace(reader, snapshot=_only(reader.snapshot, versions))
    split = read_split(store, splits[0], pinned) if splits else None
    table = labels[0] if labels else ""
    return AlignedSource(reader, beside, who_leaves(beside, options), options.columns, table, tasks, split)


def _read_schema(schema: pa.Schema, columns: Sequence[str]) -> pa.Schema:
    """What the reader has to give: its columns that are wanted, and the keys of segments; no more is read."""
    wanted = {*SEGMENTS.names, *columns} if columns else set(schema.names)
    return pa.schema([field for field in schema if field.name in wanted])


def _only(snapshot: Snapshot, versions: Mapping[str, int]) -> Snapshot:
    """A snapshot without tables that have been made since."""
    return replace(
        snapshot,
        versions={table: version for table, version in snapshot.versions.items() if table in versions},
        files={table: files for table, files in snapshot.files.items() if table in versions},
    )


def _check_not_tables(store: Store, names: Sequence[str]) -> None:
    for name in names:
        if name in store.tables():
            message = f"table {name!r} is no feature, and has no vectors to align with segments; leave out"
            message += " --segmentation for its rows as they are stored"
            raise ConfigError(message)


def _label_table(store: Store, name: str) -> str:
    known = [table.removeprefix("labels/") for table in store.tables() if table.startswith("labels/")]
    if name not in known:
        message = f"there is no label set {name!r}; {nearest(name, known)}the store has {', '.join(known) or 'none'};"
        raise ConfigError(message + f" load one with: triptych label {name} FILE")
    return f"labels/{name}"


def _tasks(store: Store, table: str, versions: Mapping[str, int]) -> tuple[TaskColumn, ...]:
    return task_columns(read_table(store, table, columns=["task", "class"], versions=versions))


def _pools(texts: Sequence[str], names: Sequence[str]) -> dict[str, Pool]:
    """Ways to pool by feature: `max` for all that are not named, `mfcc=max` for one."""
    pools: dict[str, Pool] = {}
    for text in texts:
        name, equals, how = text.rpartition("=")
        if not equals:
            pools = {**{name: _pool(how) for name in names if name not in RAW_TABLES}, **pools}
        else:
            pools[name.removeprefix("features/")] = _pool(how)
    return pools


def _pool(text: str) -> Pool:
    kind, _, number = text.partition(":")
    if kind != "pad":
        return text
    if not number.isdigit():
        message = f"{text!r} is no way to pool; write pad:N, such as pad:50, for the first N rows of a segment"
        raise ConfigError(message)
    return Padded(int(number))
