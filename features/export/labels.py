"""Labels beside segments: a column a task, with what the labels that overlap a segment say of it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.fusion.segments import durations_of, keys_of, row_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.fusion.segments import SegmentKey

LABEL_COLUMNS = ("media_id", "start_us", "end_us", "task", "class", "number", "weight")
"""Columns that are read of a label set."""


class _Label(NamedTuple):
    start_us: int
    end_us: int
    said: str | float
    weight: float


class TaskColumn(NamedTuple):
    """The column of one task: its classes as texts, or numbers where its labels state no class."""

    task: str
    is_number: bool

    @property
    def field(self) -> pa.Field:
        """`label:<task>`; null where nothing is known."""
        return pa.field(f"label:{self.task}", pa.float64() if self.is_number else pa.string())


def task_columns(labels: pa.Table) -> tuple[TaskColumn, ...]:
    """The tasks of a label set, by name.

    Args:
        labels: Columns task, class, of all of the set.
    """
    has_class: dict[str, bool] = {}
    for task, name in zip(labels["task"].to_pylist(), labels["class"].to_pylist(), strict=True):
        if task is not None:
            has_class[task] = has_class.get(task, False) or name is not None
    return tuple(TaskColumn(task, not has_class[task]) for task in sorted(has_class))


def labels_beside(
    segments: pa.Table, labels: pa.Table, media: pa.Table, tasks: Sequence[TaskColumn], *, exact: bool
) -> dict[str, pa.Array]:
    """What labels say of segments: the class that most weight speaks for, or the mean of numbers.

    A label weighs by its weight times its overlap with the segment; classes that weigh the same leave it unknown. A
    label with a class and a number up to 0.5 says that the class does not hold, and does not speak for it.

    Args:
        segments: Columns media_id, start_us, end_us.
        labels: Rows with `LABEL_COLUMNS`.
        media: Columns media_id, duration_us, for labels without a span.
        tasks: The columns wanted.
        exact: Only labels with the segment's own span count, all alike.

    Returns:
        A column a task, by the name of its field.
    """
    found = _labels_of(labels, media, {column.task: column for column in tasks})
    keys = keys_of(segments)
    return {
        column.field.name: pa.array(
            [_said(key, found.get((column.task, key.media_id), ()), column, exact) for key in keys], column.field.type
        )
        for column in tasks
    }


def _labels_of(labels: pa.Table, media: pa.Table, tasks: dict[str, TaskColumn]) -> dict[tuple[str, str], list[_Label]]:
    found: dict[tuple[str, str], list[_Label]] = defaultdict(list)
    keys = row_keys(labels, durations_of(media))
    columns = (labels[name].to_pylist() for name in ("task", "class", "number", "weight"))
    for key, (task, name, number, weight) in zip(keys, zip(*columns, strict=True), strict=True):
        column = tasks.get(task)
        said = number if column is not None and column.is_number else name
        is_negative = name is not None and number is not None and number <= 0.5
        if key is not None and said is not None and not is_negative:
            weight = 1.0 if weight is None else weight
            found[task, key.media_id].append(_Label(key.start_us, key.end_us, said, weight))
    return found


def _said(key: SegmentKey, labels: Sequence[_Label], column: TaskColumn, exact: bool) -> str | float | None:
    weights: dict[str | float, float] = defaultdict(float)
    for label in labels:
        weights[label.said] += _share(key, label, exact) * label.weight
    weights = {said: weight for said, weight in weights.items() if weight > 0}
    if not weights:
        return None
    if column.is_number:
        return sum(float(said) * weight for said, weight in weights.items()) / sum(weights.values())
    best = max(weights.values())
    leading = [said for said, weight in weights.items() if weight == best]
    return leading[0] if len(leading) == 1 else None


def _share(key: SegmentKey, label: _Label, exact: bool) -> int:
    if exact:
        return int((label.start_us, label.end_us) == (key.start_us, key.end_us))
    return max(min(label.end_us, key.end_us) - max(label.start_us, key.start_us), 0)
