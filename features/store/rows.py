"""Records to table rows and back: the one place that knows both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    from collections.abc import Iterable, Sequence


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


def feature_rows(media_id: str, rows: Sequence[FeatureRow]) -> pa.Table:
    """Rows of a feature table, in order of time."""
    return _columns("features/any@1", media_id, rows, ("start_us", "end_us", "values"))


def frames_of(rows: pa.Table) -> tuple[Frame, ...]:
    """Frames of rows of `frames`."""
    return tuple(Frame(**row) for row in rows.select(list(_FRAME)).to_pylist())


def audio_of(rows: pa.Table) -> tuple[AudioChunk, ...]:
    """Chunks of rows of `audio`."""
    return tuple(AudioChunk(**row) for row in rows.select(list(_CHUNK)).to_pylist())


def utterances_of(rows: pa.Table) -> tuple[Utterance, ...]:
    """Utterances of rows of `transcripts`."""
    columns = ("start_us", "end_us", "text", "language", "source", "speaker", "words")
    return tuple(_utterance(row) for row in rows.select(columns).to_pylist())


def _utterance(row: dict[str, Any]) -> Utterance:
    words = tuple(Word(**word) for word in row.pop("words") or ())
    return Utterance(**row, words=words)


def _qualities(records: Sequence[Any], kind: type[Any]) -> dict[str, list[Any]]:
    """Columns of quality, null where it was not measured."""
    return {
        name: [None if record.quality is None else getattr(record.quality, name) for record in records]
        for name in kind._fields
    }


def _columns(table: str, media_id: str, records: Sequence[Any], names: Sequence[str], **more: Any) -> pa.Table:  # noqa: ANN401
    schema = data_schema_of(table)
    data: dict[str, Any] = {"media_id": [media_id] * len(records), **more}
    data |= {name: [getattr(record, name) for record in records] for name in names}
    return pa.table([pa.array(data[field.name], field.type) for field in schema], schema=schema)
