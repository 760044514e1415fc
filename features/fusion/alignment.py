"""Alignment: feature rows at their own rates, pooled into one vector a segment."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEAREST_WITHIN_US = 500_000
"""How far a row may be from a segment that overlaps none, to stand in for it."""


class Pooled(NamedTuple):
    """One vector a segment.

    Attributes:
        values: Float32, shape [num_segments, num_values]; zeros where absent, which must stay masked.
        present: Bool, shape [num_segments].
        nearest: Bool, shape [num_segments]; the nearest row stands in, for no row overlaps the segment.
    """

    values: NDArray[np.float32]
    present: NDArray[np.bool_]
    nearest: NDArray[np.bool_]


class _Rows(NamedTuple):
    """One media's rows, or all: times [num_rows] in microseconds, vectors [num_rows, num_values]."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    values: NDArray[np.float32]


def pool_by_overlap(segments: pa.Table, rows: pa.Table, shape: tuple[int, ...], how: str = "mean") -> Pooled:
    """Pool a feature's rows into segments.

    The mean is weighted by each row's overlap with the segment; the maximum is over the rows that overlap it. A
    segment that overlaps none takes the nearest row within 0.5 s of its own media, flagged. A pooled vector that
    is not finite counts as absent.

    Args:
        segments: Columns media_id, start_us, end_us.
        rows: Rows of a feature table, in any order.
        shape: Shape of one vector.
        how: `mean` or `max`.

    Returns:
        A vector a segment, in the order of `segments`.

    Raises:
        ModelError: A vector does not have the shape.
    """
    count, width = segments.num_rows, math.prod(shape)
    pooled = Pooled(np.zeros((count, width), np.float32), np.zeros(count, bool), np.zeros(count, bool))
    names = pc.unique(segments["media_id"])
    codes = _codes(segments["media_id"], names)
    row_codes = _codes(rows["media_id"], names)
    kept = np.flatnonzero(row_codes >= 0)
    vectors = _vectors(rows, width)
    start, end = _times(rows, "start_us"), _times(rows, "end_us")
    kept = kept[np.lexsort((end[kept], start[kept], row_codes[kept]))]
    bounds = np.searchsorted(row_codes[kept], np.arange(len(names) + 1))
    by_media = np.argsort(codes, kind="stable")
    segment_bounds = np.searchsorted(codes[by_media], np.arange(len(names) + 1))
    first, last = _times(segments, "start_us"), _times(segments, "end_us")
    for code in range(len(names)):
        own = kept[bounds[code] : bounds[code + 1]]
        if len(own):
            targets = by_media[segment_bounds[code] : segment_bounds[code + 1]]
            _pool_media(_Rows(start[own], end[own], vectors[own]), first[targets], last[targets], targets, how, pooled)
    pooled.present[:] &= np.isfinite(pooled.values).all(axis=1)
    pooled.values[~pooled.present] = 0
    return pooled


def width_of(rows: pa.Table) -> int:
    """Numbers in a vector of a feature table, by its first row; 0 where there are no rows."""
    return len(rows["values"][0]) if rows.num_rows else 0


def _pool_media(
    rows: _Rows, first: NDArray[np.int64], last: NDArray[np.int64], targets: NDArray[np.int64], how: str, pooled: Pooled
) -> None:
    """Fill the targets with one media's rows, which are sorted by start."""
    reach = np.maximum.accumulate(rows.end)  # the latest end so far, so that it is sorted too
    low = np.searchsorted(reach, first, side="right")
    high = np.searchsorted(rows.start, last, side="left")
    for target, start, end, begin, stop in zip(targets, first, last, low, high, strict=True):
        overlap = np.minimum(rows.end[begin:stop], end) - np.maximum(rows.start[begin:stop], start)
        inside = np.flatnonzero(overlap > 0) + begin
        if len(inside):
            pooled.values[target] = _pool(rows.values[inside], overlap[inside - begin], how)
            pooled.present[target] = True
            continue
        row = _nearest(rows, reach, start, end, stop)
        if row >= 0:
            pooled.values[target] = rows.values[row]
            pooled.present[target] = pooled.nearest[target] = True


def _pool(values: NDArray[np.float32], overlap: NDArray[np.int64], how: str) -> NDArray[np.float32]:
    """Pool [num_rows, num_values] to [num_values]; in float64, so that the order of rows does not show."""
    if how == "max":
        return np.asarray(values.max(axis=0), np.float32)
    weights = overlap / overlap.sum()
    return np.asarray(weights @ values.astype(np.float64), np.float32)


def _nearest(rows: _Rows, reach: NDArray[np.int64], start: int, end: int, stop: int) -> int:
    """Index of the nearest row to a segment that overlaps none, or -1; `stop` rows start before its end."""
    candidates = [stop] if stop < len(rows.start) else []
    if stop:
        candidates.insert(0, int(np.searchsorted(reach, reach[stop - 1])))  # the first to reach furthest
    distances = [max(int(rows.start[row]) - end, start - int(rows.end[row]), 0) for row in candidates]
    if not distances or min(distances) > NEAREST_WITHIN_US:
        return -1
    return candidates[int(np.argmin(distances))]


def _codes(column: pa.ChunkedArray, names: pa.Array) -> NDArray[np.int64]:
    """Place of each value among the names, -1 where it is none of them."""
    found = pc.index_in(column.cast(names.type), value_set=names)
    return np.asarray(pc.fill_null(found, -1).to_numpy(), np.int64)


def _times(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(table[name].to_numpy(), np.int64)


def _vectors(rows: pa.Table, width: int) -> NDArray[np.float32]:
    """The vectors of a feature table, float32, shape [num_rows, width]."""
    lengths = pc.unique(pc.list_value_length(rows["values"])).to_pylist()
    if lengths not in ([], [width]):
        message = f"feature vectors have {lengths} numbers, {width} were expected; extract the feature as a new version"
        raise ModelError(message)
    flat = pc.list_flatten(rows["values"]).to_numpy()
    return np.asarray(flat, np.float32).reshape(rows.num_rows, width)
