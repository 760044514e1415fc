"""Which rows of a feature overlap which segments: all media at once, no loop a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

NEAREST_WITHIN_US = 500_000
"""How far a row may be from a segment that overlaps none, to stand in for it."""

_MOST_CANDIDATES = 1 << 21  # pairs looked at together, so that one long row among many short ones takes no memory


class Overlaps(NamedTuple):
    """Rows by segment; those of segment i stand at `[bounds[i], bounds[i + 1])`, by start, then end.

    Attributes:
        bounds: Int64, shape [num_segments + 1].
        row: Int64, shape [num_pairs]; places among the rows as they were given.
        overlap_us: Int64, shape [num_pairs]; 1 where the nearest row stands in.
        nearest: Bool, shape [num_segments]; the nearest row stands in, for none overlaps the segment.
    """

    bounds: NDArray[np.int64]
    row: NDArray[np.int64]
    overlap_us: NDArray[np.int64]
    nearest: NDArray[np.bool_]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Rows of each segment, shape [num_segments]."""
        return np.diff(self.bounds)

    @property
    def segment(self) -> NDArray[np.int64]:
        """Segment of each pair, shape [num_pairs]."""
        return np.repeat(np.arange(len(self.nearest)), self.counts)


class _Rows(NamedTuple):
    """Rows by media, start, end: times in microseconds, and the place that each was given at, all [num_rows]."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    reach: NDArray[np.int64]  # latest end so far within the media, so that it is sorted too
    place: NDArray[np.int64]


class _Segments(NamedTuple):
    """Segments as given: times, and the stretch of `_Rows` that is of the same media, all [num_segments]."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    low: NDArray[np.int64]
    high: NDArray[np.int64]

    def take(self, places: NDArray[np.int64]) -> _Segments:
        return _Segments(*(column[places] for column in self))


def find_overlaps(segments: pa.Table, rows: pa.Table) -> Overlaps:
    """Rows that overlap each segment of their own media; where there are none, the nearest within 0.5 s.

    Args:
        segments: Columns media_id, start_us, end_us.
        rows: The same columns, in any order.
    """
    sorted_rows, wanted = _sorted(segments, rows)
    low = _bisect(sorted_rows.reach, wanted.low, wanted.high, wanted.start, right=True)
    high = _bisect(sorted_rows.start, wanted.low, wanted.high, wanted.end, right=False)
    segment, row, overlap_us = _pairs(sorted_rows, wanted, low, np.maximum(high, low))
    counts = np.bincount(segment, minlength=len(low))
    lonely = np.flatnonzero(counts == 0)
    stand_in = _nearest(sorted_rows, wanted.take(lonely), high[lonely])
    lonely, stand_in = lonely[stand_in >= 0], stand_in[stand_in >= 0]
    counts[lonely] = 1
    if len(lonely):
        order = np.argsort(np.concatenate([segment, lonely]), kind="stable")
        row = np.concatenate([row, stand_in])[order]
        overlap_us = np.concatenate([overlap_us, np.ones(len(lonely), np.int64)])[order]
    nearest = np.zeros(len(low), np.bool_)
    nearest[lonely] = True
    return Overlaps(np.concatenate([[0], np.cumsum(counts)]), sorted_rows.place[row], overlap_us, nearest)


def pieces(bounds: NDArray[np.int64], size: int) -> Iterator[tuple[int, int]]:
    """Cut pairs into stretches of at most `size`, between segments; within one only where it is longer."""
    begin, total = 0, int(bounds[-1])
    while begin < total:
        border = int(bounds[np.searchsorted(bounds, begin + size, side="right") - 1])
        end = border if border > begin else min(begin + size, total)
        yield begin, end
        begin = end


def _sorted(segments: pa.Table, rows: pa.Table) -> tuple[_Rows, _Segments]:
    names = pc.unique(segments["media_id"])
    code, row_code = _codes(segments["media_id"], names), _codes(rows["media_id"], names)
    start, end = _times(rows, "start_us"), _times(rows, "end_us")
    kept = np.flatnonzero(row_code >= 0)
    place = kept[np.lexsort((end[kept], start[kept], row_code[kept]))]
    bounds = np.searchsorted(row_code[place], np.arange(len(names) + 1))
    reach = _running_maximum(row_code[place], end[place])
    first, last = _times(segments, "start_us"), _times(segments, "end_us")
    return _Rows(start[place], end[place], reach, place), _Segments(first, last, bounds[code], bounds[code + 1])


def _running_maximum(code: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Latest end so far within each media; by ranks, which grow from media to media."""
    by_rank = np.lexsort((end, code))
    rank = np.empty(len(end), np.int64)
    rank[by_rank] = np.arange(len(end))
    return end[by_rank[np.maximum.accumulate(rank)]]


def _bisect(
    values: NDArray[np.int64],
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    targets: NDArray[np.int64],
    *,
    right: bool,
) -> NDArray[np.int64]:
    """As `numpy.searchsorted`, each target within a stretch `[low, high)` of its own."""
    while (is_open := low < high).any():
        middle = (low + high) // 2
        probe = values[np.minimum(middle, len(values) - 1)]
        is_before = is_open & ((probe <= targets) if right else (probe < targets))
        low, high = np.where(is_before, middle + 1, low), np.where(is_open & ~is_before, middle, high)
    return low


def _pairs(
    rows: _Rows, segments: _Segments, low: NDArray[np.int64], high: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Segment, row and overlap of all that overlap, among the candidates `[low, high)` of each segment."""
    bounds = np.concatenate([[0], np.cumsum(high - low)])
    found = [(np.zeros(0, np.int64),) * 3]
    for begin, end in pieces(bounds, _MOST_CANDIDATES):
        pair = np.arange(begin, end)
        segment = np.searchsorted(bounds, pair, side="right") - 1
        row = low[segment] + pair - bounds[segment]
        overlap = np.minimum(rows.end[row], segments.end[segment]) - np.maximum(
            rows.start[row], segments.start[segment]
        )
        kept = overlap > 0
        found.append((segment[kept], row[kept], overlap[kept]))
    segment, row, overlap = (np.concatenate(column) for column in zip(*found, strict=True))
    return segment, row, overlap


def _nearest(rows: _Rows, segments: _Segments, stop: NDArray[np.int64]) -> NDArray[np.int64]:
    """Nearest row to each segment that overlaps none, or -1; rows from `stop` on start at its end or later."""
    far = np.full(len(stop), NEAREST_WITHIN_US + 1)
    if not len(rows.start):
        return far * 0 - 1
    has_before, has_after = stop > segments.low, stop < segments.high
    before, after = np.maximum(stop - 1, 0), np.minimum(stop, len(rows.start) - 1)
    before = _bisect(rows.reach, segments.low, before, rows.reach[before], right=False)  # the first to reach so far
    before = np.minimum(before, len(rows.start) - 1)
    to_before = np.where(has_before, _distance(rows, segments, before), far)
    to_after = np.where(has_after, _distance(rows, segments, after), far)
    best = np.where(to_before <= to_after, before, after)
    return np.where(np.minimum(to_before, to_after) <= NEAREST_WITHIN_US, best, -1)


def _distance(rows: _Rows, segments: _Segments, row: NDArray[np.int64]) -> NDArray[np.int64]:
    gap = np.maximum(rows.start[row] - segments.end, segments.start - rows.end[row])
    return np.asarray(np.maximum(gap, 0), np.int64)


def _codes(column: pa.ChunkedArray, names: pa.Array) -> NDArray[np.int64]:
    """Place of each value among the names, -1 where it is none of them."""
    found = pc.index_in(column.cast(names.type), value_set=names)
    return np.asarray(pc.fill_null(found, -1).to_numpy(), np.int64)


def _times(table: pa.Table, name: str) -> NDArray[np.int64]:
    return np.asarray(table[name].to_numpy(), np.int64)
