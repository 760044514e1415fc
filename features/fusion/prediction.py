"""Predictions: what an ensemble says of segments, calibrated, in float64 and the same whatever the batch."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import torch

from features.fusion.calibration import with_temperature
from features.fusion.model import FusionModel, ModelInputs, tensors_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from features.fusion.examples import Inputs, Place
    from features.fusion.model import TaskShape

    Outputs = dict[str, NDArray[np.float64]]

_BATCH_BYTES = 64 << 20  # of inputs in float64


def predict_outputs(
    models: Sequence[FusionModel],
    inputs: Inputs,
    place: Place,
    priors: Mapping[str, Sequence[float]],
    temperatures: Mapping[str, float] = MappingProxyType({}),
    rows: NDArray[np.int64] | None = None,
) -> Outputs:
    """Mean of the models' predictions by task; the prior where no modality is present.

    Computed in float64 on one thread and rounded by the caller, so that neither the size of a batch nor the number
    of cores shows in a float32 score.

    Args:
        models: In evaluation mode, in float64 (`for_prediction`).
        inputs: Arrays and masks of n segments.
        place: Where they stand; a media's segments are looked at together.
        priors: What is said without any modality, by task (`TaskTargets.prior`).
        temperatures: Temperature by task that probabilities are calibrated with; 1 where there is none.
        rows: Places of the m segments that are asked for; by default all. They alone are looked at, a batch at a time:
            the arrays may lie in a file larger than memory.

    Returns:
        By task, of the m segments: `class` and `binary`: probabilities [m, num_classes], rows sum to 1; `multilabel`:
        the probability of each label [m, num_classes]; `regression`: [m].

    Reference:
        Lakshminarayanan et al. (2017), arXiv:1612.01474 (the mean); Guo et al. (2017), arXiv:1706.04599 (temperature).
    """
    shapes = models[0].architecture.tasks
    inputs = inputs.only(models[0].architecture.modalities)
    asked = np.arange(len(inputs)) if rows is None else rows
    result = {task.name: prior_outputs(task.kind, priors[task.name], len(asked)) for task in shapes}
    known = np.flatnonzero(inputs.any_present()[asked])
    with torch.inference_mode(), one_thread():
        for places in _batches(inputs, place.media[asked], known):
            batch = _doubles(inputs.take(asked[places]), place, asked[places])
            found = [model(batch) for model in models]
            for task in shapes:
                said = [_probabilities(one, task, out[task.name]) for one, out in zip(models, found, strict=True)]
                mean = torch.stack(said).mean(dim=0).numpy()
                if task.name in temperatures:
                    mean = with_temperature(mean, temperatures[task.name], kind=task.kind)
                result[task.name][places] = mean
    return result


def decisions(kind: str, outputs: NDArray[np.float64]) -> NDArray[np.int64] | NDArray[np.float64]:
    """What is said in the end: the class's place [n], which labels hold [n, num_classes], or the number [n]."""
    if kind in ("class", "binary"):
        return np.asarray(outputs.argmax(axis=1), np.int64)
    return np.asarray(outputs > 0.5, np.int64) if kind == "multilabel" else outputs


def prior_outputs(kind: str, prior: Sequence[float], num_rows: int) -> NDArray[np.float64]:
    """What is said without any modality of each of some rows, as `predict_outputs` gives it.

    Args:
        kind: Of the task.
        prior: As of `TaskTargets.prior`.
        num_rows: How many rows.
    """
    if kind == "regression":
        return np.full(num_rows, prior[0], np.float64)
    return np.tile(np.asarray(prior, np.float64), (num_rows, 1))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: small products gain nothing from more, and sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _batches(inputs: Inputs, media: NDArray[np.int64], known: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """The known places, those of a media together, in pieces of bounded size but for a media that is larger."""
    row_bytes = 8 * sum(int(np.prod(shape)) for shape in inputs.shapes.values())
    most = max(16, _BATCH_BYTES // max(1, row_bytes))
    order = known[np.argsort(media[known], kind="stable")]
    _, starts = np.unique(media[order], return_index=True)
    begin = 0
    for start, end in pairwise([*starts.tolist(), len(order)]):
        if end - begin > most and start > begin:
            yield order[begin:start]
            begin = start
    if begin < len(order):
        yield order[begin:]


def _doubles(inputs: Inputs, place: Place, rows: NDArray[np.int64]) -> ModelInputs:
    media, order = torch.from_numpy(place.media[rows]), torch.from_numpy(place.order[rows])
    batch = tensors_of(inputs, media, order)
    values = {name: value.double() if value.is_floating_point() else value for name, value in batch.values.items()}
    return batch._replace(values=values)


def _probabilities(model: FusionModel, task: TaskShape, logits: torch.Tensor) -> torch.Tensor:
    if task.kind == "class":
        return torch.softmax(logits, dim=1)
    if task.kind == "regression":
        mean, std = model.target_scale(task.name)
        return (logits * std + mean)[:, 0]
    share = torch.sigmoid(logits)
    return torch.cat([1 - share, share], dim=1) if task.kind == "binary" else share
