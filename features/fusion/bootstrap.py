"""Bootstrap over groups: 95 % intervals of a mean score, and of the difference between two models' on the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_DRAWN_AT_ONCE = 100
_ENDS = (2.5, 97.5)
_NO_SPREAD = 1e-12  # of the product of variances, relative: what rounding leaves of a constant


def interval(
    scores: NDArray[np.floating] | NDArray[np.bool_],
    groups: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of the mean of a model's scores, by the percentile bootstrap over groups.

    Whole groups are drawn with replacement, for rows of one group are not independent. Few groups make it too narrow:
    it held the truth in 94 % of simulated test sets of 80 groups, 93 % at 40, 92 % at 20, 88 % at 8 and 81 % at 4
    (accuracies of groups of 5 to 14 rows around .7, with a deviation of .15), and the interval of a single group has no
    width and says nothing.

    Args:
        scores: The number of each row whose mean is told, such as 1 where it is right (`score_rows`), [n].
        groups: Group of each row.
        resamples: Draws.
        seed: Of the draws.

    Returns:
        Lower and upper end, in the unit of the scores.

    Raises:
        ModelError: There is no row, a score is not finite, or scores and groups are not of one length.

    Reference:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    values = np.asarray(scores, np.float64)
    _check(values, groups)
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    sizes, sums = np.bincount(codes), np.bincount(codes, weights=values)
    random = np.random.default_rng(seed)
    means: list[NDArray[np.float64]] = []
    for start in range(0, resamples, _DRAWN_AT_ONCE):
        drawn = random.integers(len(sizes), size=(min(_DRAWN_AT_ONCE, resamples - start), len(sizes)))
        means.append(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), _ENDS)
    return float(low), float(high)


def paired_bootstrap(
    scores: NDArray[np.floating] | NDArray[np.bool_],
    other: NDArray[np.floating] | NDArray[np.bool_],
    groups: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of the mean difference between two models' scores on the same rows.

    A draw takes the same groups for both models, so what makes a group hard for both does not widen it. What `interval`
    says of few groups holds here too.

    Args:
        scores: The first model's, [n].
        other: The second's, [n].
        groups: Group of each row.
        resamples: Draws.
        seed: Of the draws.

    Returns:
        Lower and upper end of the mean of `scores - other`.

    Raises:
        ModelError: See `interval`.

    Reference:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    if len(scores) != len(other):
        message = f"a paired bootstrap needs both models' scores of the same rows, not {len(scores)} and {len(other)};"
        raise ModelError(message + " score both on one test split")
    differences = np.asarray(scores, np.float64) - np.asarray(other, np.float64)
    return interval(differences, groups, resamples=resamples, seed=seed)


def pearson_interval(
    truth: NDArray[np.floating],
    predicted: NDArray[np.floating],
    groups: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95 % interval of the correlation of predictions and truth, by the percentile bootstrap over groups.

    A draw's correlation follows from the sums of its groups: count, both sums, both sums of squares, and of products.
    Draws in which either side does not vary have none, and are passed over.

    Args:
        truth: [n].
        predicted: [n].
        groups: Group of each row.
        resamples: Draws.
        seed: Of the draws.

    Returns:
        Lower and upper end in [-1, 1]; None where no draw has a correlation.

    Raises:
        ModelError: See `interval`.

    Reference:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    x, y = (np.asarray(values, np.float64) for values in (truth, predicted))
    for values in (x, y):
        _check(values, groups)
    x, y = x - x.mean(), y - y.mean()  # a large mean would drown the variance in rounding
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.stack([np.bincount(codes, weights=column) for column in (np.ones_like(x), x, y, x * x, y * y, x * y)])
    random = np.random.default_rng(seed)
    found: list[NDArray[np.float64]] = []
    for start in range(0, resamples, _DRAWN_AT_ONCE):
        drawn = random.integers(sums.shape[1], size=(min(_DRAWN_AT_ONCE, resamples - start), sums.shape[1]))
        n, sx, sy, sxx, syy, sxy = sums[:, drawn].sum(axis=2)
        spread = np.maximum(sxx - sx * sx / n, 0) * np.maximum(syy - sy * sy / n, 0)
        varies = spread > _NO_SPREAD * (sxx * syy + np.finfo(np.float64).tiny)
        found.append((sxy - sx * sy / n)[varies] / np.sqrt(spread[varies]))
    correlations = np.clip(np.concatenate(found), -1, 1)
    if not len(correlations):
        return None
    low, high = np.percentile(correlations, _ENDS)
    return float(low), float(high)


def _check(scores: NDArray[np.float64], groups: Sequence[str]) -> None:
    if len(scores) != len(groups):
        message = f"a bootstrap needs a group a row, not {len(groups)} groups for {len(scores)} rows; pass one each"
        raise ModelError(message)
    if not len(scores):
        message = "a bootstrap over 0 rows says nothing; check that the test split has labelled rows"
        raise ModelError(message)
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        message = f"the score of row {row} is {scores[row]}; a bootstrap needs finite ones: leave out unlabelled rows"
        raise ModelError(message)
