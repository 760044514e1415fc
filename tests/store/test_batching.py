"""How a listing is cut into batches, and batches into waves."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from features.store.plan import BatchLimits, _even_cuts, waves

if TYPE_CHECKING:
    from collections.abc import Sequence

SIZES = st.lists(st.integers(0, 200), min_size=1, max_size=30)
LIMITS = st.builds(BatchLimits, st.integers(1, 300), st.integers(1, 10), st.integers(1, 6), st.integers(1, 300))


def cut(sizes: Sequence[int], limits: BatchLimits) -> list[list[int]]:
    """Sizes, grouped as `_even_cuts` says."""
    left = iter(sizes)
    return [list(islice(left, count)) for count in _even_cuts(sizes, limits)]


@given(SIZES, LIMITS)
@settings(deadline=None)
def test_batches_keep_order_and_bounds(sizes: list[int], limits: BatchLimits) -> None:
    batches = cut(sizes, limits)
    assert [size for batch in batches for size in batch] == sizes
    for batch in batches:
        assert 0 < len(batch) <= limits.max_sources
        assert len(batch) == 1 or sum(batch) <= limits.max_bytes


@given(st.integers(1, 500), st.integers(1, 64))
def test_like_sources_make_like_batches(count: int, workers: int) -> None:
    """None is left over for a small batch at the end."""
    batches = cut([50 << 20] * count, BatchLimits(min_batches=workers))
    lengths = [len(batch) for batch in batches]
    assert max(lengths) - min(lengths) <= 1
    assert len(batches) == max(min(count, workers), -(-count // 20))


def test_a_few_tiny_clips_still_use_the_workers_there_are() -> None:
    assert [len(batch) for batch in cut([200_000] * 48, BatchLimits(min_batches=2))] == [24, 24]


def test_many_workers_do_not_shatter_a_small_night() -> None:
    clips = [1 << 20] * 160
    assert len(cut(clips, BatchLimits(min_batches=64))) == 10  # of 16 MB each
    assert len(cut(clips[:20], BatchLimits(min_batches=64))) == 4


def test_a_large_night_fills_its_batches_however_many_workers_there_are() -> None:
    sizes = [50 << 20] * 4000
    assert cut(sizes, BatchLimits(min_batches=2)) == cut(sizes, BatchLimits(min_batches=64))
    assert {sum(batch) for batch in cut(sizes, BatchLimits(min_batches=2))} == {1000 << 20}


def test_sources_of_unlike_size_make_batches_of_like_size() -> None:
    sizes = [(1 + 37 * index % 100) << 20 for index in range(1000)]
    totals = [sum(batch) for batch in cut(sizes, BatchLimits())]
    assert min(totals[:-1]) > 0.8 * max(totals)


@given(st.lists(st.integers(), max_size=20), st.integers(1, 7))
def test_waves_cut_in_order(numbers: list[int], size: int) -> None:
    batch_ids = [str(number) for number in numbers]
    cut = list(waves(batch_ids, size))
    assert [batch_id for wave in cut for batch_id in wave] == batch_ids
    assert all(len(wave) == size for wave in cut[:-1])
    assert all(0 < len(wave) <= size for wave in cut)
