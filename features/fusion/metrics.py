"""Metrics of a classifier, and the interval of the difference between two on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_DRAWN_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Metrics:
    """Of predictions against truth, each in [0, 1]; precision, recall and F1 are means over classes (macro)."""

    accuracy: float
    precision: float
    recall: float
    f1: float


def classification_metrics(targets: NDArray[np.int64], predictions: NDArray[np.int64]) -> Metrics:
    """Accuracy and macro precision, recall and F1, as scikit-learn defines them.

    Macro means are over the classes that occur in the targets or the predictions; a precision without any prediction
    of its class is 0.

    Args:
        targets: Classes, int64 [n], n at least 1.
        predictions: Classes, int64 [n].

    Reference:
        Pedregosa et al. (2011), JMLR 12.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(targets, predictions, average="macro", zero_division=0)
    return Metrics(float(accuracy_score(targets, predictions)), float(precision), float(recall), float(f1))


def paired_bootstrap(
    correct: NDArray[np.bool_],
    other: NDArray[np.bool_],
    groups: Sequence[str],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """95 % interval of the difference in accuracy between two models on the same rows.

    Whole groups are drawn with replacement, for rows of one group are not independent; the interval is that of the
    2.5th and 97.5th percentiles.

    Args:
        correct: Whether the first model is right, bool [n].
        other: Whether the second is, bool [n].
        groups: Group of each row.
        resamples: Draws.
        seed: Of the draws.

    Returns:
        Lower and upper end of `correct - other`, as shares in [-1, 1].

    Reference:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    _, codes = np.unique(np.asarray(groups), return_inverse=True)
    num_groups = int(codes.max()) + 1
    sizes = np.bincount(codes)
    differences = np.bincount(codes, weights=correct.astype(np.float64) - other)
    random = np.random.default_rng(seed)
    gains: list[NDArray[np.float64]] = []
    for start in range(0, resamples, _DRAWN_AT_ONCE):
        drawn = random.integers(num_groups, size=(min(_DRAWN_AT_ONCE, resamples - start), num_groups))
        gains.append(differences[drawn].sum(axis=1) / sizes[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(gains), [2.5, 97.5])
    return float(low), float(high)
