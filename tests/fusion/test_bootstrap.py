from __future__ import annotations

import numpy as np
import pytest

from features.errors import ModelError
from features.fusion.bootstrap import interval, paired_bootstrap


def names(count: int) -> list[str]:
    return [f"{index:05}" for index in range(count)]


def test_equal_predictions_have_no_interval() -> None:
    correct = np.random.default_rng(0).random(50) < 0.7
    assert paired_bootstrap(correct, correct, names(50)) == (0.0, 0.0)


def test_a_clear_gain_excludes_zero() -> None:
    random = np.random.default_rng(0)
    better, worse = random.random(200) < 0.9, random.random(200) < 0.6
    low, high = paired_bootstrap(better, worse, names(200))
    assert 0 < low < better.mean() - worse.mean() < high


def test_single_rows_give_the_normal_interval_of_a_difference() -> None:
    """With a row a group, the interval is near mean ± 1.96 standard errors."""
    random = np.random.default_rng(1)
    one, other = random.random(2000) < 0.8, random.random(2000) < 0.7
    difference = one.astype(float) - other
    error = 1.96 * difference.std() / np.sqrt(len(difference))
    low, high = paired_bootstrap(one, other, names(2000))
    assert low == pytest.approx(difference.mean() - error, abs=0.003)
    assert high == pytest.approx(difference.mean() + error, abs=0.003)


def test_single_rows_give_the_normal_interval_of_a_mean() -> None:
    errors = -np.abs(np.random.default_rng(1).normal(size=2000))
    error = 1.96 * errors.std() / np.sqrt(2000)
    low, high = interval(errors, names(2000))
    assert (low, high) == pytest.approx((errors.mean() - error, errors.mean() + error), abs=0.003)


def test_groups_of_unequal_size_give_the_interval_of_the_ratio() -> None:
    """The mean over rows is a ratio of sums over groups; its standard error is the delta method's."""
    random = np.random.default_rng(3)
    sizes = random.integers(1, 12, 1500)
    codes = np.repeat(np.arange(1500), sizes)
    scores = random.normal(0.5, 0.3, 1500)[codes] + random.normal(0, 0.3, len(codes))
    residuals = np.bincount(codes, weights=scores - scores.mean())
    error = 1.96 * np.sqrt((residuals**2).sum()) / len(codes)
    low, high = interval(scores, [names(1500)[code] for code in codes])
    assert (low, high) == pytest.approx((scores.mean() - error, scores.mean() + error), abs=0.003)


def test_rows_of_a_group_count_as_one_draw() -> None:
    """Ten copies of each row in one group widen nothing and narrow nothing; apart they would narrow it."""
    random = np.random.default_rng(2)
    one, other = random.random(60) < 0.8, random.random(60) < 0.6
    groups = names(60)
    single = paired_bootstrap(one, other, groups)
    copies = np.repeat(one, 10), np.repeat(other, 10)
    assert paired_bootstrap(*copies, [name for name in groups for _ in range(10)]) == pytest.approx(single)
    low, high = paired_bootstrap(*copies, names(600))
    assert high - low < 0.5 * (single[1] - single[0])


def test_the_order_of_rows_is_irrelevant() -> None:
    random = np.random.default_rng(4)
    scores, codes = random.random(300), random.integers(0, 30, 300)
    order = random.permutation(300)
    found = interval(scores, [f"{code:02}" for code in codes])
    assert interval(scores[order], [f"{code:02}" for code in codes[order]]) == pytest.approx(found)


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    """Over 60 groups with an effect each; see the docstring for fewer."""
    random = np.random.default_rng(5)
    groups = [name for name in names(60) for _ in range(4)]
    held = 0
    for seed in range(300):
        gains = np.repeat(random.normal(0.05, 0.1, 60), 4) + random.normal(0, 0.2, 240)
        low, high = paired_bootstrap(gains, np.zeros(240), groups, resamples=400, seed=seed)
        held += low <= 0.05 <= high
    assert 0.91 <= held / 300 <= 0.98


def test_one_group_has_no_width() -> None:
    assert interval(np.array([0.0, 1.0]), ["a", "a"]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("scores", "groups", "message"),
    [
        ([], [], "0 rows"),
        ([1.0, 0.0], ["a"], "1 groups for 2 rows"),
        ([1.0, float("nan")], ["a", "b"], "row 1 is nan"),
    ],
)
def test_what_has_no_interval_is_refused(scores: list[float], groups: list[str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        interval(np.array(scores), groups)


def test_models_of_other_rows_cannot_be_paired() -> None:
    with pytest.raises(ModelError, match="not 2 and 3"):
        paired_bootstrap(np.ones(2), np.ones(3), ["a", "b"])
