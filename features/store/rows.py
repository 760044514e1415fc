"""Records to table rows and back: the one place that knows both."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from features.records import (
    AudioChunk,
    FeatureRow,
    Frame,
    Motion,
    PictureQuality,
    Shot,
    SoundQuality,
    Utterance,
    Word,
)
from features.schema import data_schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


_FRAME = ("t_us", "duration_us", "valid_start_us", "valid_end_us", "jpeg", "width", "height")
_CHUNK = ("start_us", "end_us", "flac", "sample_rate_hz")


def table_of(table: str, rows: Iterable[dict[str, Any]]) -> pa.Table:
    """Rows of a table from mappings; a column that a row lacks is null."""
    return pa.Table.from_pylist(list(rows), schema=data_schema_of(table))


def frame_rows(media_id: str, frames: Sequence[Frame]) -> pa.Table:
    """Rows of `frames`, in order of time."""
    return _columns("frames", media_id, frames, _FRAME, **_qualities(frames, PictureQuality))


def audio_rows(media_id: str, chunks: Sequence[AudioChunk]) -> pa.Table:
    """Rows of `audio`, in order of time."""
    return _columns("audio", media_id, chunks, _CHUNK, **_qualities(chunks, SoundQuality))


def shot_rows(media_id: str, shots: Sequence[Shot]) -> pa.Table:
    """Rows of `shots@1`, in order of time."""
    return _columns("shots@1", media_id, shots, Shot._fields)


def motion_rows(media_id: str, motions: Sequence[Motion]) -> pa.Table:
    """Rows of `motion@1`, in order of time."""
    return _columns("motion@1", media_id, motions, Motion._fields)


def transcript_rows(media_id: str, utterances: Sequence[Utterance]) -> pa.Table:
    """Rows of `transcripts` and of `transcripts/<recogniser>`, in order of time."""
    words = [[word._asdict() for word in utterance.words] for utterance in utterances]
    columns = ("start_us", "end_us", "text", "language", "source", "speaker")
    return _columns("transcripts", media_id, utterances, columns, words=words)


def feature_rows(media_id: str, rows: Sequence[FeatureRow], table: str = "features/any@1") -> pa.Table:
    """Rows of a feature table, in order of time."""
    return feature_rows_of([(media_id, rows)], table)


def feature_rows_of(found: Sequence[tuple[str, Sequence[FeatureRow]]], table: str = "features/any@1") -> pa.Table:
    """Rows of a feature table of many media, each with its own in order of time: one array a column for all of them."""
    rows = list(chain.from_iterable(own for _, own in found))
    kind = data_schema_of(table).field("values").type
    values = np.concatenate([np.zeros(0, kind.value_type.to_pandas_dtype()), *(row.values for row in rows)])
    offsets = np.cumsum([0, *(len(row.values) for row in rows)]).astype(np.int32)
    vectors = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, kind.value_type), type=kind)
    media_ids = list(chain.from_iterable([media_id] * len(own) for media_id, own in found))
    return _table(table, rows, ("start_us", "end_us"), media_id=media_ids, values=vectors)


def frames_of(rows: pa.Table) -> tuple[Frame, ...]:
    """Frames of rows of `frames`."""
    qualities = _read_qualities(rows, PictureQuality, "brightness")
    pairs = zip(rows.select(list(_FRAME)).to_pylist(), qualities, strict=True)
    return tuple(Frame(**row, quality=quality) for row, quality in pairs)


def audio_of(rows: pa.Table) -> tuple[AudioChunk, ...]:
    """Chunks of rows of `audio`."""
    qualities = _read_qualities(rows, SoundQuality, "peak")
    pairs = zip(rows.select(list(_CHUNK)).to_pylist(), qualities, strict=True)
    return tuple(AudioChunk(**row, quality=quality) for row, quality in pairs)


def utterances_of(rows: pa.Table) -> tuple[Utterance, ...]:
    """Utterances of rows of `transcripts`."""
    columns = ("start_us", "end_us", "text", "language", "source", "speaker", "words")
    return tuple(_utterance(row) for row in rows.select(columns).to_pylist())


def _utterance(row: dict[str, Any]) -> Utterance:
    words = tuple(Word(**word) for word in row.pop("words") or ())
    return Utterance(**row, words=words)


def _read_qualities(rows: pa.Table, kind: type[Any], measured: str) -> Iterator[Any]:
    """Quality a row, None where it was not measured; `measured` is never null where it was."""
    values = rows.select(list(kind._fields)).to_pylist()
    return (kind(**row) if row[measured] is not None else None for row in values)


def _qualities(records: Sequence[Any], kind: type[Any]) -> dict[str, list[Any]]:
    """Columns of quality, null where it was not measured."""
    return {
        name: [None if record.quality is None else getattr(record.quality, name) for record in records]
        for name in kind._fields
    }


def _columns(table: str, media_id: str, records: Sequence[Any], names: Sequence[str], **more: Any) -> pa.Table:  # noqa: ANN401
    return _table(table, records, names, media_id=[media_id] * len(records), **more)


def _table(table: str, records: Sequence[Any], names: Sequence[str], **more: Any) -> pa.Table:  # noqa: ANN401
    schema = data_schema_of(table)
    data = more | {name: [getattr(record, name) for record in records] for name in names}
    columns = [data[field.name] for field in schema]
    arrays = [c if isinstance(c, pa.Array) else pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)]
    return pa.table(arrays, schema=schema)
