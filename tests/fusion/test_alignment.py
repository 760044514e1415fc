from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from features.errors import ConfigError, ModelError
from features.fusion.alignment import (
    NEAREST_WITHIN_US,
    POOLS,
    pad_by_overlap,
    pool_by_overlap,
)
from features.fusion.segments import SEGMENTS
from features.schema import data_schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Span = tuple[str, int, int]

MEDIA = "abc"
COARSE_US = 100_000  # borders often meet, and gaps lie on both sides of half a second


def spans(max_size: int) -> st.SearchStrategy[list[Span]]:
    """Spans on a coarse grid, of any microsecond, and of one microsecond; empty ones and negative starts too."""
    coarse = st.tuples(st.integers(-5, 30), st.integers(0, 12)).map(
        lambda pair: (pair[0] * COARSE_US, (pair[0] + pair[1]) * COARSE_US)
    )
    fine = st.tuples(st.integers(0, 3_000_000), st.integers(0, 600_000)).map(lambda pair: (pair[0], sum(pair)))
    tiny = st.integers(0, 12).map(lambda start: (start, start + 1))
    times = st.one_of(coarse, fine, tiny)
    return st.lists(st.tuples(st.sampled_from(MEDIA), times).map(lambda item: (item[0], *item[1])), max_size=max_size)


def segments_table(items: Sequence[Span]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SEGMENTS.names, item, strict=True)) for item in items], schema=SEGMENTS)


def rows_table(items: Sequence[Span], vectors: NDArray[np.floating]) -> pa.Table:
    rows = [
        {"media_id": media_id, "start_us": start, "end_us": end, "values": vector}
        for (media_id, start, end), vector in zip(items, vectors, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=data_schema_of("features/x@1"))


def vectors_of(rows: Sequence[Span], width: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(len(rows)).normal(3, 1, size=(len(rows), width)).astype(np.float32)


class Right(NamedTuple):
    """What brute force finds: rows that overlap, by time; or the rows that are equally near, each of them right."""

    inside: list[int]
    near: list[int]


def brute_force(segment: Span, rows: Sequence[Span]) -> Right:
    media_id, start, end = segment
    own = [index for index, row in enumerate(rows) if row[0] == media_id]
    inside = [index for index in own if overlap_us(segment, rows[index]) > 0]
    if inside:
        return Right(sorted(inside, key=lambda index: rows[index][1:]), [])
    distances = {index: max(rows[index][1] - end, start - rows[index][2], 0) for index in own}
    best = min(distances.values(), default=NEAREST_WITHIN_US + 1)
    return Right([], [i for i in own if distances[i] == best] if best <= NEAREST_WITHIN_US else [])


def overlap_us(segment: Span, row: Span) -> int:
    return min(segment[2], row[2]) - max(segment[1], row[1])


def pooled_by_hand(segment: Span, rows: Sequence[Span], vectors: NDArray[np.float32], how: str) -> list[list[float]]:
    """The vectors that are right, number by number; several where rows are equally near, or start together."""
    inside, near = brute_force(segment, rows)
    if not inside:
        return [[0.0] * vectors.shape[1] if how == "std" else vectors[index].tolist() for index in near]
    weights = [overlap_us(segment, rows[index]) for index in inside]
    columns = [[float(vectors[index][column]) for index in inside] for column in range(vectors.shape[1])]
    if how == "max":
        return [[max(column) for column in columns]]
    if how == "last":
        latest = max(rows[index][1:] for index in inside)
        return [vectors[index].tolist() for index in inside if rows[index][1:] == latest]
    means = [math.fsum(w * x for w, x in zip(weights, column, strict=True)) / sum(weights) for column in columns]
    if how == "mean":
        return [means]
    squares = [[w * (x - m) ** 2 for w, x in zip(weights, c, strict=True)] for c, m in zip(columns, means, strict=True)]
    return [[math.sqrt(math.fsum(column) / sum(weights)) for column in squares]]


@settings(max_examples=400, deadline=None)
@given(segments=spans(10), rows=spans(24), how=st.sampled_from(POOLS))
@example(segments=[("a", 0, 10)], rows=[], how="mean")
@example(segments=[], rows=[("a", 0, 10)], how="max")
@example(segments=[("a", 5, 6)], rows=[("a", 5, 6), ("a", 4, 5), ("a", 6, 7)], how="mean")
@example(segments=[("a", 1_000_000, 2_000_000)], rows=[("a", 0, 500_000), ("a", 0, 499_999)], how="last")
@example(segments=[("a", 100, 200)], rows=[("a", 0, 1_000), ("a", 50, 60), ("a", 300, 400)], how="std")
def test_pooling_equals_brute_force(segments: list[Span], rows: list[Span], how: str) -> None:
    vectors = vectors_of(rows)
    pooled = pool_by_overlap(segments_table(segments), rows_table(rows, vectors), (3,), how)
    assert pooled.values.dtype == np.float32
    assert pooled.values.shape == (len(segments), 3)
    for index, segment in enumerate(segments):
        right = pooled_by_hand(segment, rows, vectors, how)
        assert pooled.present[index] == bool(right)
        assert pooled.nearest[index] == bool(brute_force(segment, rows).near)
        got = pooled.values[index].tolist()
        assert any(got == pytest.approx(vector, rel=1e-6, abs=1e-7) for vector in right or [[0.0] * 3])


@settings(max_examples=200, deadline=None)
@given(segments=spans(8), rows=spans(24), max_len=st.integers(1, 6))
def test_sequences_equal_brute_force(segments: list[Span], rows: list[Span], max_len: int) -> None:
    rows = sorted(set(rows))
    vectors = vectors_of(rows)
    padded = pad_by_overlap(segments_table(segments), rows_table(rows, vectors), (3,), max_len)
    assert padded.values.shape == (len(segments), max_len, 3)
    for index, segment in enumerate(segments):
        inside, near = brute_force(segment, rows)
        length = int(padded.length[index])
        assert length == min(len(inside) or bool(near), max_len)
        assert padded.present[index] == (length > 0)
        assert padded.nearest[index] == bool(near)
        right = [vectors[inside[:max_len]]] if inside else [vectors[[row]] for row in near] or [vectors[:0]]
        assert any(np.array_equal(padded.values[index, :length], block) for block in right)
        assert not padded.values[index, length:].any()


@settings(max_examples=100, deadline=None)
@given(segments=spans(8), rows=spans(24), how=st.sampled_from(POOLS), seed=st.integers(0, 99))
def test_order_of_rows_and_segments_does_not_show(segments: list[Span], rows: list[Span], how: str, seed: int) -> None:
    rows = sorted(set(rows))
    rng = np.random.default_rng(seed)
    order, other_order = rng.permutation(len(rows)), rng.permutation(len(segments))
    vectors = vectors_of(rows)
    one = pool_by_overlap(segments_table(segments), rows_table(rows, vectors), (3,), how)
    shuffled = rows_table([rows[i] for i in order], vectors[order])
    other = pool_by_overlap(segments_table([segments[i] for i in other_order]), shuffled, (3,), how)
    assert all(np.array_equal(a[other_order], b) for a, b in zip(one, other, strict=True))


@settings(max_examples=50, deadline=None)
@given(segments=spans(6), rows=spans(16), how=st.sampled_from(POOLS))
def test_a_media_is_aligned_the_same_alone_and_among_others(segments: list[Span], rows: list[Span], how: str) -> None:
    rows = sorted(set(rows))
    vectors = vectors_of(rows)
    together = pool_by_overlap(segments_table(segments), rows_table(rows, vectors), (3,), how)
    for media_id in MEDIA:
        own = [index for index, segment in enumerate(segments) if segment[0] == media_id]
        mine = [index for index, row in enumerate(rows) if row[0] == media_id]
        table = rows_table([rows[index] for index in mine], vectors[mine])
        alone = pool_by_overlap(segments_table([segments[index] for index in own]), table, (3,), how)
        assert all(np.array_equal(a[own], b) for a, b in zip(together, alone, strict=True))


@pytest.mark.parametrize("how", POOLS)
def test_many_rows_in_one_segment_are_pooled_in_pieces(how: str) -> None:
    vectors = np.random.default_rng(1).normal(size=(3_000, 700)).astype(np.float32)
    rows = [("a", index, index + 1) for index in range(len(vectors))]
    pooled = pool_by_overlap(segments_table([("a", 0, 1), ("a", 0, 3_000)]), rows_table(rows, vectors), (700,), how)
    exact = vectors.astype(float)
    right = {"mean": exact.mean(axis=0), "max": exact.max(axis=0), "std": exact.std(axis=0), "last": exact[-1]}
    assert np.allclose(pooled.values[1], right[how], rtol=1e-6, atol=1e-7)


def test_weights_are_the_overlaps() -> None:
    rows = rows_table([("a", 0, 1_000_000), ("a", 1_000_000, 2_000_000)], np.array([[0.0], [10.0]]))
    segments = segments_table([("a", 750_000, 1_750_000)])
    assert pool_by_overlap(segments, rows, (1,)).values.tolist() == [[7.5]]
    assert pool_by_overlap(segments, rows, (1,), "std").values[0, 0] == pytest.approx(10 * math.sqrt(0.25 * 0.75))
    assert not pool_by_overlap(segments, rows, (1,)).nearest[0]


def test_nearest_only_within_half_a_second_of_its_own_media() -> None:
    rows = rows_table([("a", 1_500_000, 1_600_000), ("b", 0, 10)], np.array([[1.0], [2.0]]))
    pooled = pool_by_overlap(segments_table([("a", 0, 1_000_000), ("a", 0, 999_999), ("c", 0, 10)]), rows, (1,))
    assert pooled.present.tolist() == [True, False, False]
    assert pooled.nearest.tolist() == [True, False, False]


@pytest.mark.parametrize("how", POOLS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_absent(how: str, value: float) -> None:
    rows = rows_table([("a", 0, 5), ("a", 10, 15)], np.array([[value, 1.0], [2.0, 3.0]]))
    pooled = pool_by_overlap(segments_table([("a", 0, 5), ("a", 10, 15)]), rows, (2,), how)
    assert pooled.present.tolist() == [False, True]
    assert pooled.values[0].tolist() == [0.0, 0.0]
    padded = pad_by_overlap(segments_table([("a", 0, 5)]), rows, (2,), 2)
    assert padded.length.tolist() == [0]


def test_another_width_is_refused() -> None:
    with pytest.raises(ModelError, match=r"\[2\] numbers, 3 were expected"):
        pool_by_overlap(segments_table([("a", 0, 5)]), rows_table([("a", 0, 5)], np.ones((1, 2))), (3,))


def test_an_unknown_way_to_pool_is_refused() -> None:
    table = rows_table([("a", 0, 5)], np.ones((1, 2)))
    with pytest.raises(ConfigError, match="no way to pool 'median'; write one of mean, max, std, last"):
        pool_by_overlap(segments_table([("a", 0, 5)]), table, (2,), "median")
    with pytest.raises(ConfigError, match="at least 1"):
        pad_by_overlap(segments_table([("a", 0, 5)]), table, (2,), 0)
