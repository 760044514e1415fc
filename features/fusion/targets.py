"""Targets: from labels to one class a segment."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow.compute as pc

from features.errors import ModelError
from features.fusion.segments import durations_of, keys_of, row_keys

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from features.fusion.recipe import Recipe
    from features.fusion.segments import SegmentKey

UNKNOWN = -1
"""Target of a segment that no label speaks of, or on which annotators stand equal."""


class Targets(NamedTuple):
    """A class a segment: `targets` int64 [n] (-1 unknown), `weights` float32 [n] of the winning labels."""

    targets: NDArray[np.int64]
    weights: NDArray[np.float32]


class _Vote(NamedTuple):
    start_us: int
    end_us: int
    target: int
    weight: float


def task_labels(recipe: Recipe, labels: pa.Table) -> pa.Table:
    """The labels of the recipe's task that state a class.

    Raises:
        ModelError: There are none.
    """
    kept = labels.filter(pc.equal(labels["task"], recipe.task.name)).filter(pc.is_valid(pc.field("class")))
    if not kept.num_rows:
        tasks = sorted(filter(None, pc.unique(labels["task"]).to_pylist()))
        message = f"label set {recipe.labels!r} has no class for task {recipe.task.name!r} (tasks in it: {tasks});"
        message += f" load labels with: triptych label {recipe.labels} FILE"
        raise ModelError(message)
    return kept


def classes_of(recipe: Recipe, labels: pa.Table) -> tuple[str, ...]:
    """The classes that labels hold, in the recipe's order, or sorted where it states none.

    Raises:
        ModelError: A label's class is none of the recipe's.
    """
    held = pc.unique(labels["class"]).to_pylist()
    allowed = recipe.task.classes or tuple(sorted(held))
    for name in held:
        if name not in allowed:
            media_id = labels.filter(pc.equal(labels["class"], name))["media_id"][0].as_py()
            message = f"label {name!r} of media {media_id} is none of the recipe's classes {list(allowed)};"
            message += " correct the label, or add the class to the recipe"
            raise ModelError(message)
    return tuple(name for name in allowed if name in held)


def media_classes(recipe: Recipe, labels: pa.Table) -> dict[str, str]:
    """The class that most of a media's labels state, by media, for `assign_splits`; the first by name among equals.

    Raises:
        ModelError: There are no labels for the task.
    """
    kept = task_labels(recipe, labels)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for media_id, name in zip(kept["media_id"].to_pylist(), kept["class"].to_pylist(), strict=True):
        counts[media_id][name] += 1
    return {media_id: min(held, key=lambda name: (-held[name], name)) for media_id, held in counts.items()}


def targets_of(segments: pa.Table, media: pa.Table, labels: pa.Table, classes: tuple[str, ...], exact: bool) -> Targets:
    """One class a segment: the one that most weight speaks for.

    Args:
        segments: Columns media_id, start_us, end_us.
        media: Rows of `media`, for labels without a span.
        labels: Labels with a class among `classes`.
        classes: Classes in the model's order.
        exact: Only labels with the segment's own span count; else each counts by its overlap with the segment.
    """
    votes = _votes(media, labels, classes)
    keys = keys_of(segments)
    targets = np.full(len(keys), UNKNOWN, np.int64)
    weights = np.ones(len(keys), np.float32)
    for index, key in enumerate(keys):
        counted = [(vote, _share(key, vote, exact)) for vote in votes.get(key.media_id, ())]
        totals = np.zeros(len(classes))
        for vote, share in counted:
            totals[vote.target] += share * vote.weight
        best = int(totals.argmax())
        if totals[best] > 0 and (totals == totals[best]).sum() == 1:
            targets[index] = best
            weights[index] = np.mean([vote.weight for vote, share in counted if share > 0 and vote.target == best])
    return Targets(targets, weights)


def _votes(media: pa.Table, labels: pa.Table, classes: tuple[str, ...]) -> dict[str, list[_Vote]]:
    place = {name: index for index, name in enumerate(classes)}
    votes: dict[str, list[_Vote]] = defaultdict(list)
    rows = zip(
        row_keys(labels, durations_of(media)), labels["class"].to_pylist(), labels["weight"].to_pylist(), strict=True
    )
    for key, name, weight in rows:
        if key is not None:
            votes[key.media_id].append(
                _Vote(key.start_us, key.end_us, place[name], 1.0 if weight is None else float(weight))
            )
    return votes


def _share(key: SegmentKey, vote: _Vote, exact: bool) -> float:
    if exact:
        return float((vote.start_us, vote.end_us) == (key.start_us, key.end_us))
    return float(max(min(vote.end_us, key.end_us) - max(vote.start_us, key.start_us), 0))
