"""Calibration: how far a model's confidence is from how often it is right, and the temperature that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating[Any]]

MIN_CALIBRATION_GROUPS = 60
"""With fewer dev groups than this none is set apart: the temperature is fitted on the whole dev split instead."""

TEMPERATURES = (0.05, 20.0)
"""Smallest and largest temperature that is looked for."""

NUM_BINS = 15

_SMALLEST = 1e-12  # a probability of 0 has no logarithm


class Decided(NamedTuple):
    """Targets as places in classes, int64 [n], beside float64 [n, num_classes], and the row that each comes from."""

    targets: NDArray[np.int64]
    outputs: NDArray[np.float64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Rows whose confidence lies in (low, high].

    Attributes:
        low: Lower end, in [0, 1).
        high: Upper end, in (0, 1].
        num_rows: How many, at least 1.
        confidence: Their mean confidence.
        accuracy: Share of them that is right.
    """

    low: float
    high: float
    num_rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How confidence and accuracy agree: the bins of a reliability diagram that hold rows, and their mean gap.

    Attributes:
        ece: Expected calibration error in [0, 1]: the bins' gaps, weighted by their rows.
        bins: In order; those without rows are left out.
    """

    ece: float
    bins: tuple[CalibrationBin, ...]


def fit_temperature(
    logits: Floats, targets: NDArray[Any], weights: Floats | None = None, *, kind: str = "class"
) -> float:
    """The temperature that logits are divided by for the smallest negative log-likelihood.

    Targets are smoothed as if a row of each class had been seen as well (Platt 1999), or a model that is right on
    every row would be sharpened without end; over many rows that changes nothing. The likelihood is convex in 1/T, so
    a bounded search over log T finds its one minimum.

    Args:
        logits: [n, num_classes]; logarithms of probabilities do as well (`logits_of` an ensemble's mean). `multilabel`:
            log-odds.
        targets: Places in classes, int64 [n]; `multilabel`: 0, 1 or NaN for unknown, [n, num_classes].
        weights: Of the rows, at least 0, [n]; by default equal.
        kind: `class`, `binary` or `multilabel`; a regression has no temperature.

    Returns:
        Within `TEMPERATURES`; above 1 where the model is too sure. 1 where no row with a weight tells.

    Raises:
        ModelError: The kind has no probabilities, or a logit is not finite.

    Reference:
        Guo et al. (2017), arXiv:1706.04599; Platt (1999), Probabilistic Outputs for Support Vector Machines.
    """
    from scipy.optimize import minimize_scalar

    values = np.asarray(logits, np.float64)
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        message = f"the logits of row {row} are {values[row].tolist()}; a temperature needs finite ones: clip them"
        raise ModelError(message)
    known = _known_logits(kind, targets, values)
    scores = known.outputs
    counted = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    shares = counted[known.rows]
    if not shares.sum() > 0:
        return 1.0
    smoothed = _smoothed(known.targets, scores.shape[1], int((shares > 0).sum()))
    shares = shares / shares.sum()
    told = shares @ (smoothed * scores).sum(axis=1)

    def loss(log_temperature: float) -> float:
        inverse = np.exp(-log_temperature)
        return float(shares @ _log_sum_exp(inverse * scores) - inverse * told)

    found = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(found.x))


def with_temperature(probabilities: Floats, temperature: float, *, kind: str = "class") -> NDArray[np.float64]:
    """Probabilities whose logarithms (`multilabel`: log-odds) are divided by a temperature.

    The likeliest class stays the likeliest, but for ties that rounding makes.

    Args:
        probabilities: [n, num_classes].
        temperature: Above 0; 1 changes nothing.
        kind: `class` and `binary`: rows sum to 1, and do so again; `multilabel`: each its own.

    Raises:
        ModelError: The temperature is not above 0, or the kind has no probabilities.
    """
    if not 0 < temperature < np.inf:
        message = f"temperature {temperature!r} is no number above 0; fit it anew (fit_temperature), or leave it at 1"
        raise ModelError(message)
    held = np.asarray(probabilities, np.float64)
    if temperature == 1:
        return held
    scores = logits_of(held, kind=kind) / temperature
    if kind == "multilabel":
        return np.asarray(1 / (1 + np.exp(-scores)), np.float64)
    return np.asarray(np.exp(scores - _log_sum_exp(scores)[:, None]), np.float64)


def logits_of(probabilities: Floats, *, kind: str = "class") -> NDArray[np.float64]:
    """Logarithms of probabilities (`multilabel`: log-odds): what a temperature divides.

    Probabilities are held to at least 1e-12 (and for log-odds to as much below 1).

    Raises:
        ModelError: The kind has no probabilities.
    """
    _check_kind(kind)
    if kind == "multilabel":
        held = np.clip(np.asarray(probabilities, np.float64), _SMALLEST, 1 - _SMALLEST)
        return np.asarray(np.log(held) - np.log1p(-held), np.float64)
    return np.asarray(np.log(np.maximum(np.asarray(probabilities, np.float64), _SMALLEST)), np.float64)


def calibration_error(
    probabilities: Floats, targets: NDArray[Any], *, num_bins: int = NUM_BINS, kind: str = "class"
) -> Reliability:
    """Expected calibration error of the likeliest class, over bins of equal width, with the bins.

    Each known cell of a `multilabel` task counts as a decision between two.

    Args:
        probabilities: [n, num_classes] in [0, 1].
        targets: Places in classes, int64 [n]; `multilabel`: 0, 1 or NaN for unknown, [n, num_classes].
        num_bins: Bins between 0 and 1.
        kind: `class`, `binary` or `multilabel`.

    Raises:
        ModelError: The kind has no probabilities, or nothing is known.

    Reference:
        Naeini et al. (2015), AAAI 29; Guo et al. (2017), arXiv:1706.04599.
    """
    found = decided(kind, targets, probabilities)
    if not len(found.targets):
        message = "the calibration of 0 rows cannot be told; check that the split has labelled rows"
        raise ModelError(message)
    confidence = found.outputs.max(axis=1)
    correct = found.outputs.argmax(axis=1) == found.targets
    edges = np.linspace(0, 1, num_bins + 1)
    codes = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    bins = [
        CalibrationBin(
            float(edges[code]), float(edges[code + 1]), int(mask.sum()), float(confidence[mask].mean()),
            float(correct[mask].mean()),
        )
        for code in np.unique(codes)
        for mask in [codes == code]
    ]  # fmt: skip
    gap = sum(item.num_rows * abs(item.confidence - item.accuracy) for item in bins) / len(codes)
    return Reliability(float(gap), tuple(bins))


def decided(kind: str, targets: NDArray[Any], outputs: Floats) -> Decided:
    """Decisions between classes: the rows themselves; of a `multilabel` task each known cell, as one between two.

    Raises:
        ModelError: The kind has no probabilities.
    """
    _check_kind(kind)
    values = np.asarray(outputs, np.float64)
    if kind != "multilabel":
        return Decided(np.asarray(targets, np.int64), values, np.arange(len(values)))
    known = ~np.isnan(targets)
    share = values[known]
    return Decided(targets[known].astype(np.int64), np.stack([1 - share, share], axis=1), np.nonzero(known)[0])


def calibration_groups(groups: Sequence[str], share: float, *, seed: int) -> frozenset[str]:
    """Groups of the dev split that are set apart for calibration, whole.

    A temperature that is fitted on what early stopping or a choice between models looked at would be too small. With
    fewer than `MIN_CALIBRATION_GROUPS` groups none is set apart: too little would be left for both, so fit on the whole
    dev split then, and say so.

    Args:
        groups: Group of each row of the dev split.
        share: Share of the groups, in (0, 1); at least one is taken, and one left.
        seed: Of the draw; the same groups and seed give the same ones, whatever the order of the rows.

    Returns:
        Names of the groups; none where there are too few.
    """
    names = sorted(set(groups))
    if len(names) < MIN_CALIBRATION_GROUPS:
        return frozenset()
    count = min(max(1, round(share * len(names))), len(names) - 1)
    chosen = np.random.default_rng(seed).permutation(len(names))[:count]
    return frozenset(names[place] for place in chosen)


def _check_kind(kind: str) -> None:
    if kind not in ("class", "binary", "multilabel"):
        message = f"a task of kind {kind!r} has no probabilities to calibrate; only class, binary and multilabel have"
        raise ModelError(message)


def _known_logits(kind: str, targets: NDArray[Any], logits: NDArray[np.float64]) -> Decided:
    """Decisions with logits for outputs; log-odds stand as logits against 0."""
    if kind != "multilabel":
        return decided(kind, targets, logits)
    known = ~np.isnan(targets)
    odds = logits[known]
    scores = np.stack([np.zeros_like(odds), odds], axis=1)
    return Decided(targets[known].astype(np.int64), scores, np.nonzero(known)[0])


def _smoothed(targets: NDArray[np.int64], num_classes: int, num_rows: int) -> NDArray[np.float64]:
    shares = np.full((len(targets), num_classes), 1 / (num_rows + num_classes))
    shares[np.arange(len(targets)), targets] *= num_rows + 1
    return shares


def _log_sum_exp(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    top = scores.max(axis=1, keepdims=True)
    return np.asarray(top[:, 0] + np.log(np.exp(scores - top).sum(axis=1)), np.float64)
