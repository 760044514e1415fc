"""Segments: stretches of a media's timeline that a model learns from or scores, computed on reading."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError

SEGMENTS = pa.schema([("media_id", pa.string()), ("start_us", pa.int64()), ("end_us", pa.int64())])
"""Schema of a table of segments."""

_WINDOW = re.compile(r"(\d+(?:\.\d+)?)(ms|s)")
_LABELS = re.compile(r"[A-Za-z0-9_-]+")
_UNIT_US = {"ms": 1_000, "s": 1_000_000}


class Segmentation(NamedTuple):
    """A named way to cut media into segments; `window_us` and `label_set` are filled for their kinds only."""

    kind: Literal["whole", "window", "utterances", "shots", "labels"]
    window_us: int = 0
    label_set: str = ""


_PLAIN = {one.kind: one for one in (Segmentation("whole"), Segmentation("utterances"), Segmentation("shots"))}


class SegmentKey(NamedTuple):
    """Identity of a segment; times in microseconds, half-open."""

    media_id: str
    start_us: int
    end_us: int


def parse_segmentation(text: str) -> Segmentation:
    """Read `whole`, `window:10s` (or `2.5s`, `500ms`), `utterances`, `shots` or `labels:<set>`.

    Raises:
        ConfigError: The text is none of these.
    """
    kind, _, argument = text.partition(":")
    if text in _PLAIN:
        return _PLAIN[text]
    if kind == "labels" and _LABELS.fullmatch(argument):
        return Segmentation("labels", label_set=argument)
    window = _WINDOW.fullmatch(argument) if kind == "window" else None
    if window:
        window_us = round(float(window[1]) * _UNIT_US[window[2]])
        if window_us > 0:
            return Segmentation("window", window_us=window_us)
    message = f"there is no segmentation {text!r}; write whole, utterances, shots, window:10s (or 500ms)"
    message += ", or labels:<set>"
    raise ConfigError(message)


def segments_of(
    segmentation: str,
    media: pa.Table,
    labels: pa.Table | None = None,
    transcripts: pa.Table | None = None,
    shots: pa.Table | None = None,
) -> pa.Table:
    """Segments of media under a segmentation.

    A media without a duration has no whole and no windows. The last window ends with its media.

    Args:
        segmentation: See `parse_segmentation`.
        media: Rows of `media`.
        labels: Rows of the label set; needed for `labels:<set>`. A label without a span is for the whole media.
        transcripts: Rows of the best text; needed for `utterances`.
        shots: Rows of `shots@1`; needed for `shots`. Whether they are all there, `check_shots` tells.

    Returns:
        Columns of `SEGMENTS`, each segment once, in order of `media`, then of time.

    Raises:
        ConfigError: The segmentation is unknown, or the table that it needs was not given.
    """
    kind, window_us, _ = parse_segmentation(segmentation)
    durations = durations_of(media)
    if kind == "labels":
        return _table(_spans(segmentation, "labels", labels, durations), durations)
    if kind == "utterances":
        return _table(_spans(segmentation, "transcripts", transcripts, durations), durations)
    if kind == "shots":
        return _table(_spans(segmentation, "shots@1", shots, durations), durations)
    return _windows(durations, window_us if kind == "window" else None)


def check_shots(media: pa.Table, shots: pa.Table) -> None:
    """Refuse media with video whose shots nobody looked for: to pass over them would be silent.

    Args:
        media: Columns media_id and has_video.
        shots: Rows of `shots@1`, of these media or more.

    Raises:
        ConfigError: A media has video, and no shots.
    """
    videos = media.filter(pc.fill_null(media["has_video"], False))["media_id"]
    missing = videos.filter(pc.invert(pc.is_in(videos, shots["media_id"].combine_chunks())))
    if len(missing):
        message = (
            f"{len(missing)} of {len(videos)} media with video have no shots (such as {missing[0]}), so they cannot be "
            "cut into shots; ingest the files into a new store with --shots, or use window:10s"
        )
        raise ConfigError(message)


def durations_of(media: pa.Table) -> dict[str, int | None]:
    """Duration by media in microseconds, in the table's order; None where nothing was decoded."""
    return dict(zip(media["media_id"].to_pylist(), media["duration_us"].to_pylist(), strict=True))


def row_keys(rows: pa.Table, durations: dict[str, int | None]) -> list[SegmentKey | None]:
    """Segment that each row of labels or transcripts speaks of.

    Args:
        rows: A table with media_id, start_us, end_us.
        durations: Duration by media; rows of other media speak of nothing.

    Returns:
        A key a row; a missing start is 0, a missing end the media's; None where there is no such media or end.
    """
    keys: list[SegmentKey | None] = []
    columns = (rows[name].to_pylist() for name in SEGMENTS.names)
    for media_id, start_us, end_us in zip(*columns, strict=True):
        end = durations.get(media_id) if end_us is None else end_us
        known = media_id in durations
        keys.append(SegmentKey(media_id, start_us or 0, end) if known and end is not None else None)
    return keys


def keys_of(segments: pa.Table) -> list[SegmentKey]:
    """The rows of a table of segments."""
    columns = (segments[name].to_pylist() for name in SEGMENTS.names)
    return [SegmentKey(*row) for row in zip(*columns, strict=True)]


def _windows(durations: dict[str, int | None], window_us: int | None) -> pa.Table:
    """Windows side by side from 0 on, or the whole of each media."""
    length = np.array([max(duration_us or 0, 0) for duration_us in durations.values()], np.int64)
    step = np.maximum(length, 1) if window_us is None else np.full(len(length), window_us)
    counts = -(-length // step)
    media = np.repeat(np.arange(len(length)), counts)
    start = (np.arange(len(media)) - np.repeat(np.cumsum(counts) - counts, counts)) * step[media]
    ids = pa.array(list(durations), pa.string()).take(pa.array(media))
    return pa.table([ids, start, np.minimum(start + step[media], length[media])], schema=SEGMENTS)


def _spans(segmentation: str, name: str, rows: pa.Table | None, durations: dict[str, int | None]) -> list[SegmentKey]:
    if rows is None:
        message = (
            f"segmentation {segmentation!r} needs the rows of {name}, and none were given; use whole or window:10s"
        )
        raise ConfigError(message)
    return [key for key in dict.fromkeys(row_keys(rows, durations)) if key is not None]


def _table(keys: list[SegmentKey], durations: dict[str, int | None]) -> pa.Table:
    order = {media_id: index for index, media_id in enumerate(durations)}
    keys = sorted(keys, key=lambda key: (order[key.media_id], key.start_us, key.end_us))
    columns = list(zip(*keys, strict=True)) or [(), (), ()]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SEGMENTS, strict=True)], SEGMENTS)
