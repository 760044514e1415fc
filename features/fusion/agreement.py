"""Agreement of a regression's predictions with the truth: errors and correlation with intervals, and points to draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.fusion.bootstrap import interval, pearson_interval
from features.fusion.metrics import measure
from features.fusion.results import MAX_POINTS, Agreement, RegressionPoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def agreement_of(
    truth: NDArray[np.floating], predicted: NDArray[np.floating], groups: Sequence[str], *, resamples: int = 2000
) -> Agreement:
    """How far predictions agree with the truth, with 95 % intervals by a bootstrap over groups.

    The root is monotone, so the ends of the mean squared error's interval are those of its root.

    Args:
        truth: The labels' numbers, [n].
        predicted: What the model says, [n].
        groups: Group of each row.
        resamples: Draws of the bootstrap.

    Raises:
        ModelError: There is no row, or a number is not finite.
    """
    metrics = measure("regression", truth, np.asarray(predicted, np.float64))
    squares = (np.asarray(truth, np.float64) - predicted) ** 2
    ends = np.sqrt(np.maximum(interval(squares, groups, resamples=resamples), 0))
    rmse = (float(np.sqrt(squares.mean())), float(ends[0]), float(ends[1]))
    correlation = pearson_interval(truth, predicted, groups, resamples=resamples)
    pearson = () if correlation is None or metrics.pearson is None else (metrics.pearson, *correlation)
    kept = np.unique(np.linspace(0, len(squares) - 1, min(MAX_POINTS, len(squares))).round().astype(int))
    return Agreement(
        rmse=rmse,
        pearson=pearson,
        points=tuple(RegressionPoint(float(truth[row]), float(predicted[row])) for row in kept),
    )
