"""Scoring: a model's prediction for every segment, with what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from features.fusion.examples import place_of
from features.fusion.inputs import align
from features.fusion.normalise import normalise, owners_of
from features.fusion.prediction import decisions, predict_outputs
from features.fusion.segments import check_shots, parse_segmentation, segments_of
from features.privacy.consent import allowed
from features.schema import data_schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from numpy.typing import NDArray

    from features.fusion.examples import Inputs, Place
    from features.fusion.inputs import RawFound
    from features.fusion.loaded import LoadedModel
    from features.fusion.model import TaskShape


def score_segments(
    model: LoadedModel,
    *,
    media: pa.Table,
    features: Mapping[str, pa.Table],
    transcripts_sources: Mapping[str, str],
    transcripts: pa.Table | None = None,
    labels: pa.Table | None = None,
    shots: pa.Table | None = None,
    segmentation: str | None = None,
    raw: Mapping[str, Callable[[pa.Table], RawFound]] | None = None,
    beside: Collection[str] = (),
) -> pa.Table:
    """Score segments of media, a row a segment and task.

    A segment without any modality is abstained from: no prediction, no probabilities. A modality's contribution is
    the probability of the predicted class minus what it would be without that modality (without the only one: what is
    said without any); of labels, the mean over them of how far each moves towards what is said; of a number, the
    number minus what it would be. Media whose consent is refused, or without a duration, have no rows.

    The prediction is a class, the classes that hold, joined by `|`, or a number; the probabilities are those of the
    classes in the model's order, or the number alone.

    Args:
        model: As of `load_model`.
        media: Rows of `media`.
        features: Rows of each of the model's feature tables by `<name>@<version>`.
        transcripts_sources: Source of the best text by media; recognised text is masked where the recipe masks it.
        transcripts: Rows of the best text, for the segmentation `utterances`.
        labels: Rows of the label set, for the segmentation `labels:<set>`.
        shots: Rows of `shots@1`, for the segmentation `shots`.
        segmentation: By default the recipe's `score_segmentation`.
        raw: What computes each raw input, by its name.
        beside: Media that are not scored: their vectors only count for those of the same subject, where the model
            normalises per subject.

    Returns:
        Rows with the columns of `scores/<model>`, in order of `media`, then of time, then of task.

    Raises:
        ConfigError: A feature of the model was not given, the segmentation is wrong, or media with video have no shots.
        ModelError: A feature's vectors do not have the width that the model learned from.
    """
    media = media.filter(allowed(media, "features"))
    segmentation = segmentation or model.recipe.score_segmentation
    if parse_segmentation(segmentation).kind == "shots" and shots is not None:
        check_shots(media, shots)
    segments = segments_of(segmentation, media, labels, transcripts, shots)
    inputs = align(model.recipe, segments, features, transcripts_sources, model.widths, raw)
    ids = segments["media_id"].to_pylist()
    owners = owners_of(model.recipe.normalisation, media, ids)
    inputs = normalise(inputs, owners, model.scales, model.recipe.normalisation)
    if beside:
        rows = np.flatnonzero([media_id not in beside for media_id in ids])
        inputs, segments, ids = inputs.take(rows), segments.take(pa.array(rows)), [ids[row] for row in rows]
    place = place_of(ids, segments["start_us"].to_numpy(), segments["end_us"].to_numpy())
    outputs = predict_outputs(model.models, inputs, place, model.priors, model.temperatures)
    drops = _drops(model, inputs, place, outputs)
    tasks = model.models[0].architecture.tasks
    tables = [_rows(model, task, segments, inputs, outputs[task.name], drops[task.name]) for task in tasks]
    if len(tables) == 1:
        return tables[0]
    order = np.arange(segments.num_rows * len(tables)).reshape(len(tables), -1).T.reshape(-1)
    return pa.concat_tables(tables).take(pa.array(order)).combine_chunks()


def _rows(
    model: LoadedModel,
    task: TaskShape,
    segments: pa.Table,
    inputs: Inputs,
    outputs: NDArray[np.float64],
    drops: Mapping[str, NDArray[np.float64]],
) -> pa.Table:
    """Rows of one task, in order of the segments."""
    known = inputs.any_present()
    said = decisions(task.kind, outputs)
    present = [[name for name in model.modalities if inputs.present[name][row]] for row in range(len(known))]
    classes = model.classes[task.name]
    columns = outputs[:, None] if outputs.ndim == 1 else outputs
    return pa.table(
        {
            "media_id": segments["media_id"],
            "start_us": segments["start_us"],
            "end_us": segments["end_us"],
            "task": [task.name] * len(known),
            "prediction": [_in_words(task, classes, one) if ok else None for one, ok in zip(said, known, strict=True)],
            "probabilities": [_float32(row) if ok else None for row, ok in zip(columns, known, strict=True)],
            "abstained": ~known,
            "present": present,
            "contributions": [
                _float32(np.array([drops[name][row] for name in names])) if names else None
                for row, names in enumerate(present)
            ],
        },
        schema=data_schema_of("scores/any"),
    )


def _in_words(task: TaskShape, classes: tuple[str, ...], said: Any) -> str:  # noqa: ANN401 - of `decisions`
    if task.kind == "multilabel":
        return "|".join(name for name, holds in zip(classes, said, strict=True) if holds)
    return f"{np.float32(said):.6g}" if task.kind == "regression" else classes[int(said)]


def _drops(
    model: LoadedModel, inputs: Inputs, place: Place, outputs: Mapping[str, NDArray[np.float64]]
) -> dict[str, dict[str, NDArray[np.float64]]]:
    """By task and modality: how much what is said rests on it, float64 [n]."""
    tasks = model.models[0].architecture.tasks
    drops: dict[str, dict[str, NDArray[np.float64]]] = {task.name: {} for task in tasks}
    for name in model.modalities:
        without = predict_outputs(model.models, inputs.without(name), place, model.priors, model.temperatures)
        for task in tasks:
            drops[task.name][name] = _support(task.kind, outputs[task.name], without[task.name])
    return drops


def _support(kind: str, outputs: NDArray[np.float64], without: NDArray[np.float64]) -> NDArray[np.float64]:
    if kind in ("class", "binary"):
        rows, said = np.arange(len(outputs)), outputs.argmax(axis=1)
        return np.asarray(outputs[rows, said] - without[rows, said], np.float64)
    if kind == "multilabel":
        return np.asarray(((outputs - without) * np.where(outputs > 0.5, 1, -1)).mean(axis=1), np.float64)
    return outputs - without


def _float32(row: NDArray[np.float64]) -> list[float]:
    """Rounded, so that what only the order of a sum changes does not show."""
    return [float(value) for value in row.astype(np.float32)]
