"""Transductive normalisation: a subject's or media's vectors by the mean and deviation of its own unlabelled rows.

The result is laid on the scale of the training split, so that a model standardises it as any other vector, and those
whose owner has too few rows are left as they are: they fall back on the training split's numbers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from features.fusion.configs import NormalisationConfig
    from features.fusion.examples import Inputs

STD_FLOOR = 0.05
"""Smallest standard deviation used, as a share of the modality's median: a value that the rows hardly move must not
become a signal elsewhere."""

_ROWS_AT_ONCE, _BYTES_AT_ONCE = 4096, 64 << 20


class Scale(NamedTuple):
    """Mean and standard deviation of a modality's numbers, float64 [num_values]."""

    mean: NDArray[np.float64]
    std: NDArray[np.float64]


def scales_of(inputs: Inputs, rows: NDArray[np.int64]) -> dict[str, Scale]:
    """Scale by modality of vectors and sequences; none for pictures, patches and ids.

    Args:
        inputs: Arrays and masks.
        rows: Places of the segments that count: those of the training split.
    """
    return {name: _scale(partial(_parts, inputs, name, rows)) for name in inputs.values if _is_scaled(inputs, name)}


def owners_of(config: NormalisationConfig, media: pa.Table, media_ids: Sequence[str]) -> tuple[str, ...]:
    """Whose rows each segment is normalised by: its media's subjects, or its media; nothing with per = `train`.

    Args:
        config: How.
        media: Rows of `media`; one without subjects stands for itself.
        media_ids: Media of each segment.
    """
    if config.per == "train":
        return ()
    subjects = dict(zip(media["media_id"].to_pylist(), media["subject_ids"].to_pylist(), strict=True))
    of_subject = config.per == "subject"
    return tuple((of_subject and owner_of(subjects.get(name))) or name for name in media_ids)


def owner_of(subjects: Collection[str] | None) -> str:
    """The people of a media as one name; an empty text where none are stated."""
    return "+".join(sorted(subjects or ()))


def normalise(
    inputs: Inputs, owners: Sequence[str], scales: Mapping[str, Scale], config: NormalisationConfig
) -> Inputs:
    """Vectors by their owners' own rows, on the scale of the training split.

    Args:
        inputs: Arrays and masks of n segments.
        owners: Whose each is (`owners_of`); empty: nothing is done.
        scales: Of the training split (`scales_of`).
        config: Which modalities, and how many rows an owner needs.
    """
    names = [name for name in config.modalities or inputs.values if name in scales and name in inputs.values]
    if not owners or not names:
        return inputs
    _, codes = np.unique(np.asarray(owners, dtype=object).astype(str), return_inverse=True)
    of_owners = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    values = dict(inputs.values)
    for name in names:
        values[name] = np.array(values[name])  # the caller's own stays as it is
        for own in of_owners:
            rows = own[inputs.present[name][own]]
            _normalise_rows(values[name], rows, inputs.lengths.get(name), scales[name], config.at_least)
    return replace(inputs, values=values)


def _normalise_rows(
    values: NDArray[Any], rows: NDArray[np.int64], lengths: NDArray[np.int64] | None, scale: Scale, at_least: int
) -> None:
    part = values[rows]
    there = np.ones(part.shape[:-1], bool) if lengths is None else np.arange(part.shape[1]) < lengths[rows][:, None]
    if there.sum() < at_least:
        return
    own = _scale(lambda: [part[there]])
    moved = (part - own.mean) / own.std * scale.std + scale.mean
    values[rows] = np.where(there[..., None], moved, 0)


def _is_scaled(inputs: Inputs, name: str) -> bool:
    values = inputs.values[name]
    return values.dtype.kind == "f" and (values.ndim == 2 or name in inputs.lengths)


def _parts(inputs: Inputs, name: str, rows: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
    """The vectors of the segments where the modality is present, piece by piece: the store may not fit in memory."""
    rows = rows[inputs.present[name][rows]]
    values = inputs.values[name]
    at_once = min(_ROWS_AT_ONCE, max(1, _BYTES_AT_ONCE // max(1, values[:1].nbytes)))
    for start in range(0, len(rows), at_once):
        piece = rows[start : start + at_once]
        part = values[piece]
        if name in inputs.lengths:
            part = part[np.arange(part.shape[1]) < inputs.lengths[name][piece][:, None]]
        yield part


def _scale(parts: Callable[[], Iterable[NDArray[Any]]]) -> Scale:
    """Mean and deviation in two passes over the parts, float64, the deviation no smaller than its floor."""
    count, total = 0, np.zeros((), np.float64)
    for part in parts():
        count, total = count + len(part), total + part.sum(axis=0, dtype=np.float64)
    mean = total / max(1, count)
    squares = sum((np.square(part - mean).sum(axis=0) for part in parts()), np.zeros((), np.float64))
    std = np.sqrt(squares / max(1, count))
    floor = max(STD_FLOOR * float(np.median(std)), 1e-6)
    return Scale(np.atleast_1d(mean), np.atleast_1d(np.maximum(std, floor)))
