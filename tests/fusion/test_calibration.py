from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax
from sklearn.metrics import log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from features.errors import ModelError
from features.fusion.calibration import (
    MIN_CALIBRATION_GROUPS,
    calibration_error,
    calibration_groups,
    fit_temperature,
    logits_of,
    with_temperature,
)


def simulated(temperature: float, rows: int = 20_000, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and classes drawn from the softmax of the logits divided by the temperature."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, (rows, classes))
    shares = softmax(logits / temperature, axis=1).cumsum(axis=1)
    return logits, (random.random((rows, 1)) > shares[:, :-1]).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(temperature: float) -> None:
    logits, targets = simulated(temperature)
    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.03)


def test_logits_and_logarithms_of_probabilities_give_the_same_temperature() -> None:
    logits, targets = simulated(2.0, 500)
    found = fit_temperature(logits, targets)
    assert fit_temperature(logits_of(softmax(logits, axis=1)), targets) == pytest.approx(found, rel=1e-4)
    assert fit_temperature(logits[:, :2], targets % 2, kind="binary") > 1


def test_the_temperature_of_labels_is_that_of_their_known_cells() -> None:
    random = np.random.default_rng(1)
    odds = random.normal(0, 4, (8000, 3))
    targets = (random.random(odds.shape) < expit(odds / 2)).astype(np.float32)
    targets[:, 2] = np.nan
    assert fit_temperature(odds, targets, kind="multilabel") == pytest.approx(2, rel=0.05)
    assert fit_temperature(odds[:, :2], targets[:, :2], kind="multilabel") == fit_temperature(
        odds, targets, kind="multilabel"
    )


def test_weights_of_0_leave_rows_out_and_their_scale_is_irrelevant() -> None:
    logits, targets = simulated(2.0, 400)
    weights = np.repeat([1.0, 0.0], 200)
    half = fit_temperature(logits[:200], targets[:200])
    assert fit_temperature(logits, targets, weights) == pytest.approx(half, rel=1e-4)
    assert fit_temperature(logits, targets, 7 * weights) == pytest.approx(half, rel=1e-4)
    assert fit_temperature(logits, targets, 0 * weights) == 1.0


def test_a_model_that_is_never_wrong_is_not_sharpened_without_end() -> None:
    """On 30 rows of which all are right, nothing beyond 31 of 32 may be claimed on average (Laplace's rule)."""
    targets = np.arange(30) % 2
    logits = np.log(np.where(np.eye(2)[targets] == 1, 0.8, 0.2))
    calibrated = with_temperature(np.exp(logits), fit_temperature(logits, targets))
    assert calibrated.max(axis=1).mean() == pytest.approx(31 / 32, abs=1e-4)


def test_the_temperature_has_the_smallest_likelihood_loss() -> None:
    logits, targets = simulated(1.7, 5000)
    best = fit_temperature(logits, targets)
    losses = [log_loss(targets, with_temperature(softmax(logits, axis=1), best * by)) for by in (0.9, 1.0, 1.1)]
    assert min(losses) == losses[1]
    assert losses[1] < log_loss(targets, softmax(logits, axis=1))


@pytest.mark.parametrize("kind", ["class", "multilabel"])
def test_a_temperature_divides_logits(kind: str) -> None:
    logits = np.random.default_rng(2).normal(0, 2, (50, 3))
    of = expit if kind == "multilabel" else lambda values: softmax(values, axis=1)
    assert with_temperature(of(logits), 2.5, kind=kind) == pytest.approx(of(logits / 2.5))
    assert with_temperature(of(logits), 1.0, kind=kind) == pytest.approx(of(logits), abs=0)
    assert (with_temperature(of(logits), 0.4, kind=kind).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_probabilities_of_0_and_1_stay_finite() -> None:
    sure = np.array([[1.0, 0.0], [0.0, 1.0]])
    for kind in ("binary", "multilabel"):
        told = with_temperature(sure, 3.0, kind=kind)
        assert np.isfinite(told).all()
        assert (told.argmax(axis=1) == [0, 1]).all()


@pytest.mark.parametrize("num_bins", [1, 10, 15])
def test_the_calibration_error_is_that_of_torchmetrics(num_bins: int) -> None:
    logits, targets = simulated(2.0, 3000)
    shares = softmax(logits, axis=1)
    expected = multiclass_calibration_error(torch.tensor(shares), torch.tensor(targets), 4, n_bins=num_bins)
    found = calibration_error(shares, targets, num_bins=num_bins)
    assert found.ece == pytest.approx(float(expected), abs=1e-6)
    assert sum(item.num_rows for item in found.bins) == 3000


def test_bins_tell_confidence_and_accuracy() -> None:
    shares = np.array([[0.9, 0.1], [0.92, 0.08], [0.4, 0.6], [0.0, 1.0]])
    found = calibration_error(shares, np.array([0, 1, 1, 1]), num_bins=10, kind="binary")
    assert [(item.num_rows, item.accuracy) for item in found.bins] == [(1, 1.0), (1, 1.0), (2, 0.5)]
    assert [item.confidence for item in found.bins] == pytest.approx([0.6, 0.9, 0.96])
    assert found.bins[-1].high == 1.0
    assert found.ece == pytest.approx((0.4 + 0.1 + 2 * 0.46) / 4)


def test_labels_are_calibrated_by_their_known_cells() -> None:
    found = calibration_error(np.array([[0.8, 0.1]]), np.array([[1.0, np.nan]]), kind="multilabel")
    assert found.ece == pytest.approx(0.2)


def test_the_right_temperature_lowers_the_calibration_error() -> None:
    logits, targets = simulated(2.5)
    shares = softmax(logits, axis=1)
    mended = with_temperature(shares, fit_temperature(log_softmax(logits, axis=1), targets))
    assert calibration_error(mended, targets).ece < 0.02 < 0.1 < calibration_error(shares, targets).ece


def test_groups_are_set_apart_whole_whatever_the_order() -> None:
    num_groups = 2 * MIN_CALIBRATION_GROUPS
    rows = [f"group{index % num_groups:03}" for index in range(5 * num_groups)]
    chosen = calibration_groups(rows, 0.3, seed=0)
    assert len(chosen) == round(0.3 * num_groups)
    assert chosen < set(rows)
    assert calibration_groups(rows[::-1], 0.3, seed=0) == chosen
    assert calibration_groups(rows, 0.3, seed=1) != chosen


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_either_side_keeps_a_group(share: float) -> None:
    rows = [str(index) for index in range(MIN_CALIBRATION_GROUPS)]
    assert 0 < len(calibration_groups(rows, share, seed=0)) < len(rows)


def test_of_too_few_groups_none_is_set_apart() -> None:
    rows = [str(index) for index in range(MIN_CALIBRATION_GROUPS - 1)] * 50
    assert calibration_groups(rows, 0.3, seed=0) == frozenset()


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(ModelError, match="kind 'regression'"):
        fit_temperature(np.zeros((2, 1)), np.zeros(2), kind="regression")
    with pytest.raises(ModelError, match=r"row 1 are \[nan"):
        fit_temperature(np.array([[0.0, 1.0], [np.nan, 0.0]]), np.array([0, 1]))
    with pytest.raises(ModelError, match="temperature 0"):
        with_temperature(np.ones((1, 2)) / 2, 0)
    with pytest.raises(ModelError, match="0 rows"):
        calibration_error(np.zeros((0, 2)), np.zeros(0, np.int64))
