"""Sampling sources: what a sample says of all, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.planning.sampling import draw_strata, estimate
from features.planning.work import Work


def work(size_bytes: int, seconds: float) -> Work:
    return Work(num_media=1, size_bytes=size_bytes, media_seconds=seconds)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=300), st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_every_source_is_in_one_stratum_and_each_stratum_is_looked_into(sizes: list[int], wanted: int) -> None:
    strata = draw_strata(sizes, wanted)
    members = np.concatenate([stratum.members for stratum in strata])
    assert sorted(members.tolist()) == list(range(len(sizes)))
    for stratum in strata:
        assert set(stratum.sampled) <= set(stratum.members)
        assert len(set(stratum.sampled.tolist())) == len(stratum.sampled) >= 1
    if not wanted or wanted >= len(sizes):
        assert sum(len(stratum.sampled) for stratum in strata) == len(sizes)


def test_it_draws_about_as_many_as_are_wanted_and_always_the_same() -> None:
    sizes = np.random.default_rng(0).lognormal(17, 1.5, 5000).astype(int).tolist()
    strata = draw_strata(sizes, 200)
    assert 180 <= sum(len(stratum.sampled) for stratum in strata) <= 220
    again = draw_strata(sizes, 200)
    assert all(np.array_equal(a.sampled, b.sampled) for a, b in zip(strata, again, strict=True))


def test_where_all_are_looked_into_the_total_is_exact() -> None:
    rng = np.random.default_rng(1)
    sizes = rng.integers(1, 10**6, 50).tolist()
    seconds = rng.uniform(1, 100, 50)
    found = [work(size, second) for size, second in zip(sizes, seconds, strict=True)]
    total = estimate(draw_strata(sizes, 0), sizes, [None, *found[1:]])
    assert total.work.media_seconds == pytest.approx(sum(seconds[1:]))
    assert (total.work.num_media, total.num_broken, total.margin_seconds) == (49, 1, 0)


def test_what_is_proportional_to_bytes_is_exact_from_any_sample() -> None:
    sizes = np.random.default_rng(2).lognormal(15, 2, 1000).astype(int).tolist()
    strata = draw_strata(sizes, 40)
    looked = {place for stratum in strata for place in stratum.sampled.tolist()}
    found = [work(size, size / 1000) if place in looked else None for place, size in enumerate(sizes)]
    total = estimate(strata, sizes, found)
    assert total.work.media_seconds == pytest.approx(sum(sizes) / 1000)
    assert total.margin_seconds == pytest.approx(0, abs=1e-6 * sum(sizes))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Bit rates vary by half; of 100 archives the 95 % interval holds at least 88."""
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        sizes = rng.lognormal(17, 1, 2000).astype(int).tolist()
        seconds = np.array(sizes) / rng.uniform(0.5e6, 1.5e6, 2000)
        strata = draw_strata(sizes, 120, seed=seed)
        looked = {place for stratum in strata for place in stratum.sampled.tolist()}
        found = [work(sizes[place], seconds[place]) if place in looked else None for place in range(2000)]
        total = estimate(strata, sizes, found)
        assert total.margin_seconds < 0.2 * total.work.media_seconds
        held += abs(total.work.media_seconds - seconds.sum()) <= total.margin_seconds
    assert held >= 88


def test_broken_files_count_by_their_share() -> None:
    sizes = [1000] * 400
    strata = draw_strata(sizes, 100)
    found = [None if place % 4 == 0 else work(1000, 1.0) for place in range(400)]
    total = estimate(strata, sizes, found)
    assert total.num_broken == pytest.approx(100, rel=0.35)
    assert total.work.media_seconds == pytest.approx(400 - total.num_broken)


def test_nothing_to_sample() -> None:
    total = estimate(draw_strata([], 10), [], [])
    assert total.work == Work()
    assert (total.num_broken, total.num_sampled, total.margin_seconds) == (0, 0, 0)
