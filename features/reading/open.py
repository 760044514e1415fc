"""An opened reader: features of a store aligned with segments, batch by batch, in memory that does not grow."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError, StoreError
from features.fusion.segments import SEGMENTS, check_shots, parse_segmentation, segments_of
from features.fusion.settings import nearest
from features.privacy.consent import allowed
from features.reading.columns import FeatureColumn, Pool, feature_columns, find_keys
from features.reading.raw import RAW_TABLES, RawColumn
from features.reading.snapshot import AsOf, Snapshot, take_snapshot
from features.reading.text import best_text_of, text_tables
from features.schema import MEDIA, schema_of
from features.store.index import media_index
from features.store.read import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from features.privacy.consent import Purpose
    from features.reading.torch_data import FeatureDataset
    from features.spec import FeatureSpec
    from features.store.index import MediaIndex
    from features.store.store import Store

_MOST_THREADS = 4
_LABELS = ("media_id", "start_us", "end_us")


def open_features(
    store: Store,
    names: Sequence[str],
    segmentation: str = "window:10s",
    *,
    pool: Pool | Mapping[str, Pool] = "mean",
    columns: Sequence[str] | None = None,
    media_columns: Sequence[str] = (),
    batch_ids: Collection[str] | None = None,
    as_of: AsOf = None,
    num_threads: int | None = None,
    purpose: Purpose = "training",
) -> FeatureReader:
    """Open features for reading, aligned with segments. No row is read yet, but for `shots` which media have some.

    The versions and files of all tables are looked up once, here: what others commit later does not show. A batch
    shows whole or not at all, and of it only media that `media` lists.

    Args:
        store: The store.
        names: Features: `<name>` for its newest version, or `<name>@<version>`; and raw inputs, which are computed
            from the stored pictures and sound: `frame64` (of the frame nearest to the middle of a segment) and
            `log_mel_128` (of the middle 4.096 s of its sound).
        segmentation: `whole`, `window:10s` (or `500ms`), `utterances`, `shots`, `labels:<set>`.
        pool: How rows that overlap a segment become its vector: `mean`, `max`, `std`, `last`, or `Padded(max_len)` for
            the sequence of them; one for all, or by name. Ids (`tokens`) take the last two only, raw inputs none.
        columns: Columns to give, of those of `schema`; all of them by default. What is not wanted is not read.
        media_columns: Columns of `media` to give beside them, such as `name`.
        batch_ids: These batches only.
        as_of: Read as of a time, or of versions by table, such as the `versions` of another reader.
        num_threads: Batches that are read at once; as many as there are cores, at most 4, by default.
        purpose: What they are read for: media whose consent refuses it have no segments, whatever `as_of` was true.

    Raises:
        ConfigError: A feature, a column, a batch, a way to pool or a segmentation is unknown; or media with video
            have no shots, for `shots`.
        StoreError: A log cannot be read, or no longer reaches back to `as_of`.
    """
    kind = parse_segmentation(segmentation)
    _check_names(names)
    keys = find_keys([name for name in names if name not in RAW_TABLES], store, as_of)
    tables = [table for key in keys.values() for table in (f"coverage/{key}", f"features/{key}")]
    tables += [RAW_TABLES[name] for name in names if name in RAW_TABLES]
    tables += text_tables(store) if kind.kind == "utterances" else []
    tables += [f"labels/{kind.label_set}"] if kind.kind == "labels" else []
    tables += ["shots@1"] if kind.kind == "shots" else []
    snapshot = take_snapshot(store, [*tables, "media"], as_of)
    if kind.kind == "labels" and tables[-1] not in snapshot.versions:
        message = f"the store has no label set {kind.label_set!r}; load one with: triptych label {kind.label_set} FILE"
        raise ConfigError(message)
    stored = {feature.name: feature for feature in feature_columns(keys, pool, snapshot)}
    features = [stored.get(name) or RawColumn(name) for name in names]
    schema = _schema(features, media_columns, columns)
    wanted = _batches(snapshot, batch_ids)
    if kind.kind == "shots":
        check_shots(_all_rows(snapshot, "media", wanted, "has_video"), _all_rows(snapshot, "shots@1", wanted))
    threads = num_threads or min(_MOST_THREADS, os.cpu_count() or 1)
    withdrawn = frozenset[str]() if as_of is None else _refused_now(store, purpose)
    given = (snapshot, tuple(features), segmentation, schema, wanted, tuple(media_columns), threads)
    return FeatureReader(*given, purpose=purpose, withdrawn=withdrawn)


@dataclass(frozen=True)
class FeatureReader:
    """Opened features; made by `open_features`. It holds no open file and can be sent to another process.

    Attributes:
        snapshot: Versions and files that it reads.
        features: The features, in the order asked for.
        segmentation: How media are cut into segments.
        schema: Schema of every record batch.
        batch_ids: Batches that it reads, in order.
        media_columns: Columns of `media` beside the features.
        num_threads: Batches that are read at once.
        purpose: What they are read for; media whose consent refuses it have no segments.
        withdrawn: Media whose consent for it was withdrawn since the versions that are read.
    """

    snapshot: Snapshot
    features: tuple[FeatureColumn | RawColumn, ...]
    segmentation: str
    schema: pa.Schema
    batch_ids: tuple[str, ...]
    media_columns: tuple[str, ...] = ()
    num_threads: int = 1
    purpose: Purpose = "training"
    withdrawn: frozenset[str] = frozenset()

    @property
    def versions(self) -> dict[str, int]:
        """Version of each table that is read; passed as `as_of` they give the same rows again."""
        return dict(self.snapshot.versions)

    @property
    def specs(self) -> dict[str, FeatureSpec]:
        """Spec of each feature by name, of those whose table states one."""
        return {f.name: self.snapshot.specs[f.table] for f in self.features if f.table in self.snapshot.specs}

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        """A record batch a store batch, in order of `batch_ids`; segments by media in the order of `media`, then time.

        Raises:
            StoreError: A file is missing or damaged.
        """
        return self.stream(self.batch_ids)

    def stream(self, batch_ids: Iterable[str]) -> Iterator[pa.RecordBatch]:
        """Record batches of these batches, in this order, a few of them read ahead."""
        return _ahead(self.read, batch_ids, self.num_threads)

    def read(self, batch_id: str, media_id: str | None = None) -> pa.RecordBatch:
        """The segments of one batch, of one media where it is named."""
        columns = (*_MEDIA_NEEDED, *self.media_columns)
        media = self._allowed(self.snapshot.read("media", batch_id, tuple(dict.fromkeys(columns)), media_id))
        segments = self._segments(batch_id, media, media_id)
        wanted = frozenset(self.schema.names)
        found = {name: _one(segments[name]) for name in SEGMENTS.names}
        if self.media_columns:
            place = pc.index_in(found["media_id"], value_set=_one(media["media_id"]))
            found |= {name: _one(media[name]).take(place) for name in self.media_columns}
        for feature in self.features:
            if not wanted.isdisjoint(field.name for field in feature.fields):
                found |= feature.read(self.snapshot, batch_id, segments, wanted, media_id)
        return pa.RecordBatch.from_arrays([found[name] for name in self.schema.names], schema=self.schema)

    def media(self, media_id: str) -> pa.RecordBatch:
        """The segments of one media: its batch is looked up, and only that batch's files are opened.

        Raises:
            StoreError: The reader has no such media.
        """
        batch_id = self._index.batch_of(media_id)
        if batch_id is None or batch_id not in self._places:
            where = "is not in" if batch_id is None else f"is of batch {batch_id!r}, which was not opened, of"
            message = f"media {media_id!r} {where} the store {self.snapshot.store.root!r}; see: triptych status"
            raise StoreError(message)
        return self.read(batch_id, media_id)

    def to_arrow(self) -> pa.RecordBatchReader:
        """A stream that Arrow's friends (DuckDB, Polars, pandas) take, without holding more than a few batches."""
        return pa.RecordBatchReader.from_batches(self.schema, iter(self))

    def to_torch(
        self,
        *,
        batch_size: int | None = None,
        shuffle: bool = False,
        seed: int = 0,
        block_batches: int = 8,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> FeatureDataset:
        """A Torch dataset of the segments; see `FeatureDataset`."""
        from features.reading.torch_data import FeatureDataset, Sharding

        sharding = Sharding(seed if shuffle else None, block_batches, rank, num_ranks)
        return FeatureDataset(self, sharding, batch_size=batch_size)

    @cached_property
    def _index(self) -> MediaIndex:
        store = self.snapshot.store
        return media_index(store, store.load("media", self.snapshot.versions.get("media")))

    @cached_property
    def _places(self) -> dict[str, int]:
        return {batch_id: place for place, batch_id in enumerate(self.batch_ids)}

    def __getstate__(self) -> dict[str, object]:
        """Without what is looked up again where it is needed."""
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    def _allowed(self, media: pa.Table) -> pa.Table:
        media = media.filter(allowed(media, self.purpose))
        withdrawn = pa.array(sorted(self.withdrawn), pa.string())
        return media.filter(pc.invert(pc.is_in(media["media_id"], withdrawn))) if self.withdrawn else media

    def _segments(self, batch_id: str, media: pa.Table, media_id: str | None) -> pa.Table:
        kind = parse_segmentation(self.segmentation)
        labels = text = shots = None
        if kind.kind == "labels":
            labels = self.snapshot.read(f"labels/{kind.label_set}", batch_id, _LABELS, media_id)
        if kind.kind == "utterances":
            text = best_text_of(self.snapshot, batch_id, media_id)
        if kind.kind == "shots":
            shots = self.snapshot.read("shots@1", batch_id, SEGMENTS.names, media_id)
        return segments_of(self.segmentation, media, labels, text, shots)


def _check_names(names: Sequence[str]) -> None:
    if not names or len(set(names)) < len(names):
        message = f"features {list(names)} cannot be read; name at least one, each once"
        raise ConfigError(message)


_MEDIA_NEEDED = ("media_id", "duration_us", "consent")


def _refused_now(store: Store, purpose: Purpose) -> frozenset[str]:
    media = read_table(store, "media", columns=["media_id", "consent"])
    return frozenset(media.filter(pc.invert(allowed(media, purpose)))["media_id"].to_pylist())


def _schema(
    features: Sequence[FeatureColumn | RawColumn], media_columns: Sequence[str], columns: Sequence[str] | None
) -> pa.Schema:
    for name in media_columns:
        if name not in MEDIA.names or name in SEGMENTS.names:
            known = ", ".join(column for column in MEDIA.names if column not in SEGMENTS.names)
            message = f"there is no column {name!r} in media; {nearest(name, MEDIA.names)}columns are {known}"
            raise ConfigError(message)
    fields = [*SEGMENTS, *(MEDIA.field(name) for name in media_columns)]
    fields += [field for feature in features for field in feature.fields]
    schema = pa.schema(fields)
    for name in columns or ():
        if name not in schema.names:
            hint = nearest(name, schema.names)
            message = f"there is no column {name!r}; {hint}columns are {', '.join(schema.names)}"
            raise ConfigError(message)
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _batches(snapshot: Snapshot, batch_ids: Collection[str] | None) -> tuple[str, ...]:
    whole = snapshot.files.get("media", {})
    for batch_id in batch_ids or ():
        if batch_id not in whole:
            hint = nearest(batch_id, list(whole)) or "batches are listed by: triptych status"
            message = f"batch {batch_id!r} is not whole, or not of this store; {hint}"
            raise ConfigError(message)
    return tuple(sorted(whole if batch_ids is None else set(batch_ids)))


def _all_rows(snapshot: Snapshot, table: str, batch_ids: Iterable[str], *columns: str) -> pa.Table:
    """Media ids, and maybe more, of all rows of batches."""
    none = schema_of(table).empty_table().select(["media_id", *columns])
    return pa.concat_tables([none, *(snapshot.read(table, one, none.column_names) for one in batch_ids)])


def _ahead(
    read: Callable[[str], pa.RecordBatch], batch_ids: Iterable[str], num_threads: int
) -> Iterator[pa.RecordBatch]:
    """Read in threads, in order, at most one batch a thread ahead of what was taken."""
    waiting: deque[Future[pa.RecordBatch]] = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="features") as pool:
        try:
            for batch_id in batch_ids:
                waiting.append(pool.submit(partial(read, batch_id)))
                if len(waiting) > num_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()
