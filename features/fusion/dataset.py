"""Examples: labelled segments with one vector a modality, a mask where it is absent, a group and a split."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError
from features.fusion.alignment import pool_by_overlap, width_of
from features.fusion.segments import check_shots, parse_segmentation, segments_of
from features.fusion.splits import check_side, groups_of, near_duplicates_of, strays_of
from features.fusion.targets import UNKNOWN, classes_of, targets_of, task_labels
from features.records import WITH_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from features.fusion.recipe import Recipe

_KNOWN = WITH_ROWS | {"absent", "empty", "skipped"}
"""Statuses that tell why a modality is there or not; `failed` and none at all tell nothing about the media."""


@dataclass(frozen=True)
class Inputs:
    """One vector a modality for each of n segments, in the recipe's order of modalities.

    Attributes:
        values: Float32 [n, num_values] by modality; zeros where absent, which the mask hides.
        present: Bool [n] by modality.
        widths: Numbers in a vector, by feature.
    """

    values: Mapping[str, NDArray[np.float32]]
    present: Mapping[str, NDArray[np.bool_]]
    widths: Mapping[str, int]

    def take(self, indices: NDArray[np.int64]) -> Inputs:
        """The segments at these places."""
        return Inputs(
            {name: values[indices] for name, values in self.values.items()},
            {name: mask[indices] for name, mask in self.present.items()},
            self.widths,
        )

    def only(self, modalities: tuple[str, ...]) -> Inputs:
        """The same segments, with these modalities alone."""
        return Inputs(
            {name: self.values[name] for name in modalities},
            {name: self.present[name] for name in modalities},
            self.widths,
        )

    def any_present(self) -> NDArray[np.bool_]:
        """Whether a segment has any modality, bool [n]."""
        return np.asarray(np.logical_or.reduce(list(self.present.values())), np.bool_)


@dataclass(frozen=True)
class Examples:
    """Labelled segments, n of them.

    Attributes:
        media_id: Media of each.
        start_us: Int64 [n], microseconds.
        end_us: Int64 [n], microseconds.
        inputs: Vectors and masks.
        targets: Int64 [n], places in `classes`.
        weights: Float32 [n], of the labels.
        groups: Group of each; a group stands on one side of the split.
        split: `train`, `dev` or `test`, of each.
        classes: Classes in the model's order.
        left_out: How many labelled segments were left out, by reason.
    """

    media_id: list[str]
    start_us: NDArray[np.int64]
    end_us: NDArray[np.int64]
    inputs: Inputs
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    groups: list[str]
    split: list[str]
    classes: tuple[str, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def features(self) -> Mapping[str, NDArray[np.float32]]:
        """Float32 [n, num_values] by modality."""
        return self.inputs.values

    @property
    def present(self) -> Mapping[str, NDArray[np.bool_]]:
        """Bool [n] by modality."""
        return self.inputs.present

    def take(self, indices: NDArray[np.int64]) -> Examples:
        """The examples at these places."""
        return replace(
            self,
            media_id=[self.media_id[index] for index in indices],
            start_us=self.start_us[indices],
            end_us=self.end_us[indices],
            inputs=self.inputs.take(indices),
            targets=self.targets[indices],
            weights=self.weights[indices],
            groups=[self.groups[index] for index in indices],
            split=[self.split[index] for index in indices],
        )

    def of_split(self, split: str) -> Examples:
        """The examples on one side of the split."""
        return self.take(np.flatnonzero(np.array(self.split, dtype=object) == split))


def build_examples(
    recipe: Recipe,
    *,
    media: pa.Table,
    features: Mapping[str, pa.Table],
    coverage: Mapping[str, pa.Table],
    labels: pa.Table,
    transcripts_sources: Mapping[str, str],
    splits: Mapping[str, str],
    transcripts: pa.Table | None = None,
    shots: pa.Table | None = None,
) -> Examples:
    """Align labels and features under a recipe.

    Left out, and counted: media whose consent was refused, segments without one clear class, media and segments whose
    extraction failed, media where it has not run (unless the recipe includes them), media without a split, media whose
    near-duplicate is in a stricter split (test, then dev), segments without any modality.

    Args:
        recipe: What to learn, from what.
        media: Rows of `media`.
        features: Rows of each feature table by `<name>@<version>`.
        coverage: Rows of each coverage table by the same keys.
        labels: Rows of the label set.
        transcripts_sources: Source of the best text by media: `subtitle`, `sidecar`, `asr:<name>`.
        splits: Split by media (`assign_splits`).
        transcripts: Rows of the best text, for a recipe that learns from `utterances`.
        shots: Rows of `shots@1`, for a recipe that learns from `shots`.

    Raises:
        ConfigError: A feature of the recipe was not given, or labelled media with video have no shots.
        ModelError: There are no labels for the task, a label is of no class, or a group stands on two sides.
    """
    labels = task_labels(recipe, labels)
    classes = classes_of(recipe, labels)
    kind = parse_segmentation(recipe.segmentation).kind
    if kind == "shots" and shots is not None:
        check_shots(media.filter(pc.is_in(media["media_id"], labels["media_id"].combine_chunks())), shots)
    segments = segments_of(recipe.segmentation, media, labels, transcripts, shots)
    exact = kind == "labels"
    targets, weights = targets_of(segments, media, labels, classes, exact)
    statuses = {feature.name: _statuses(coverage.get(feature.name)) for feature in recipe.features}
    found = {key: _found(rows, statuses[key]) for key, rows in features.items() if key in statuses}
    inputs = align(recipe, segments, found, transcripts_sources)
    ids = segments["media_id"].to_pylist()
    duplicates = near_duplicates_of(media)
    groups = _checked_groups(media, splits, duplicates)
    reasons = {m: f"near-duplicate in {side}" for m, side in strays_of(duplicates, splits).items()}
    reasons |= _reasons(recipe, media, statuses)
    left_out = [
        "no clear label" * bool(target == UNKNOWN)
        or reasons.get(media_id, "")
        or "no split" * (media_id not in splits)
        or gap
        or "no modality" * (not present)
        for media_id, target, gap, present in zip(
            ids, targets, _gaps(recipe, inputs, ids, statuses), inputs.any_present(), strict=True
        )
    ]
    examples = Examples(
        media_id=ids,
        start_us=np.asarray(segments["start_us"].to_numpy(), np.int64),
        end_us=np.asarray(segments["end_us"].to_numpy(), np.int64),
        inputs=inputs,
        targets=targets,
        weights=weights,
        groups=[groups[media_id] for media_id in ids],
        split=[splits.get(media_id, "") for media_id in ids],
        classes=classes,
        left_out=dict(sorted(Counter(filter(None, left_out)).items())),
    )
    return examples.take(np.flatnonzero([not reason for reason in left_out]))


def align(
    recipe: Recipe,
    segments: pa.Table,
    features: Mapping[str, pa.Table],
    transcripts_sources: Mapping[str, str],
    widths: Mapping[str, int] | None = None,
) -> Inputs:
    """Vectors and masks of segments; a modality is present where each of its features is.

    Args:
        recipe: Names the features, and whether recognised text counts.
        segments: Columns media_id, start_us, end_us.
        features: Rows of each feature table by `<name>@<version>`.
        transcripts_sources: Source of the best text by media.
        widths: Numbers in a vector by feature, as a model knows them; by default as the rows have them.

    Raises:
        ConfigError: A feature of the recipe was not given.
        ModelError: A vector has another width.
    """
    values: dict[str, NDArray[np.float32]] = {}
    present: dict[str, NDArray[np.bool_]] = {}
    used: dict[str, int] = {}
    for modality in recipe.modalities:
        pooled = []
        for feature in recipe.features_of(modality):
            rows = _rows_of(recipe, feature.name, features)
            used[feature.name] = widths[feature.name] if widths else width_of(rows)
            pooled.append(pool_by_overlap(segments, rows, (used[feature.name],), feature.pool))
        values[modality] = np.concatenate([part.values for part in pooled], axis=1)
        present[modality] = np.all([part.present for part in pooled], axis=0)
    if "text" in present and not recipe.allow_recognised_text:
        sources = [transcripts_sources.get(media_id, "") for media_id in segments["media_id"].to_pylist()]
        present["text"] &= np.array([not source.startswith("asr:") for source in sources], bool)
    return Inputs({name: np.where(present[name][:, None], values[name], 0) for name in values}, present, used)


def _rows_of(recipe: Recipe, key: str, features: Mapping[str, pa.Table]) -> pa.Table:
    if key not in features:
        message = f"recipe {recipe.name!r} wants feature {key!r}, which is not there (there are: {sorted(features)});"
        message += f" run: triptych extract {key.partition('@')[0]}"
        raise ConfigError(message)
    return features[key]


def _statuses(coverage: pa.Table | None) -> dict[str, str]:
    """Status by media of one feature; nothing where it has not run."""
    if coverage is None:
        return {}
    return dict(zip(coverage["media_id"].to_pylist(), coverage["status"].to_pylist(), strict=True))


def _found(rows: pa.Table, statuses: Mapping[str, str]) -> pa.Table:
    """The rows of media that have any; the others' modality is masked."""
    covered = [media_id for media_id, status in statuses.items() if status in WITH_ROWS]
    return rows.filter(pc.is_in(rows["media_id"], value_set=pa.array(covered, rows["media_id"].type)))


def _reasons(recipe: Recipe, media: pa.Table, statuses: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Why a media is left out, by media; none for those that are used."""
    ids = media["media_id"].to_pylist()
    reasons: dict[str, str] = {}
    for feature in () if recipe.include_failed else recipe.features:
        for media_id in ids:
            status = statuses[feature.name].get(media_id, "not run")
            if status not in _KNOWN:
                reasons.setdefault(media_id, f"{feature.name} {status}")
    refused = media.filter(pc.equal(media["consent"], "refused"))["media_id"].to_pylist()
    return reasons | dict.fromkeys(refused, "consent refused")


def _gaps(recipe: Recipe, inputs: Inputs, ids: Sequence[str], statuses: Mapping[str, Mapping[str, str]]) -> list[str]:
    """By segment: the modality whose rows failed there, of a media that has others; nothing where there is none."""
    gaps = [""] * len(ids)
    for modality in () if recipe.include_failed else recipe.modalities:
        names = [feature.name for feature in recipe.features_of(modality)]
        partial = {m for name in names for m, status in statuses[name].items() if status == "partial"}
        for index in np.flatnonzero(~inputs.present[modality]).tolist() if partial else ():
            if ids[index] in partial:
                gaps[index] = gaps[index] or f"{modality} failed there"
    return gaps


def _checked_groups(
    media: pa.Table, splits: Mapping[str, str], duplicates: Sequence[tuple[str, ...]]
) -> dict[str, str]:
    groups = groups_of(media, splits, duplicates)
    members: dict[str, list[str]] = defaultdict(list)
    for media_id, group in groups.items():
        members[group].append(media_id)
    for group, media_ids in members.items():
        check_side(group, media_ids, splits)
    return groups
