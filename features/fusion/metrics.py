"""Metrics of predictions against truth, by the kind of the task, as scikit-learn defines them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.errors import ModelError
from features.fusion.bootstrap import paired_bootstrap
from features.fusion.calibration import calibration_error, decided

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

__all__ = ["Metrics", "classification_metrics", "measure", "paired_bootstrap", "score_rows"]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Of predictions against truth; None where a metric does not apply to the task's kind, or is undefined.

    Attributes:
        accuracy: Share that is right, in [0, 1]; `multilabel`: of the known cells.
        precision: Mean over classes (macro), in [0, 1].
        recall: The same.
        f1: The same.
        weighted_f1: Mean over classes weighted by how often they are true, in [0, 1].
        nll: Mean negative log-likelihood of the truth, nats; `multilabel`: of a known cell.
        brier: Mean squared error of the probabilities: in [0, 1] between two classes, the sum over classes in [0, 2]
            between more.
        ece: Expected calibration error, 15 bins, in [0, 1] (`calibration_error`).
        mae: Mean absolute error, in the labels' unit.
        rmse: Root of the mean squared error, in the labels' unit.
        pearson: Correlation of predictions and truth, in [-1, 1]; None where either does not vary.
        r2: Share of the variance that is explained, at most 1; None of fewer than two rows.
    """

    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    weighted_f1: float | None = None
    nll: float | None = None
    brier: float | None = None
    ece: float | None = None
    mae: float | None = None
    rmse: float | None = None
    pearson: float | None = None
    r2: float | None = None


def measure(kind: str, targets: NDArray[Any], outputs: Floats) -> Metrics:
    """All metrics of a task's predictions.

    Args:
        kind: `class`, `binary`, `multilabel` or `regression`.
        targets: `class` and `binary`: places in classes, int64 [n]; `multilabel`: 0, 1 or NaN for unknown,
            [n, num_classes]; `regression`: [n].
        outputs: `class` and `binary`: probabilities [n, num_classes], rows sum to 1; `multilabel`: of each label,
            [n, num_classes]; `regression`: [n].

    Raises:
        ModelError: There is no known row, or the kind is unknown.

    Reference:
        Pedregosa et al. (2011), JMLR 12.
    """
    _check(kind, targets, outputs)
    if kind == "regression":
        return _regression(np.asarray(targets, np.float64), np.asarray(outputs, np.float64))
    plain = (
        _label_metrics(targets, outputs)
        if kind == "multilabel"
        else classification_metrics(targets, outputs.argmax(axis=1))
    )
    nll, brier = _likelihood(kind, targets, outputs)
    return replace(plain, nll=nll, brier=brier, ece=calibration_error(outputs, targets, kind=kind).ece)


def score_rows(kind: str, targets: NDArray[Any], outputs: Floats) -> NDArray[np.float64]:
    """How well each row is predicted, more being better: the numbers whose mean is a task's headline.

    Args:
        kind: As for `measure`.
        targets: As for `measure`; each row has a known cell.
        outputs: As for `measure`.

    Returns:
        `class` and `binary`: 1 where the likeliest class is true, else 0; `multilabel`: the share of the row's known
        cells that is right; `regression`: minus the absolute error. [n].

    Raises:
        ModelError: There is no known row, or the kind is unknown.
    """
    _check(kind, targets, outputs)
    if kind == "regression":
        return np.asarray(-np.abs(np.asarray(targets, np.float64) - outputs), np.float64)
    if kind == "multilabel":
        known = ~np.isnan(targets)
        right = ((outputs > 0.5) == (targets > 0.5)) & known
        return np.asarray(right.sum(axis=1) / known.sum(axis=1), np.float64)
    return np.asarray(outputs.argmax(axis=1) == targets, np.float64)


def classification_metrics(targets: NDArray[np.int64], predictions: NDArray[np.int64]) -> Metrics:
    """Accuracy and macro precision, recall and F1, and the F1 weighted by class.

    Macro means are over the classes that occur in the targets or the predictions; a precision without any prediction
    of its class is 0.

    Args:
        targets: Classes, int64 [n], n at least 1.
        predictions: Classes, int64 [n].

    Reference:
        Pedregosa et al. (2011), JMLR 12.
    """
    from sklearn.metrics import accuracy_score, f1_score, precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(targets, predictions, average="macro", zero_division=0)
    weighted = f1_score(targets, predictions, average="weighted", zero_division=0)
    accuracy = accuracy_score(targets, predictions)
    return Metrics(float(accuracy), float(precision), float(recall), float(f1), float(weighted))


class _Label(NamedTuple):
    precision: float
    recall: float
    f1: float
    num_true: int


def _label_metrics(targets: Floats, outputs: Floats) -> Metrics:
    """Each label on the rows that tell of it, and the means over those labels; a label holds above 0.5."""
    known, said = ~np.isnan(targets), outputs > 0.5
    labels = [_label(targets[rows, place] > 0.5, said[rows, place]) for place, rows in enumerate(known.T) if rows.any()]
    accuracy = float((said == (targets > 0.5))[known].mean())
    precision, recall, f1 = (float(np.mean([getattr(item, name) for item in labels])) for name in _Label._fields[:3])
    num_true = sum(item.num_true for item in labels)
    weighted = sum(item.f1 * item.num_true for item in labels) / num_true if num_true else 0.0
    return Metrics(accuracy, precision, recall, f1, float(weighted))


def _label(truth: NDArray[np.bool_], said: NDArray[np.bool_]) -> _Label:
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(truth, said, average="binary", zero_division=0)
    return _Label(float(precision), float(recall), float(f1), int(truth.sum()))


def _likelihood(kind: str, targets: NDArray[Any], outputs: Floats) -> tuple[float, float]:
    """Negative log-likelihood and Brier score."""
    from sklearn.metrics import brier_score_loss, log_loss

    found = decided(kind, targets, outputs)
    classes = list(range(found.outputs.shape[1]))
    if len(classes) < 2:
        return 0.0, 0.0  # one class alone is sure, and scikit-learn asks for two
    nll = log_loss(found.targets, found.outputs, labels=classes)
    if len(classes) == 2:
        return float(nll), float(brier_score_loss(found.targets, found.outputs[:, 1], pos_label=1))
    return float(nll), float(brier_score_loss(found.targets, found.outputs, labels=classes))


def _regression(targets: NDArray[np.float64], outputs: NDArray[np.float64]) -> Metrics:
    from scipy.stats import pearsonr
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    several = len(targets) > 1
    varies = several and np.ptp(targets) > 0 and np.ptp(outputs) > 0
    return Metrics(
        mae=float(mean_absolute_error(targets, outputs)),
        rmse=float(root_mean_squared_error(targets, outputs)),
        pearson=float(pearsonr(targets, outputs).statistic) if varies else None,
        r2=float(r2_score(targets, outputs)) if several else None,
    )


def _check(kind: str, targets: NDArray[Any], outputs: Floats) -> None:
    if kind not in ("class", "binary", "multilabel", "regression"):
        message = f"there are no metrics for a task of kind {kind!r}; kinds are class, binary, multilabel, regression"
        raise ModelError(message)
    if len(targets) != len(outputs):
        message = f"metrics need a prediction a target, not {len(outputs)} for {len(targets)}; predict the same rows"
        raise ModelError(message)
    if not len(targets) or (kind == "multilabel" and np.isnan(targets).all()):
        message = f"there are no metrics of {len(targets)} rows of which nothing is known; check the split's labels"
        raise ModelError(message)
