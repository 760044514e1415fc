"""Examples: labelled segments with an array a modality, masks where it is absent, targets by task, groups, splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN = -1
"""Target of a segment that no label speaks of, or on which annotators stand equal."""


@dataclass(frozen=True)
class Inputs:
    """One array a modality for each of n segments, in the recipe's order of modalities.

    Attributes:
        values: [n, ...] by modality: vectors [n, num_values], sequences [n, num_steps, num_values], pictures
            [n, 64, 64, 3], patches [n, 128, 128], float32, or ids, int32; zeros where absent, which the mask hides.
        present: Bool [n] by modality.
        widths: Numbers in a stored vector, by feature.
        lengths: Steps that are there, int64 [n], by modality, of sequences alone.
    """

    values: Mapping[str, NDArray[Any]]
    present: Mapping[str, NDArray[np.bool_]]
    widths: Mapping[str, int]
    lengths: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.present.values())))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one example's array, by modality."""
        return {name: values.shape[1:] for name, values in self.values.items()}

    def take(self, rows: NDArray[np.int64]) -> Inputs:
        """The segments at these places."""
        return Inputs(
            {name: values.take(rows, axis=0) for name, values in self.values.items()},
            {name: mask.take(rows) for name, mask in self.present.items()},
            self.widths,
            {name: lengths[rows] for name, lengths in self.lengths.items()},
        )

    def only(self, modalities: tuple[str, ...]) -> Inputs:
        """The same segments, with these modalities alone."""
        return Inputs(
            {name: self.values[name] for name in modalities},
            {name: self.present[name] for name in modalities},
            self.widths,
            {name: self.lengths[name] for name in modalities if name in self.lengths},
        )

    def without(self, modality: str) -> Inputs:
        """The same segments, with a modality masked."""
        hidden = np.zeros(len(self), np.bool_)
        return replace(self, present={**self.present, modality: hidden})

    def any_present(self) -> NDArray[np.bool_]:
        """Whether a segment has any modality, bool [n]."""
        return np.asarray(np.logical_or.reduce(list(self.present.values())), np.bool_)


@dataclass(frozen=True)
class TaskTargets:
    """What one task asks for, of each of n segments.

    Attributes:
        kind: Of `features.fusion.recipe.TASK_KINDS`.
        classes: In the model's order; none for a regression.
        values: `class` and `binary`: places in `classes`, int64 [n], -1 unknown. `multilabel`: 0 or 1, float32
            [n, num_classes], NaN unknown. `regression`: float32 [n], NaN unknown.
        weights: Float32 [n], of the labels.
    """

    kind: str
    classes: tuple[str, ...]
    values: NDArray[Any]
    weights: NDArray[np.float32]

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether a label speaks of the segment, bool [n]."""
        if self.kind in ("class", "binary"):
            return np.asarray(self.values != UNKNOWN, np.bool_)
        there = ~np.isnan(self.values)
        return np.asarray(there.any(axis=1) if there.ndim > 1 else there, np.bool_)

    def take(self, rows: NDArray[np.int64]) -> TaskTargets:
        """The targets at these places."""
        return replace(self, values=self.values[rows], weights=self.weights[rows])

    def prior(self) -> tuple[float, ...]:
        """What is said without any modality: share of each class, of each label, or the mean number."""
        values, weights = self.values[self.known], self.weights[self.known]
        if self.kind in ("class", "binary"):
            counts = np.bincount(values, minlength=len(self.classes))
            return tuple(map(float, counts / max(1, counts.sum())))
        if self.kind == "regression":
            return (float(np.average(values, weights=weights)) if weights.sum() > 0 else 0.0,)
        there = ~np.isnan(values)
        return tuple(map(float, np.where(there, values, 0).sum(axis=0) / np.maximum(1, there.sum(axis=0))))


class Place(NamedTuple):
    """Where segments stand: media by number, and order of time within it, int64 [n] each."""

    media: NDArray[np.int64]
    order: NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Labelled segments, n of them.

    Attributes:
        media_id: Media of each.
        start_us: Int64 [n], microseconds.
        end_us: Int64 [n], microseconds.
        inputs: Arrays and masks.
        tasks: Targets by task, in the recipe's order.
        groups: Group of each; a group stands on one side of the split.
        split: `train`, `dev` or `test`, of each.
        left_out: How many labelled segments were left out, by reason.
        own: Whose rows each is normalised by, where the recipe normalises per subject or media; empty where not.
    """

    media_id: list[str]
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    inputs: Inputs
    tasks: Mapping[str, TaskTargets]
    groups: list[str]
    split: list[str]
    left_out: Mapping[str, int] = field(default_factory=dict)
    own: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.media_id)

    @property
    def task(self) -> TaskTargets:
        """Targets of the first task."""
        return next(iter(self.tasks.values()))

    @property
    def present(self) -> Mapping[str, NDArray[np.bool_]]:
        """Bool [n] by modality."""
        return self.inputs.present

    @property
    def place(self) -> Place:
        """Where each stands."""
        return place_of(self.media_id, self.start_us, self.end_us)

    def take(self, rows: NDArray[np.int64]) -> Examples:
        """The examples at these places."""
        return replace(
            self,
            media_id=[self.media_id[row] for row in rows],
            start_us=self.start_us[rows],
            end_us=self.end_us[rows],
            inputs=self.inputs.take(rows),
            tasks={name: targets.take(rows) for name, targets in self.tasks.items()},
            groups=[self.groups[row] for row in rows],
            split=[self.split[row] for row in rows],
            own=tuple(self.own[row] for row in rows) if self.own else (),
        )

    def rows_of(self, split: str) -> NDArray[np.int64]:
        """Places of the examples on one side of the split."""
        return np.flatnonzero(np.array(self.split, dtype=object) == split)

    def of_split(self, split: str) -> Examples:
        """The examples on one side of the split."""
        return self.take(self.rows_of(split))


def place_of(media_ids: list[str], start_us: NDArray[np.int64], end_us: NDArray[np.int64]) -> Place:
    """Number the media of segments in the order in which they come, and the segments by start, then end."""
    numbers = {media_id: number for number, media_id in enumerate(dict.fromkeys(media_ids))}
    order = np.empty(len(media_ids), np.int64)
    order[np.lexsort((end_us, start_us))] = np.arange(len(media_ids))
    return Place(np.array([numbers[media_id] for media_id in media_ids], np.int64), order)
