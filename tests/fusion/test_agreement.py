"""Agreement of a regression with the truth, against scipy and scikit-learn, and what its intervals hold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import root_mean_squared_error

from features.fusion.agreement import agreement_of
from features.fusion.bootstrap import pearson_interval
from features.fusion.results import MAX_POINTS


def _pair(num_rows: int, correlation: float, seed: int, *, offset: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    truth, noise = random.normal(size=(2, num_rows))
    return truth + offset, correlation * truth + np.sqrt(1 - correlation**2) * noise + offset


def test_values_are_those_of_scipy_and_scikit_learn() -> None:
    truth, said = _pair(200, 0.6, 1)
    found = agreement_of(truth, said, [str(row // 2) for row in range(200)])
    assert found.rmse[0] == pytest.approx(root_mean_squared_error(truth, said))
    assert found.pearson[0] == pytest.approx(pearsonr(truth, said).statistic)
    for value, low, high in (found.rmse, found.pearson):
        assert low < value < high


def test_the_interval_of_independent_rows_is_near_fishers() -> None:
    truth, said = _pair(400, 0.5, 2)
    low, high = pearson_interval(truth, said, [str(row) for row in range(400)]) or (0.0, 0.0)
    fisher = pearsonr(truth, said).confidence_interval(0.95)
    assert (low, high) == pytest.approx((fisher.low, fisher.high), abs=0.02)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_a_shift_and_a_scale_change_no_correlation(offset: float) -> None:
    truth, said = _pair(60, 0.7, 3)
    groups = [str(row % 20) for row in range(60)]
    plain = pearson_interval(truth, said, groups)
    assert pearson_interval(3 * truth + offset, 0.5 * said + offset, groups) == pytest.approx(plain, abs=1e-6)


def test_rows_that_are_repeated_within_their_groups_narrow_nothing() -> None:
    truth, said = _pair(30, 0.4, 4)
    groups = [str(row) for row in range(30)]
    thrice = [np.repeat(values, 3) for values in (truth, said)]
    again = pearson_interval(*thrice, [group for group in groups for _ in range(3)])
    assert again == pytest.approx(pearson_interval(truth, said, groups))


def test_a_constant_has_no_correlation() -> None:
    found = agreement_of(np.array([1.0, 2.0, 3.0]), np.full(3, 0.1), ["a", "b", "c"])
    assert found.pearson == ()
    assert pearson_interval(np.array([1.0, 2.0, 3.0]), np.full(3, 0.1), ["a", "b", "c"]) is None


def test_what_is_right_everywhere_has_no_error() -> None:
    values = np.arange(10.0)
    found = agreement_of(values, values, [str(row) for row in range(10)])
    assert found.rmse == (0.0, 0.0, 0.0)
    assert found.pearson == pytest.approx((1.0, 1.0, 1.0))


def test_points_are_bounded_and_taken_evenly() -> None:
    values = np.arange(5 * MAX_POINTS, dtype=np.float64)
    found = agreement_of(values, values + 1, [str(row) for row in range(len(values))], resamples=10)
    assert len(found.points) == MAX_POINTS
    assert (found.points[0].truth, found.points[-1].truth) == (0.0, len(values) - 1)
    assert all(point.predicted == point.truth + 1 for point in found.points)
