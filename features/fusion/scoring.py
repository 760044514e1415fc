"""Scoring: a model's prediction for every segment, with what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.fusion.dataset import Inputs, align
from features.fusion.model import predict_probabilities
from features.fusion.segments import check_shots, parse_segmentation, segments_of
from features.schema import data_schema_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from features.fusion.checkpoint import LoadedModel


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
) -> pa.Table:
    """Score segments of media.

    A segment without any modality is abstained from: no prediction, no probabilities. A modality's contribution is
    the probability of the predicted class minus what it would be without that modality (without the only one: the
    class's share in the training split). Media whose consent was refused, or without a duration, have no rows.

    Args:
        model: As of `load_model`.
        media: Rows of `media`.
        features: Rows of each of the model's feature tables by `<name>@<version>`.
        transcripts_sources: Source of the best text by media; recognised text is masked where the recipe masks it.
        transcripts: Rows of the best text, for the segmentation `utterances`.
        labels: Rows of the label set, for the segmentation `labels:<set>`.
        shots: Rows of `shots@1`, for the segmentation `shots`.
        segmentation: By default the recipe's `score_segmentation`.

    Returns:
        Rows with the columns of `scores/<model>`, in order of `media`, then of time.

    Raises:
        ConfigError: A feature of the model was not given, the segmentation is wrong, or media with video have no shots.
        ModelError: A feature's vectors do not have the width that the model learned from.
    """
    allowed = media.filter(pc.fill_null(pc.not_equal(media["consent"], "refused"), True))
    segmentation = segmentation or model.recipe.score_segmentation
    if parse_segmentation(segmentation).kind == "shots" and shots is not None:
        check_shots(allowed, shots)
    segments = segments_of(segmentation, allowed, labels, transcripts, shots)
    inputs = align(model.recipe, segments, features, transcripts_sources, model.widths)
    probabilities = predict_probabilities(model.models, inputs, model.prior)
    predicted = probabilities.argmax(axis=1)
    drops = _drops(model, inputs, probabilities, predicted)
    known = inputs.any_present()
    present = [[name for name in model.modalities if inputs.present[name][row]] for row in range(len(known))]
    return pa.table(
        {
            "media_id": segments["media_id"],
            "start_us": segments["start_us"],
            "end_us": segments["end_us"],
            "task": [model.recipe.task.name] * len(known),
            "prediction": [model.classes[best] if ok else None for best, ok in zip(predicted, known, strict=True)],
            "probabilities": [_float32(row) if ok else None for row, ok in zip(probabilities, known, strict=True)],
            "abstained": ~known,
            "present": present,
            "contributions": [
                _float32(np.array([drops[name][row] for name in names])) if names else None
                for row, names in enumerate(present)
            ],
        },
        schema=data_schema_of("scores/any"),
    )


def _drops(
    model: LoadedModel, inputs: Inputs, probabilities: NDArray[np.float64], predicted: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """By modality: how much the predicted class's probability falls without it, float64 [n]."""
    rows = np.arange(len(predicted))
    drops: dict[str, NDArray[np.float64]] = {}
    for name in model.modalities:
        hidden = Inputs(inputs.values, {**inputs.present, name: np.zeros(len(rows), bool)}, inputs.widths)
        without = predict_probabilities(model.models, hidden, model.prior)
        drops[name] = probabilities[rows, predicted] - without[rows, predicted]
    return drops


def _float32(row: NDArray[np.float64]) -> list[float]:
    """Rounded, so that what only the order of a sum changes does not show."""
    return [float(value) for value in row.astype(np.float32)]
