from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score

from features.fusion.metrics import classification_metrics, paired_bootstrap


@settings(max_examples=50, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_metrics_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    targets, predictions = np.array(pairs).T
    found = classification_metrics(targets, predictions)
    options = {"average": "macro", "zero_division": 0}
    assert found.accuracy == accuracy_score(targets, predictions)
    assert found.precision == precision_score(targets, predictions, **options)
    assert found.recall == recall_score(targets, predictions, **options)
    assert found.f1 == f1_score(targets, predictions, **options)


def test_equal_predictions_have_no_interval() -> None:
    correct = np.random.default_rng(0).random(50) < 0.7
    assert paired_bootstrap(correct, correct, [str(index) for index in range(50)]) == (0.0, 0.0)


def test_a_clear_gain_excludes_zero() -> None:
    random = np.random.default_rng(0)
    better, worse = random.random(200) < 0.9, random.random(200) < 0.6
    low, high = paired_bootstrap(better, worse, [str(index) for index in range(200)])
    assert 0 < low < better.mean() - worse.mean() < high


def test_single_rows_give_the_normal_interval() -> None:
    """With a row a group, the interval is near mean ± 1.96 standard errors."""
    random = np.random.default_rng(1)
    one, other = random.random(2000) < 0.8, random.random(2000) < 0.7
    difference = one.astype(float) - other
    error = 1.96 * difference.std() / np.sqrt(len(difference))
    low, high = paired_bootstrap(one, other, [str(index) for index in range(2000)])
    assert low == pytest.approx(difference.mean() - error, abs=0.003)
    assert high == pytest.approx(difference.mean() + error, abs=0.003)


def test_rows_of_a_group_count_as_one_draw() -> None:
    """Ten copies of each row in one group widen nothing and narrow nothing."""
    random = np.random.default_rng(2)
    one, other = random.random(60) < 0.8, random.random(60) < 0.6
    groups = [str(index) for index in range(60)]
    copied = paired_bootstrap(np.repeat(one, 10), np.repeat(other, 10), [name for name in groups for _ in range(10)])
    assert copied == pytest.approx(paired_bootstrap(one, other, groups))
