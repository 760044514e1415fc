"""Raw inputs of segments: which picture, which stretch of sound, each decoded at most once a batch."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from features.errors import DecodeError
from features.extractors.rows import SAMPLE_RATE_HZ
from features.fusion.overlaps import find_overlaps
from features.fusion.segments import SEGMENTS
from features.identity import MICROSECONDS
from features.media.pictures import decode_jpeg
from features.media.sound import decode_flac, num_samples_of
from features.raw.pictures import frame64
from features.raw.sound import NUM_SAMPLES, log_mel_128, num_frames_of
from features.records import AudioChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from features.raw.source import RowSource

_CROP_US = NUM_SAMPLES * MICROSECONDS // SAMPLE_RATE_HZ


class Found(NamedTuple):
    """Arrays by segment.

    Attributes:
        values: Float32, shape [num_segments, ...]; zeros where absent, which stay masked.
        present: Bool, shape [num_segments].
        nearest: Bool, shape [num_segments]; a picture beside the segment stands in.
        failed: Bool, shape [num_segments]; there is something, but it cannot be decoded.
        length: Int32, shape [num_segments]; frames of a patch that are sound.
    """

    values: NDArray[np.float32]
    present: NDArray[np.bool_]
    nearest: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    length: NDArray[np.int32]


def pictures_of(snapshot: RowSource, batch_id: str, segments: pa.Table) -> Found:
    """Of each segment, of the frames that stand for a part of it, the one nearest to its middle.

    Where there are none, the nearest within 0.5 s of the same media stands in, as for features.
    """
    times = ("media_id", "valid_start_us", "valid_end_us", "t_us")
    rows = snapshot.read("frames", batch_id, times)
    overlaps = find_overlaps(segments, rows.select(times[:3]).rename_columns(SEGMENTS.names))
    middle = (_numbers(segments, "start_us") + _numbers(segments, "end_us")) // 2
    distance = np.abs(_numbers(rows, "t_us")[overlaps.row] - middle[overlaps.segment])
    order = np.lexsort((distance, overlaps.segment))
    segment, first = np.unique(overlaps.segment[order], return_index=True)
    chosen = overlaps.row[order][first]
    found = _nothing((64, 64, 3), overlaps.nearest)
    for row, frame in snapshot.pick("frames", batch_id, ("jpeg",), chosen):
        own = segment[chosen == row]
        try:
            found.values[own] = frame64(decode_jpeg(frame["jpeg"]))
        except DecodeError:
            found.failed[own] = True
        else:
            found.present[own] = True
    return found


def patches_of(snapshot: RowSource, batch_id: str, segments: pa.Table) -> Found:
    """Of each segment, of that part of it for which there is sound, a patch of the middle; none stands in."""
    rows = snapshot.read("audio", batch_id, ("media_id", "start_us", "end_us"))
    crops = _crops(segments, rows)
    segment, chunk = _overlapping(crops, rows)
    found = _nothing((128, 128), np.zeros(segments.num_rows, np.bool_))
    open_crops: dict[int, _Crop] = {}
    waiting = np.bincount(segment, minlength=segments.num_rows)
    for row, stored in snapshot.pick("audio", batch_id, ("start_us", "end_us", "flac", "sample_rate_hz"), chunk):
        samples = _samples(AudioChunk(**stored))
        for own in segment[chunk == row].tolist():
            crop = open_crops.setdefault(own, _Crop(crops["start_us"][own].as_py(), crops["end_us"][own].as_py()))
            crop.add(stored["start_us"], samples)
            waiting[own] -= 1
            if not waiting[own]:
                _close(found, own, open_crops.pop(own))
    return found


def makers_of_raw(
    names: Iterable[str], source: RowSource, batch_id: str = ""
) -> dict[str, Callable[[pa.Table], Found]]:
    """What computes each raw input of a batch's segments, by its name.

    Args:
        names: Raw inputs.
        source: Rows of `frames` and `audio`, of those that are named.
        batch_id: The batch.
    """
    makers = {"frame64": pictures_of, "log_mel_128": patches_of}
    return {name: partial(makers[name], source, batch_id) for name in names}


class _Crop:
    """The sound of a stretch of time, as its chunks come in; what no chunk covers within it is silence."""

    def __init__(self, start_us: int, end_us: int) -> None:
        self._start_us = start_us
        self.samples = np.zeros(num_samples_of(end_us - start_us, SAMPLE_RATE_HZ), np.float32)
        self.num_there = 0
        self.failed = False

    def add(self, start_us: int, samples: NDArray[np.float32] | None) -> None:
        """Lay a chunk in its place; None for one that cannot be decoded."""
        if samples is None:
            self.failed = True
            return
        begin = num_samples_of(start_us - self._start_us, SAMPLE_RATE_HZ)
        part = samples[max(0, -begin) :][: max(0, len(self.samples) - max(0, begin))]
        self.samples[max(0, begin) : max(0, begin) + len(part)] = part
        self.num_there += len(part)


def _close(found: Found, segment: int, crop: _Crop) -> None:
    found.failed[segment] = crop.failed
    found.present[segment] = bool(crop.num_there) and not crop.failed
    if found.present[segment]:
        found.values[segment] = log_mel_128(crop.samples)
        found.length[segment] = num_frames_of(len(crop.samples))


def _crops(segments: pa.Table, chunks: pa.Table) -> pa.Table:
    """Of each segment the middle 4.096 s of what lies between the start of its first chunk and the end of its last."""
    segment, chunk = _overlapping(segments, chunks)
    start, end = _numbers(segments, "start_us"), _numbers(segments, "end_us")
    first, last = np.full(len(start), np.iinfo(np.int64).max), np.full(len(start), np.iinfo(np.int64).min)
    np.minimum.at(first, segment, _numbers(chunks, "start_us")[chunk])
    np.maximum.at(last, segment, _numbers(chunks, "end_us")[chunk])
    there = last > first
    start = np.where(there, np.maximum(start, first), start)
    end = np.where(there, np.minimum(end, last), end)
    spare = np.maximum(0, end - start - _CROP_US)
    start += spare // 2
    return pa.table([segments["media_id"], start, np.minimum(end, start + _CROP_US)], schema=SEGMENTS)


def _overlapping(segments: pa.Table, rows: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of a segment and a row that overlaps it."""
    overlaps = find_overlaps(segments, rows)
    real = ~overlaps.nearest[overlaps.segment]
    return overlaps.segment[real], overlaps.row[real]


def _samples(chunk: AudioChunk) -> NDArray[np.float32] | None:
    """Samples of a chunk; None where they cannot be decoded, or are not of the rate that a patch is made of."""
    if chunk.sample_rate_hz != SAMPLE_RATE_HZ:
        return None
    try:
        return decode_flac(chunk)
    except DecodeError:
        return None


def _nothing(shape: tuple[int, ...], nearest: NDArray[np.bool_]) -> Found:
    count = len(nearest)
    values = np.zeros((count, *shape), np.float32)
    return Found(values, np.zeros(count, np.bool_), nearest, np.zeros(count, np.bool_), np.zeros(count, np.int32))


def _numbers(rows: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(rows[name].to_numpy(), np.int64)
