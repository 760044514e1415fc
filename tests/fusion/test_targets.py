from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from features.errors import ModelError
from features.fusion.examples import TaskTargets
from features.fusion.recipe import Task, load_recipe
from features.fusion.segments import SEGMENTS
from features.fusion.targets import media_classes, targets_of, task_labels
from features.schema import LABELS
from features.schema import MEDIA as MEDIA_SCHEMA

MEDIA = pa.Table.from_pylist([{"media_id": name, "duration_us": 10} for name in "abcd"], schema=MEDIA_SCHEMA)
WHOLE = pa.table([list("abcd"), [0] * 4, [10] * 4], SEGMENTS)


def labels_of(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([{"task": "t", **row} for row in rows], schema=LABELS)


def of(task: Task, *rows: dict[str, Any], segments: pa.Table = WHOLE, exact: bool = False) -> TaskTargets:
    kept = task_labels(load_recipe("sentiment"), task, labels_of(*rows))
    return targets_of(segments, MEDIA, kept, task, exact=exact)


def test_a_number_is_the_mean_of_what_was_said_by_weight_and_overlap() -> None:
    segments = pa.table([["a", "a", "b"], [0, 4, 0], [4, 10, 10]], SEGMENTS)
    found = of(
        Task("t", kind="regression"),
        {"media_id": "a", "start_us": 0, "end_us": 6, "number": 1.0},
        {"media_id": "a", "start_us": 6, "end_us": 10, "number": 4.0, "weight": 2.0},
        segments=segments,
    )
    assert found.values[:2].tolist() == [1.0, pytest.approx((1 * 2 + 4 * 8) / 10)]
    assert np.isnan(found.values[2])
    assert found.known.tolist() == [True, True, False]
    assert found.classes == ()


def test_labels_that_hold_and_those_that_do_not() -> None:
    task = Task("t", ("x", "y", "z"), "multilabel")
    found = of(
        task,
        {"media_id": "a", "class": "x"},  # a media with classes alone is labelled whole
        {"media_id": "a", "class": "z"},
        {"media_id": "b", "class": "x", "number": 1.0},
        {"media_id": "b", "class": "y", "number": 0.0},  # z: nobody says
    )
    assert found.values[0].tolist() == [1, 0, 1]
    assert found.values[1, :2].tolist() == [1, 0]
    assert np.isnan(found.values[1, 2])
    assert np.isnan(found.values[2]).all()
    assert found.known.tolist() == [True, True, False, False]
    assert found.prior() == (1.0, 0.0, 1.0)


def test_a_binary_task_keeps_the_order_of_its_classes_and_passes_over_what_it_ignores() -> None:
    task = Task("t", ("negative", "positive"), "binary", ignore=("neutral",))
    said = zip("abc", ("positive", "neutral", "positive"), strict=True)
    found = of(task, *({"media_id": media, "class": name} for media, name in said))
    assert found.classes == ("negative", "positive")
    assert found.values.tolist() == [1, -1, 1, -1]
    assert found.prior() == (0.0, 1.0)


def test_a_negative_row_says_what_the_class_is_not() -> None:
    found = of(
        Task("t"),
        {"media_id": "a", "class": "x", "number": 0.0},
        {"media_id": "a", "class": "y", "number": 1.0},
        {"media_id": "b", "class": "x"},
    )
    assert [found.classes[place] for place in found.values[:2]] == ["y", "x"]


def test_a_binary_task_of_three_classes() -> None:
    rows = [{"media_id": media, "class": name} for media, name in zip("abc", "xyz", strict=True)]
    with pytest.raises(ModelError, match=r"task 't' is binary, and its labels hold 3 classes: \['x', 'y', 'z'\]"):
        of(Task("t", kind="binary"), *rows)


def test_no_numbers_for_a_regression() -> None:
    with pytest.raises(ModelError, match=r"'sentiment' has no number for task 't' \(tasks in it: \['t'\]\)"):
        of(Task("t", kind="regression"), {"media_id": "a", "class": "x"})


def test_splits_balance_numbers_by_which_half_they_are_in() -> None:
    recipe = replace(load_recipe("sentiment"), tasks=(Task("t", kind="regression"),))
    rows = labels_of(*({"media_id": media, "number": float(n)} for n, media in enumerate("abcd")))
    assert media_classes(recipe, {"sentiment": rows}) == {"a": "low", "b": "low", "c": "high", "d": "high"}
