"""Figures in words: a headline with its interval, a difference, a metric, as the model card and `models` tell them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from features.fusion.metrics import Metrics
    from features.fusion.results import Agreement, Calibration, Difference, ModelResult

HEADLINES = {"multilabel": "labels right", "regression": "mean absolute error"}
"""What the headline of a task is, by its kind; of the others it is the accuracy."""

_CLASSES = {
    "precision": "precision", "recall": "recall", "F1 (macro)": "f1", "F1 (weighted)": "weighted_f1", "NLL": "nll",
    "Brier": "brier", "ECE": "ece",
}  # fmt: skip
_NUMBERS = {"RMSE": "rmse", "correlation": "pearson", "R2": "r2"}


def headline_name(kind: str) -> str:
    """What a task's headline is: `accuracy`, `labels right` or `mean absolute error`."""
    return HEADLINES.get(kind, "accuracy")


def metric_fields(kind: str) -> Mapping[str, str]:
    """Fields of `Metrics` beside the headline, by the name that people read."""
    return _NUMBERS if kind == "regression" else _CLASSES


def headline(kind: str, metrics: Metrics) -> str:
    """The headline of some metrics, without an interval: `78.4 %`, `0.412`."""
    value = metrics.mae if kind == "regression" else metrics.accuracy
    return "-" if value is None else _value(kind, value)


def result_words(kind: str, result: ModelResult) -> str:
    """A model's headline on the test rows with its interval: `78.4 % (71.2 to 84.9)`, `0.412 (0.380 to 0.450)`."""
    sign = -1 if kind == "regression" else 1  # the score of a regression is minus the error
    low, high = sorted((sign * result.low, sign * result.high))
    ends = (f"{low:.3f}", f"{high:.3f}") if kind == "regression" else (f"{100 * low:.1f}", f"{100 * high:.1f}")
    return f"{_value(kind, sign * result.score)} ({ends[0]} to {ends[1]})"


def difference_words(kind: str, difference: Difference, *, sign: int = 1) -> str:
    """How the headline changes, with its interval: `+6.1 points (+1.0 to +11.0)`; of an error less is better.

    Args:
        kind: Of the task.
        difference: What the model has over another, more being better.
        sign: -1 tells the change from the model to the other.
    """
    value, ends = difference_parts(kind, difference, sign=sign)
    unit = "" if kind == "regression" else " points"
    return f"{value}{unit} ({ends})"


def difference_parts(kind: str, difference: Difference, *, sign: int = 1) -> tuple[str, str]:
    """The change itself and the ends of its interval, the lower first, without a unit; see `difference_words`."""
    scale, digits = (-sign, 3) if kind == "regression" else (100 * sign, 1)
    low, high = sorted((scale * difference.low, scale * difference.high))
    return _signed(scale * difference.value, digits), f"{_signed(low, digits)} to {_signed(high, digits)}"


def metric_words(metrics: Metrics, field: str) -> str:
    """A metric with three digits, or `-` where there is none."""
    value = getattr(metrics, field)
    return "-" if value is None else f"{value:.3f}"


def agreement_words(found: Agreement) -> str:
    """RMSE and correlation of a regression with their intervals: `RMSE 0.412 (0.380 to 0.450), correlation …`."""
    correlation = _with_ends(found.pearson) if found.pearson else "not defined"
    return f"RMSE {_with_ends(found.rmse)}, correlation {correlation}"


def calibration_words(found: Calibration) -> str:
    """What the temperature does to the errors of the probabilities: `ECE 0.120 to 0.080, Brier …, NLL …`."""
    pairs = [("ECE", found.ece_before, found.ece)]
    if found.brier_before is not None and found.brier is not None:
        pairs.append(("Brier", found.brier_before, found.brier))
    pairs.append(("NLL", found.nll_before, found.nll))
    return ", ".join(f"{name} {before:.3f} to {after:.3f}" for name, before, after in pairs)


def _with_ends(ends: Sequence[float]) -> str:
    value, low, high = ends
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _value(kind: str, value: float) -> str:
    return f"{value:.3f}" if kind == "regression" else f"{100 * value:.1f} %"


def _signed(value: float, digits: int) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # no -0.0
