from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ModelError
from features.fusion.alignment import NEAREST_WITHIN_US, pool_by_overlap
from features.fusion.segments import SEGMENTS
from features.schema import data_schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

Span = tuple[str, int, int]
STEP = 100_000

spans = st.lists(
    st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(0, 12)).map(
        lambda span: (span[0], span[1] * STEP, (span[1] + span[2]) * STEP)
    ),
    max_size=14,
)


def segments_table(items: Sequence[Span]) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(SEGMENTS.names, item, strict=True)) for item in items], schema=SEGMENTS)


def rows_table(items: Sequence[Span], vectors: np.ndarray) -> pa.Table:
    rows = [
        {"media_id": media_id, "start_us": start, "end_us": end, "values": vector}
        for (media_id, start, end), vector in zip(items, vectors, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=data_schema_of("features/x@1"))


def brute_force(segment: Span, rows: Sequence[Span], vectors: np.ndarray, how: str) -> tuple[list[np.ndarray], bool]:
    """The vectors that are right (several where rows are equally near), and whether the nearest stood in."""
    media_id, start, end = segment
    own = [index for index, row in enumerate(rows) if row[0] == media_id]
    overlaps = {index: min(end, rows[index][2]) - max(start, rows[index][1]) for index in own}
    inside = [index for index in own if overlaps[index] > 0]
    if inside:
        if how == "max":
            return [vectors[inside].max(axis=0)], False
        weights = np.array([overlaps[index] for index in inside], float)
        return [np.average(vectors[inside].astype(float), axis=0, weights=weights)], False
    distances = {index: max(rows[index][1] - end, start - rows[index][2], 0) for index in own}
    best = min(distances.values(), default=NEAREST_WITHIN_US + 1)
    return [
        vectors[index] for index in own if distances[index] == best and best <= NEAREST_WITHIN_US
    ], best <= NEAREST_WITHIN_US


@settings(max_examples=200, deadline=None)
@given(segments=spans, rows=spans, how=st.sampled_from(["mean", "max"]))
def test_equals_brute_force(segments: list[Span], rows: list[Span], how: str) -> None:
    vectors = np.random.default_rng(len(rows)).normal(size=(len(rows), 3)).astype(np.float32)
    pooled = pool_by_overlap(segments_table(segments), rows_table(rows, vectors), (3,), how)
    for index, segment in enumerate(segments):
        right, nearest = brute_force(segment, rows, vectors, how)
        assert pooled.present[index] == bool(right)
        assert pooled.nearest[index] == nearest
        if right:
            assert any(np.allclose(pooled.values[index], vector, atol=1e-6) for vector in right)
        else:
            assert not pooled.values[index].any()


@settings(max_examples=50, deadline=None)
@given(segments=spans, rows=spans, seed=st.integers(0, 99))
def test_order_of_rows_does_not_show(segments: list[Span], rows: list[Span], seed: int) -> None:
    rows = sorted(set(rows))
    order = np.random.default_rng(seed).permutation(len(rows))
    vectors = np.arange(2 * len(rows), dtype=np.float32).reshape(-1, 2)
    one = pool_by_overlap(segments_table(segments), rows_table(rows, vectors), (2,))
    other = pool_by_overlap(segments_table(segments), rows_table([rows[i] for i in order], vectors[order]), (2,))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_weights_are_the_overlaps() -> None:
    rows = rows_table([("a", 0, 1_000_000), ("a", 1_000_000, 2_000_000)], np.array([[0.0], [10.0]]))
    pooled = pool_by_overlap(segments_table([("a", 750_000, 1_750_000)]), rows, (1,))
    assert pooled.values.tolist() == [[7.5]]
    assert not pooled.nearest[0]


def test_nearest_only_within_half_a_second_of_its_own_media() -> None:
    rows = rows_table([("a", 1_500_000, 1_600_000), ("b", 0, 10)], np.array([[1.0], [2.0]]))
    pooled = pool_by_overlap(segments_table([("a", 0, 1_000_000), ("a", 0, 999_999), ("c", 0, 10)]), rows, (1,))
    assert pooled.present.tolist() == [True, False, False]
    assert pooled.nearest.tolist() == [True, False, False]


def test_a_vector_that_is_not_finite_is_absent() -> None:
    pooled = pool_by_overlap(segments_table([("a", 0, 5)]), rows_table([("a", 0, 5)], np.array([[np.nan, 1.0]])), (2,))
    assert pooled.present.tolist() == [False]
    assert pooled.values.tolist() == [[0.0, 0.0]]


def test_another_width_is_refused() -> None:
    with pytest.raises(ModelError, match=r"\[2\] numbers, 3 were expected"):
        pool_by_overlap(segments_table([("a", 0, 5)]), rows_table([("a", 0, 5)], np.ones((1, 2))), (3,))
