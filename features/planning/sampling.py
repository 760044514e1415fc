"""Which of many sources are looked into, and what the sample says of all.

Sources are laid in strata by size, each of about as many bytes, for large files hold most of the hours. In a stratum an
amount is estimated by its ratio to bytes, and a share of files (such as of broken ones) by its share in the sample.

Reference:
    Cochran (1977), Sampling Techniques, 3rd ed., ch. 6.8: the separate ratio estimator.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.planning.work import Work

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_STRATA = 8
_LEAST_A_STRATUM = 2
_INTERVAL = 1.96


class Stratum(NamedTuple):
    """Places of sources of about one size, and those of them that are looked into."""

    members: NDArray[np.int64]
    sampled: NDArray[np.int64]


class Estimate(NamedTuple):
    """What all sources are, by a sample.

    Attributes:
        work: Amounts.
        num_broken: Sources that cannot be read.
        num_sampled: Sources that were looked into.
        margin_seconds: Half the width of a 95 % interval of `work.media_seconds`; 0 where all were looked into.
    """

    work: Work
    num_broken: float
    num_sampled: int
    margin_seconds: float


def draw_strata(sizes_bytes: Sequence[int], num_wanted: int, *, seed: int = 0) -> list[Stratum]:
    """Lay sources in strata by size, and draw from each; the same for the same sizes.

    Args:
        sizes_bytes: Sizes.
        num_wanted: Sources to look into, about; 0, or as many as there are: all.
        seed: Start of the random numbers.
    """
    sizes = np.asarray(sizes_bytes, np.int64)
    order = np.argsort(sizes, kind="stable")
    if not num_wanted or num_wanted >= len(sizes):
        return [Stratum(order, order)] if len(sizes) else []
    rng = np.random.default_rng(seed)
    num_strata = max(1, min(_STRATA, num_wanted // _LEAST_A_STRATUM))
    share = np.cumsum(sizes[order] + 1.0)
    strata = []
    for number in range(num_strata):
        low, high = (share[-1] * step / num_strata for step in (number, number + 1))
        members = order[(share > low) & (share <= high + 0.5 * (number == num_strata - 1))]
        wanted = min(len(members), max(_LEAST_A_STRATUM, round(num_wanted / num_strata)))
        if len(members):
            strata.append(Stratum(members, np.sort(rng.choice(members, wanted, replace=False))))
    return strata


def estimate(strata: Sequence[Stratum], sizes_bytes: Sequence[int], found: Sequence[Work | None]) -> Estimate:
    """What all sources are.

    Args:
        strata: As drawn.
        sizes_bytes: Sizes of all sources.
        found: By place: what a source that was looked into is; None of one that is broken, or was not looked into.
    """
    sizes = np.asarray(sizes_bytes, np.float64)
    total, num_broken, num_sampled, variance = Work(), 0.0, 0, 0.0
    for members, sampled in strata:
        seen = [found[place] or Work() for place in sampled]  # a broken file has bytes, and nothing in them
        share_sound = sum(found[place] is not None for place in sampled) / len(sampled)
        factor = _total(sizes[members]) / _total(sizes[sampled])
        of_stratum = reduce(Work.plus, seen).times(factor)
        num_sound = len(members) * share_sound
        total = total.plus(replace(of_stratum, num_media=num_sound, size_bytes=_total(sizes[members]) * share_sound))
        num_broken += len(members) - num_sound
        num_sampled += len(sampled)
        variance += _variance(len(members), sizes[sampled], np.array([work.media_seconds for work in seen]))
    return Estimate(total, num_broken, num_sampled, _INTERVAL * math.sqrt(variance))


def _total(sizes: NDArray[np.float64]) -> float:
    return max(1.0, float(sizes.sum()))


def _variance(num_members: int, sizes: NDArray[np.float64], amounts: NDArray[np.float64]) -> float:
    """Of a stratum's total, by the residuals of the ratio."""
    num = len(amounts)
    if num == num_members or num < _LEAST_A_STRATUM:
        return 0.0
    residuals = amounts - amounts.sum() / _total(sizes) * sizes
    return num_members**2 * (1 - num / num_members) / num * float(residuals @ residuals) / (num - 1)
