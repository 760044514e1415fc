"""From labels, segments and aligned features to examples, and why a labelled segment is none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.fusion.examples import Examples, Inputs, TaskTargets
from features.fusion.inputs import align
from features.fusion.normalise import owners_of
from features.fusion.segments import check_shots, parse_segmentation, segments_of
from features.fusion.splits import check_side, groups_of, near_duplicates_of, strays_of
from features.fusion.targets import targets_of, task_labels
from features.privacy.consent import allowed
from features.records import WITH_ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from features.fusion.inputs import RawFound
    from features.fusion.recipe import Recipe

_KNOWN = WITH_ROWS | {"absent", "empty", "skipped"}
"""Statuses that tell why a modality is there or not; `failed` and none at all tell nothing about the media."""


@dataclass(frozen=True)
class Labelled:
    """Labelled segments before their features are read, m of them.

    Attributes:
        segments: Columns media_id, start_us, end_us.
        tasks: Targets by task.
        reasons: Why a segment is left out, or an empty text, of each.
        groups: Group of each.
        split: Split of each, or an empty text.
        own: Whose rows each is normalised by, or nothing.
        statuses: Status by feature and media.
    """

    segments: pa.Table
    tasks: Mapping[str, TaskTargets]
    reasons: list[str]
    groups: list[str]
    split: list[str]
    own: tuple[str, ...]
    statuses: Mapping[str, Mapping[str, str]]

    @property
    def media_ids(self) -> list[str]:
        """Media of each segment."""
        ids: list[str] = self.segments["media_id"].to_pylist()
        return ids

    def wanted(self) -> NDArray[np.int64]:
        """Places of the segments that no reason leaves out so far."""
        return np.flatnonzero([not reason for reason in self.reasons])


def build_examples(
    recipe: Recipe,
    *,
    media: pa.Table,
    features: Mapping[str, pa.Table],
    coverage: Mapping[str, pa.Table],
    labels: pa.Table | Mapping[str, pa.Table],
    transcripts_sources: Mapping[str, str],
    splits: Mapping[str, str],
    transcripts: pa.Table | None = None,
    shots: pa.Table | None = None,
    raw: Mapping[str, Callable[[pa.Table], RawFound]] | None = None,
) -> Examples:
    """Align labels and features under a recipe, all in memory.

    Args:
        recipe: What to learn, from what.
        media: Rows of `media`.
        features: Rows of each feature table by `<name>@<version>`.
        coverage: Rows of each coverage table by the same keys.
        labels: Rows of the label set, or of each by its name.
        transcripts_sources: Source of the best text by media: `subtitle`, `sidecar`, `asr:<name>`.
        splits: Split by media (`assign_splits`).
        transcripts: Rows of the best text, for a recipe that learns from `utterances`.
        shots: Rows of `shots@1`, for a recipe that learns from `shots`.
        raw: What computes each raw input, by its name.

    Raises:
        ConfigError: A feature of the recipe was not given, or labelled media with video have no shots.
        ModelError: There are no labels for a task, a label is of no class, or a group stands on two sides.
    """
    sets = labels if isinstance(labels, Mapping) else {recipe.labels: labels}
    labelled = label_segments(recipe, media, sets, coverage, splits, transcripts, shots)
    found = {
        key: rows_found(rows, labelled.statuses[key]) for key, rows in features.items() if key in labelled.statuses
    }
    inputs = align(recipe, labelled.segments, found, transcripts_sources, raw=raw)
    return examples_of(recipe, labelled, inputs)


def label_segments(
    recipe: Recipe,
    media: pa.Table,
    labels: Mapping[str, pa.Table],
    coverage: Mapping[str, pa.Table],
    splits: Mapping[str, str],
    transcripts: pa.Table | None = None,
    shots: pa.Table | None = None,
) -> Labelled:
    """Segments and their targets, with what leaves a segment out before its features are read.

    Left out: media whose consent to training is refused, that newer content superseded, whose extraction failed or has
    not run (unless the recipe includes them), without a split, or whose near-duplicate is in a stricter split (test,
    then dev); segments without a clear label of any task.

    Raises:
        ConfigError: Labelled media with video have no shots.
        ModelError: There are no labels for a task, a label is of no class, or a group stands on two sides.
    """
    of_task = {task.name: task_labels(recipe, task, labels[task.labels or recipe.labels]) for task in recipe.tasks}
    kind = parse_segmentation(recipe.segmentation)
    if kind.kind == "shots" and shots is not None:
        ids = pa.concat_arrays([rows["media_id"].combine_chunks() for rows in of_task.values()])
        check_shots(media.filter(pc.is_in(media["media_id"], ids)), shots)
    segments = segments_of(recipe.segmentation, media, _segment_labels(recipe, of_task, labels), transcripts, shots)
    tasks = {
        task.name: targets_of(segments, media, of_task[task.name], task, exact=_is_exact(recipe, task.labels))
        for task in recipe.tasks
    }
    statuses = {feature.name: _statuses(coverage.get(feature.name)) for feature in recipe.tables}
    ids = segments["media_id"].to_pylist()
    duplicates = near_duplicates_of(media)
    groups = _checked_groups(media, splits, duplicates)
    reasons = {m: f"near-duplicate in {side}" for m, side in strays_of(duplicates, splits).items()}
    reasons |= _reasons(recipe, media, statuses)
    known = np.logical_or.reduce([targets.known for targets in tasks.values()])
    left_out = [
        "no clear label" * (not is_known) or reasons.get(media_id, "") or "no split" * (media_id not in splits)
        for media_id, is_known in zip(ids, known, strict=True)
    ]
    return Labelled(
        segments,
        tasks,
        left_out,
        [groups[media_id] for media_id in ids],
        [splits.get(media_id, "") for media_id in ids],
        owners_of(recipe.normalisation, media, ids),
        statuses,
    )


def examples_of(recipe: Recipe, labelled: Labelled, inputs: Inputs, rows: NDArray[np.int64] | None = None) -> Examples:
    """Examples of labelled segments with their inputs; left out besides: gaps where extraction failed, no modality.

    Args:
        recipe: Whether failures are left out.
        labelled: The segments.
        inputs: Of the segments at `rows`.
        rows: Places among `labelled`; by default all.
    """
    rows = np.arange(len(labelled.reasons)) if rows is None else rows
    all_ids = labelled.media_ids
    ids = [all_ids[row] for row in rows.tolist()]
    gaps = _gaps(recipe, inputs, ids, labelled.statuses)
    present = inputs.any_present()
    reasons = list(labelled.reasons)
    for place, row in enumerate(rows.tolist()):
        reasons[row] = reasons[row] or gaps[place] or "no modality" * (not present[place])
    examples = Examples(
        media_id=ids,
        start_us=np.asarray(labelled.segments["start_us"].to_numpy(), np.int64)[rows],
        end_us=np.asarray(labelled.segments["end_us"].to_numpy(), np.int64)[rows],
        inputs=inputs,
        tasks={name: targets.take(rows) for name, targets in labelled.tasks.items()},
        groups=[labelled.groups[row] for row in rows.tolist()],
        split=[labelled.split[row] for row in rows.tolist()],
        left_out=dict(sorted(Counter(filter(None, reasons)).items())),
        own=tuple(labelled.own[row] for row in rows.tolist()) if labelled.own else (),
    )
    kept = np.flatnonzero([not reasons[row] for row in rows.tolist()])
    return examples if len(kept) == len(rows) else examples.take(kept)


def rows_found(rows: pa.Table, statuses: Mapping[str, str]) -> pa.Table:
    """The rows of media that have any, by their coverage; the others' modality is masked."""
    covered = [media_id for media_id, status in statuses.items() if status in WITH_ROWS]
    return rows.filter(pc.is_in(rows["media_id"], value_set=pa.array(covered, rows["media_id"].type)))


def _is_exact(recipe: Recipe, label_set: str) -> bool:
    """Whether the segments are the spans of the task's own labels."""
    kind = parse_segmentation(recipe.segmentation)
    return kind.kind == "labels" and kind.label_set == (label_set or recipe.labels)


def _segment_labels(recipe: Recipe, of_task: Mapping[str, pa.Table], labels: Mapping[str, pa.Table]) -> pa.Table:
    """The labels whose spans are segments, where the segmentation asks for some: those of its own set's tasks."""
    kind = parse_segmentation(recipe.segmentation)
    own = [task.name for task in recipe.tasks if (task.labels or recipe.labels) == kind.label_set]
    columns = ["media_id", "start_us", "end_us"]
    if kind.kind == "labels" and not own:
        return labels[kind.label_set].select(columns)
    names = own or list(of_task)
    return pa.concat_tables([of_task[name].select(columns) for name in names])


def _statuses(coverage: pa.Table | None) -> dict[str, str]:
    """Status by media of one feature; nothing where it has not run."""
    if coverage is None:
        return {}
    return dict(zip(coverage["media_id"].to_pylist(), coverage["status"].to_pylist(), strict=True))


def _reasons(recipe: Recipe, media: pa.Table, statuses: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Why a media is left out, by media; none for those that are used."""
    ids = media["media_id"].to_pylist()
    reasons: dict[str, str] = {}
    for feature in () if recipe.include_failed else recipe.tables:
        for media_id in ids:
            status = statuses[feature.name].get(media_id, "not run")
            if status not in _KNOWN:
                reasons.setdefault(media_id, f"{feature.name} {status}")
    if "superseded_by" in media.column_names:
        superseded = media.filter(pc.is_valid(media["superseded_by"]))["media_id"].to_pylist()
        reasons |= dict.fromkeys(superseded, "superseded by newer content")
    refused = media.filter(pc.invert(allowed(media, "training")))["media_id"].to_pylist()
    return reasons | dict.fromkeys(refused, "consent refused for training")


def _gaps(recipe: Recipe, inputs: Inputs, ids: Sequence[str], statuses: Mapping[str, Mapping[str, str]]) -> list[str]:
    """By segment: the modality whose rows failed there, of a media that has others; nothing where there is none."""
    gaps = [""] * len(ids)
    for modality in () if recipe.include_failed else recipe.modalities:
        names = [feature.name for feature in recipe.features_of(modality) if feature.name in statuses]
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
