"""Alignment: feature rows at their own rates, pooled into one vector a segment, or padded into one sequence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc
from pyarrow import types

from features.errors import ConfigError, ModelError
from features.fusion.overlaps import NEAREST_WITHIN_US, Overlaps, find_overlaps, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = [
    "NEAREST_WITHIN_US",
    "POOLS",
    "Pooled",
    "Sequences",
    "check_ids",
    "pad_by_overlap",
    "pool_by_overlap",
    "width_of",
]

POOLS = ("mean", "max", "std", "last")
"""Ways to make one vector of the rows that overlap a segment."""

_PIECE_VALUES = 1 << 18  # numbers that are pooled together: as float64 they stay in the cache


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


class Sequences(NamedTuple):
    """One padded sequence a segment.

    Attributes:
        values: Float32, shape [num_segments, max_len, num_values]; zeros from `length` on.
        length: Int64, shape [num_segments]; rows that are there, 0 where absent.
        present: Bool, shape [num_segments].
        nearest: Bool, shape [num_segments]; the nearest row stands in, for no row overlaps the segment.
    """

    values: NDArray[np.float32]
    length: NDArray[np.int64]
    present: NDArray[np.bool_]
    nearest: NDArray[np.bool_]


def pool_by_overlap(segments: pa.Table, rows: pa.Table, shape: tuple[int, ...], how: str = "mean") -> Pooled:
    """Pool a feature's rows into segments.

    Mean and standard deviation (of the population) are weighted by each row's overlap with the segment; the maximum
    is over the rows that overlap it, and `last` is the one of them that starts last. A segment that overlaps none
    takes the nearest row within 0.5 s of its own media, flagged. A pooled vector that is not finite counts as absent.

    Args:
        segments: Columns media_id, start_us, end_us.
        rows: Rows of a feature table, in any order.
        shape: Shape of one vector.
        how: One of `POOLS`.

    Returns:
        A vector a segment, in the order of `segments`.

    Raises:
        ConfigError: There is no such way to pool, or it would make numbers of ids.
        ModelError: A vector does not have the shape.
    """
    if how not in POOLS:
        message = f"there is no way to pool {how!r}; write one of {', '.join(POOLS)}"
        raise ConfigError(message)
    check_ids("the feature", rows.schema.field("values").type.value_type, how)
    overlaps = find_overlaps(segments, rows)
    vectors = _vectors(rows, math.prod(shape))
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is masked below
        values = _POOLS[how](vectors, overlaps)
    present = (overlaps.counts > 0) & np.isfinite(values).all(axis=1)
    values[~present] = 0
    return Pooled(values, present, overlaps.nearest)


def pad_by_overlap(segments: pa.Table, rows: pa.Table, shape: tuple[int, ...], max_len: int) -> Sequences:
    """The rows that overlap each segment, in order of time, the first `max_len` of them.

    A segment that overlaps none takes the nearest row within 0.5 s of its own media, flagged. A sequence that is not
    finite counts as absent.

    Args:
        segments: Columns media_id, start_us, end_us.
        rows: Rows of a feature table, in any order.
        shape: Shape of one vector.
        max_len: Rows that a sequence holds at most; at least 1.

    Returns:
        A sequence a segment, in the order of `segments`.

    Raises:
        ConfigError: `max_len` is less than 1.
        ModelError: A vector does not have the shape.
    """
    if max_len < 1:
        message = f"a sequence cannot hold {max_len} rows; give a max_len of at least 1"
        raise ConfigError(message)
    overlaps = find_overlaps(segments, rows)
    vectors = _vectors(rows, math.prod(shape))
    segment = overlaps.segment
    rank = np.arange(len(segment)) - overlaps.bounds[segment]
    kept = rank < max_len
    values = np.zeros((len(overlaps.nearest), max_len, vectors.shape[1]), np.float32)
    values[segment[kept], rank[kept]] = vectors[overlaps.row[kept]]
    present = (overlaps.counts > 0) & np.isfinite(values).all(axis=(1, 2))
    values[~present] = 0
    return Sequences(values, np.where(present, np.minimum(overlaps.counts, max_len), 0), present, overlaps.nearest)


def check_ids(name: str, number: pa.DataType, how: str) -> None:
    """Refuse to average ids: they name pieces of text, and what lies between two of them names another.

    Args:
        name: The feature, in words.
        number: Type of its numbers.
        how: One of `POOLS`.

    Raises:
        ConfigError: The numbers are ids, and `how` is not `last`.
    """
    if how != "last" and not types.is_floating(number):
        message = f"{name} holds ids of pieces of text, whose {how} means nothing; pool it by 'last', or take"
        raise ConfigError(message + " the sequence with Padded(max_len)")


def width_of(rows: pa.Table) -> int:
    """Numbers in a vector of a feature table, by its first row; 0 where there are no rows."""
    return len(rows["values"][0]) if rows.num_rows else 0


class _Piece(NamedTuple):
    """Pairs that are pooled together: `segments` of the result, and `rows` of `vectors`, split at `starts`."""

    segments: slice
    pairs: slice
    starts: NDArray[np.int64]  # of each segment among the piece's pairs, and the end
    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]


def _pieces(vectors: NDArray[np.float32], overlaps: Overlaps) -> Iterator[_Piece]:
    size = max(1, _PIECE_VALUES // max(1, vectors.shape[1]))
    for begin, end in pieces(overlaps.bounds, size):
        first = int(np.searchsorted(overlaps.bounds, begin, side="right")) - 1
        last = int(np.searchsorted(overlaps.bounds, end, side="left"))
        starts = np.clip(overlaps.bounds[first : last + 1], begin, end) - begin
        rows = overlaps.row[begin:end]
        low, high = int(rows.min()), int(rows.max()) + 1
        if high - low <= 2 * len(rows):  # they stand together: no copy
            yield _Piece(slice(first, last), slice(begin, end), starts, rows - low, vectors[low:high])
        else:
            yield _Piece(slice(first, last), slice(begin, end), starts, np.arange(len(rows)), vectors[rows])


def _sums(weights: NDArray[np.float64], piece: _Piece, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted sums of rows of `vectors` by segment, float64, so that the order of rows does not show."""
    from scipy.sparse import csr_array  # slow to import, and recipes name `POOLS`

    shape = (len(piece.starts) - 1, len(vectors))
    return np.asarray(csr_array((weights[piece.pairs], piece.rows, piece.starts), shape=shape) @ vectors)


def _weights(overlaps: Overlaps) -> NDArray[np.float64]:
    """Share of each row in its segment's overlap."""
    segment = overlaps.segment
    totals = np.bincount(segment, weights=overlaps.overlap_us, minlength=len(overlaps.nearest))
    return np.asarray(overlaps.overlap_us / totals[segment], np.float64)


def _means(vectors: NDArray[np.float32], overlaps: Overlaps, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    result = np.zeros((len(overlaps.nearest), vectors.shape[1]))
    for piece in _pieces(vectors, overlaps):
        result[piece.segments] += _sums(weights, piece, piece.vectors.astype(np.float64))
    return result


def _mean(vectors: NDArray[np.float32], overlaps: Overlaps) -> NDArray[np.float32]:
    return _means(vectors, overlaps, _weights(overlaps)).astype(np.float32)


def _std(vectors: NDArray[np.float32], overlaps: Overlaps) -> NDArray[np.float32]:
    weights, segment = _weights(overlaps), overlaps.segment
    mean = _means(vectors, overlaps, weights)
    variance = np.zeros_like(mean)
    for piece in _pieces(vectors, overlaps):
        squares = np.square(piece.vectors[piece.rows] - mean[segment[piece.pairs]])
        in_order = piece._replace(rows=np.arange(len(squares)))
        variance[piece.segments] += _sums(weights, in_order, squares)
    return np.sqrt(variance).astype(np.float32)


def _max(vectors: NDArray[np.float32], overlaps: Overlaps) -> NDArray[np.float32]:
    result = np.full((len(overlaps.nearest), vectors.shape[1]), -np.inf, np.float32)
    for piece in _pieces(vectors, overlaps):
        there = np.flatnonzero(np.diff(piece.starts))
        found = np.maximum.reduceat(piece.vectors[piece.rows], piece.starts[there], axis=0)
        there += piece.segments.start
        result[there] = np.maximum(result[there], found)
    return result


def _last(vectors: NDArray[np.float32], overlaps: Overlaps) -> NDArray[np.float32]:
    result = np.zeros((len(overlaps.nearest), vectors.shape[1]), np.float32)
    there = np.flatnonzero(overlaps.counts)
    result[there] = vectors[overlaps.row[overlaps.bounds[there + 1] - 1]]
    return result


_POOLS = {"mean": _mean, "max": _max, "std": _std, "last": _last}


def _vectors(rows: pa.Table, width: int) -> NDArray[np.float32]:
    """The vectors of a feature table, float32, shape [num_rows, width]."""
    lengths = pc.unique(pc.list_value_length(rows["values"])).to_pylist()
    if lengths not in ([], [width]):
        message = f"feature vectors have {lengths} numbers, {width} were expected; extract the feature as a new version"
        raise ModelError(message)
    flat = pc.list_flatten(rows["values"]).to_numpy()
    return np.asarray(flat, np.float32).reshape(rows.num_rows, width)
