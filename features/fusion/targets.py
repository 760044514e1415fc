"""Targets: from labels to what each task asks of a segment."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ModelError
from features.fusion.examples import UNKNOWN, TaskTargets
from features.fusion.segments import durations_of, keys_of, row_keys

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from features.fusion.recipe import Recipe, Task
    from features.fusion.segments import SegmentKey


class _Vote(NamedTuple):
    start_us: int
    end_us: int
    target: int
    number: float
    weight: float


def task_labels(recipe: Recipe, task: Task, labels: pa.Table) -> pa.Table:
    """The labels of a task that state what its kind asks for: a class, or a number.

    Args:
        recipe: Whose task it is.
        task: The task.
        labels: Rows of its label set.

    Raises:
        ModelError: There are none.
    """
    column = "number" if task.kind == "regression" else "class"
    kept = labels.filter(pc.equal(labels["task"], task.name)).filter(pc.is_valid(pc.field(column)))
    if task.ignore:
        kept = kept.filter(pc.invert(pc.is_in(kept["class"], value_set=pa.array(task.ignore))))
    if not kept.num_rows:
        label_set = task.labels or recipe.labels
        tasks = sorted(filter(None, pc.unique(labels["task"]).to_pylist()))
        message = f"label set {label_set!r} has no {column} for task {task.name!r} (tasks in it: {tasks});"
        message += f" load labels with: triptych label {label_set} FILE"
        raise ModelError(message)
    return kept


def classes_of(task: Task, labels: pa.Table) -> tuple[str, ...]:
    """The classes that labels hold, in the task's order, or sorted where it states none; none for a regression.

    Raises:
        ModelError: A label's class is none of the task's, or a binary task has more than two.
    """
    if task.kind == "regression":
        return ()
    held = pc.unique(labels["class"]).to_pylist()
    allowed = task.classes or tuple(sorted(held))
    for name in held:
        if name not in allowed:
            media_id = labels.filter(pc.equal(labels["class"], name))["media_id"][0].as_py()
            message = f"label {name!r} of media {media_id} is none of the recipe's classes {list(allowed)};"
            message += f" correct the label, or add the class to task {task.name!r} of the recipe"
            raise ModelError(message)
    if task.kind == "binary" and len(allowed) != 2:
        message = f"task {task.name!r} is binary, and its labels hold {len(allowed)} classes: {list(allowed)};"
        raise ModelError(message + " state the two in the recipe, or make its kind 'class'")
    if task.kind in ("binary", "multilabel"):  # a class that nothing holds is still asked for
        return tuple(allowed)
    return tuple(name for name in allowed if name in held)


def media_classes(recipe: Recipe, labels: Mapping[str, pa.Table]) -> dict[str, str]:
    """What most of a media's labels state, by media, for `assign_splits`; the first by name among equals.

    Args:
        recipe: Its tasks; a media counts for the first of them that labels it.
        labels: Rows by label set.

    Raises:
        ModelError: There are no labels for a task.
    """
    result: dict[str, str] = {}
    for task in recipe.tasks:
        kept = task_labels(recipe, task, labels[task.labels or recipe.labels])
        if task.kind == "regression":
            middle = float(np.median(kept["number"].to_numpy()))
            names = np.where(kept["number"].to_numpy() > middle, "high", "low").tolist()
        else:
            names = kept["class"].to_pylist()
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        for media_id, name in zip(kept["media_id"].to_pylist(), names, strict=True):
            counts[media_id][name] += 1
        most = {media_id: min(held, key=lambda name: (-held[name], name)) for media_id, held in counts.items()}
        result = most | result
    return result


def targets_of(segments: pa.Table, media: pa.Table, labels: pa.Table, task: Task, *, exact: bool) -> TaskTargets:
    """What a task asks of each segment: the class that most weight speaks for, or the mean of numbers.

    Args:
        segments: Columns media_id, start_us, end_us.
        media: Rows of `media`, for labels without a span.
        labels: The task's labels (`task_labels`).
        task: The task.
        exact: Only labels with the segment's own span count; else each counts by its overlap with the segment.

    Raises:
        ModelError: See `classes_of`.
    """
    classes = classes_of(task, labels)
    votes = _votes(media, labels, task, classes)
    keys = keys_of(segments)
    counted = [
        [(vote, share) for vote in votes.get(key.media_id, ()) if (share := _share(key, vote, exact)) > 0]
        for key in keys
    ]
    weights = np.array([_mean_weight(found) for found in counted], np.float32)
    if task.kind == "regression":
        return TaskTargets(task.kind, classes, np.array([_mean(found) for found in counted], np.float32), weights)
    if task.kind == "multilabel":
        cells = np.array([_cells(found, len(classes)) for found in counted], np.float32).reshape(-1, len(classes))
        return TaskTargets(task.kind, classes, cells, weights)
    values = np.full(len(keys), UNKNOWN, np.int64)
    for index, found in enumerate(counted):
        totals = np.zeros(len(classes))
        for vote, share in found:
            totals[vote.target] += share * vote.weight
        best = int(totals.argmax())
        if totals[best] > 0 and (totals == totals[best]).sum() == 1:
            values[index] = best
            weights[index] = np.mean([vote.weight for vote, _ in found if vote.target == best])
    return TaskTargets(task.kind, classes, values, weights)


def _mean(found: list[tuple[_Vote, float]]) -> float:
    shares = [share * vote.weight for vote, share in found]
    return float(np.average([vote.number for vote, _ in found], weights=shares)) if sum(shares) > 0 else float("nan")


def _cells(found: list[tuple[_Vote, float]], num_classes: int) -> NDArray[np.float64]:
    """1 where most weight says that the class holds, 0 where it says that it does not, NaN where nothing speaks.

    A row with a class alone says that it holds; one with the number 0 beside it, that it does not. A media that has
    rows without any number is taken to be labelled whole: its other classes do not hold.
    """
    holds, total = np.zeros(num_classes), np.zeros(num_classes)
    for vote, share in found:
        holds[vote.target] += share * vote.weight * (np.isnan(vote.number) or vote.number > 0.5)
        total[vote.target] += share * vote.weight
    with np.errstate(invalid="ignore", divide="ignore"):
        cells = np.where(total > 0, holds / total > 0.5, np.nan)
    if found and all(np.isnan(vote.number) for vote, _ in found):
        cells = np.nan_to_num(cells)
    return np.asarray(cells, np.float64)


def _mean_weight(found: list[tuple[_Vote, float]]) -> float:
    return float(np.mean([vote.weight for vote, _ in found])) if found else 1.0


def _votes(media: pa.Table, labels: pa.Table, task: Task, classes: tuple[str, ...]) -> dict[str, list[_Vote]]:
    place = {name: index for index, name in enumerate(classes)}
    votes: dict[str, list[_Vote]] = defaultdict(list)
    numbers = labels["number"].to_pylist() if "number" in labels.column_names else [None] * labels.num_rows
    rows = zip(
        row_keys(labels, durations_of(media)),
        labels["class"].to_pylist(),
        numbers,
        labels["weight"].to_pylist(),
        strict=True,
    )
    for key, name, number, weight in rows:
        if key is None or (task.kind in ("class", "binary") and number is not None and number <= 0.5):
            continue  # a negative says what the class is not
        votes[key.media_id].append(
            _Vote(
                key.start_us,
                key.end_us,
                place.get(name, UNKNOWN),
                float("nan") if number is None else float(number),
                1.0 if weight is None else float(weight),
            )
        )
    return votes


def _share(key: SegmentKey, vote: _Vote, exact: bool) -> float:
    if exact:
        return float((vote.start_us, vote.end_us) == (key.start_us, key.end_us))
    return float(max(min(vote.end_us, key.end_us) - max(vote.start_us, key.start_us), 0))
