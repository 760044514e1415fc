from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    f1_score,
    log_loss,
    mean_absolute_error,
    precision_score,
    r2_score,
    recall_score,
    root_mean_squared_error,
)
from torchmetrics.functional.classification import multilabel_accuracy, multilabel_f1_score

from features.errors import ModelError
from features.fusion.metrics import Metrics, classification_metrics, measure, score_rows
from features.fusion.settings import Place, parse


def probabilities(random: np.random.Generator, rows: int, classes: int) -> np.ndarray:
    drawn = random.random((rows, classes)) ** 3
    return drawn / drawn.sum(axis=1, keepdims=True)


@settings(max_examples=50, deadline=None)
@given(pairs=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40))
def test_decisions_are_measured_as_by_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    targets, predictions = np.array(pairs).T
    found = classification_metrics(targets, predictions)
    assert found.accuracy == accuracy_score(targets, predictions)
    assert found.precision == precision_score(targets, predictions, average="macro", zero_division=0)
    assert found.recall == recall_score(targets, predictions, average="macro", zero_division=0)
    assert found.f1 == f1_score(targets, predictions, average="macro", zero_division=0)
    assert found.weighted_f1 == f1_score(targets, predictions, average="weighted", zero_division=0)


def test_classes_are_measured_as_by_scikit_learn() -> None:
    random = np.random.default_rng(0)
    targets, outputs = random.integers(0, 4, 200), probabilities(random, 200, 5)  # nothing is of the last class
    found = measure("class", targets, outputs)
    assert found.accuracy == accuracy_score(targets, outputs.argmax(axis=1))
    assert found.nll == pytest.approx(log_loss(targets, outputs, labels=range(5)))
    assert found.brier == pytest.approx(((outputs - np.eye(5)[targets]) ** 2).sum(axis=1).mean())
    assert found.mae is found.rmse is found.pearson is found.r2 is None


def test_a_binary_task_is_measured_by_its_second_class() -> None:
    random = np.random.default_rng(1)
    targets, outputs = random.integers(0, 2, 100), probabilities(random, 100, 2)
    found = measure("binary", targets, outputs)
    assert found.nll == pytest.approx(log_loss(targets, outputs[:, 1]))
    assert found.brier == pytest.approx(brier_score_loss(targets, outputs[:, 1]))


def test_one_class_among_the_targets_is_measured_too() -> None:
    found = measure("binary", np.ones(3, np.int64), np.tile([0.25, 0.75], (3, 1)))
    assert found.nll == pytest.approx(-np.log(0.75))
    assert found.brier == pytest.approx(0.0625)
    assert found.ece == pytest.approx(0.25)


def test_labels_are_measured_as_by_torchmetrics_and_scikit_learn() -> None:
    random = np.random.default_rng(2)
    targets, outputs = (random.random((150, 4)) < 0.3).astype(np.float32), random.random((150, 4))
    said, truth = torch.tensor(outputs), torch.tensor(targets).int()
    found = measure("multilabel", targets, outputs)
    assert found.accuracy == pytest.approx(float(multilabel_accuracy(said, truth, 4, average="micro")))
    assert found.f1 == pytest.approx(float(multilabel_f1_score(said, truth, 4, average="macro")))
    assert found.f1 == pytest.approx(f1_score(targets, outputs > 0.5, average="macro"))
    assert found.weighted_f1 == pytest.approx(f1_score(targets, outputs > 0.5, average="weighted"))
    assert found.precision == pytest.approx(precision_score(targets, outputs > 0.5, average="macro"))
    assert found.recall == pytest.approx(recall_score(targets, outputs > 0.5, average="macro"))
    assert found.nll == pytest.approx(log_loss(targets.ravel(), outputs.ravel()))
    assert found.brier == pytest.approx(((targets - outputs) ** 2).mean())


def test_unknown_cells_count_for_nothing() -> None:
    """What is said of them is irrelevant, and a label that nothing tells of is not counted."""
    targets = np.array([[1, np.nan, np.nan], [0, 1, np.nan], [np.nan, 0, np.nan]], np.float32)
    outputs = np.array([[0.9, 0.1, 0.4], [0.8, 0.7, 0.9], [0.2, 0.3, 0.1]])
    found = measure("multilabel", targets, outputs)
    assert found == measure("multilabel", targets, np.where(np.isnan(targets), 1 - outputs, outputs))
    assert found.accuracy == pytest.approx(3 / 4)
    assert found.f1 == pytest.approx((2 / 3 + 1) / 2)
    assert score_rows("multilabel", targets, outputs).tolist() == [1.0, 0.5, 1.0]


def test_numbers_are_measured_as_by_scikit_learn_and_scipy() -> None:
    random = np.random.default_rng(3)
    targets = random.normal(size=80).astype(np.float32)
    outputs = targets + random.normal(size=80)
    found = measure("regression", targets, outputs)
    assert found.mae == pytest.approx(mean_absolute_error(targets, outputs))
    assert found.rmse == pytest.approx(root_mean_squared_error(targets, outputs))
    assert found.pearson == pytest.approx(pearsonr(targets, outputs).statistic)
    assert found.r2 == pytest.approx(r2_score(targets, outputs))
    assert found.accuracy is found.f1 is found.nll is None


def test_what_does_not_vary_has_no_correlation() -> None:
    found = measure("regression", np.array([1.0, 2.0, 3.0]), np.full(3, 2.0))
    assert found.pearson is None
    assert found.r2 == 0.0
    assert measure("regression", np.array([1.0]), np.array([1.5])) == Metrics(mae=0.5, rmse=0.5)


@pytest.mark.parametrize("kind", ["class", "binary", "multilabel", "regression"])
def test_scores_of_rows_have_the_headline_for_their_mean(kind: str) -> None:
    random = np.random.default_rng(4)
    width = 2 if kind == "binary" else 3
    targets, outputs = random.integers(0, width, 60), probabilities(random, 60, width)
    if kind == "multilabel":
        targets = (random.random((60, 3)) < 0.5).astype(np.float32)
    if kind == "regression":
        targets, outputs = random.normal(size=60), random.normal(size=60)
    found, scores = measure(kind, targets, outputs), score_rows(kind, targets, outputs)
    assert scores.dtype == np.float64
    assert scores.shape == (60,)
    assert scores.mean() == pytest.approx(-found.mae if found.mae is not None else found.accuracy)


@pytest.mark.parametrize("kind", ["class", "regression"])
def test_metrics_survive_json(kind: str) -> None:
    random = np.random.default_rng(5)
    targets, outputs = random.integers(0, 3, 30), probabilities(random, 30, 3)
    found = measure(kind, targets, outputs if kind == "class" else outputs[:, 0])
    text = json.dumps(asdict(found), allow_nan=False)
    assert parse(Metrics, json.loads(text), Place("metrics")) == found


@pytest.mark.parametrize(
    ("kind", "targets", "outputs", "message"),
    [
        ("class", np.zeros(0, np.int64), np.zeros((0, 2)), "0 rows"),
        ("multilabel", np.full((2, 2), np.nan), np.zeros((2, 2)), "nothing is known"),
        ("class", np.zeros(2, np.int64), np.zeros((3, 2)), "not 3 for 2"),
        ("ordinal", np.zeros(2, np.int64), np.zeros((2, 2)), "kind 'ordinal'"),
    ],
)
def test_what_has_no_metrics_is_refused(kind: str, targets: np.ndarray, outputs: np.ndarray, message: str) -> None:
    for function in (measure, score_rows):
        with pytest.raises(ModelError, match=message):
            function(kind, targets, outputs)
