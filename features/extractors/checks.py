"""What a row must be before a table takes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import ExtractionError
from features.extractors.shared import Problem
from features.records import FeatureRow, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt

    from features.spec import FeatureSpec


def checked_rows(
    spec: FeatureSpec, rows: Iterable[FeatureRow | Utterance]
) -> tuple[list[FeatureRow | Utterance], list[Problem]]:
    """Rows that a table may hold, and what is wrong with the others.

    A vector of the wrong shape, one with NaN or infinity, and one of zeros alone are no features: models would take
    them for values.

    Raises:
        ExtractionError: A row is of the wrong kind: nothing of the extractor can be used.
    """
    given = list(rows)
    good: list[FeatureRow | Utterance] = []
    bad: list[Problem] = []
    for row, fault in zip(given, _faults(spec, given), strict=True):
        if fault:
            bad.append(Problem(row.start_us, row.end_us, ExtractionError(f"{spec.key!r} gave {fault}")))
        else:
            good.append(row)
    return good, bad


def _faults(spec: FeatureSpec, rows: Sequence[FeatureRow | Utterance]) -> Iterator[str]:
    """What is wrong with each row, or nothing."""
    wanted = FeatureRow if spec.output == "features" else Utterance
    for row in rows:
        if not isinstance(row, wanted):
            message = f"{spec.key!r} gave a {type(row).__name__} instead of a {wanted.__name__}; mend the extractor"
            raise ExtractionError(message)
    vectors = [row.values for row in rows if isinstance(row, FeatureRow)]
    texts = (row.text for row in rows if isinstance(row, Utterance))
    contents = _of_vectors(vectors, math.prod(spec.shape)) if vectors else map(_of_text, texts)
    for row, fault in zip(rows, contents, strict=True):
        yield "a row that does not end after it starts" if row.start_us >= row.end_us else fault


def _of_vectors(vectors: Sequence[npt.NDArray[Any]], size: int) -> Iterator[str]:
    """Faults of vectors; all of the right size are looked at together: a call on each takes longer."""
    right = [vector for vector in vectors if vector.shape == (size,)]
    stacked = np.stack(right) if right else np.zeros((0, size))
    finite, anything = np.all(np.isfinite(stacked), axis=1), np.any(stacked, axis=1)
    looks = iter(np.stack([finite, anything], axis=1).tolist())
    for vector in vectors:
        if vector.shape != (size,):
            yield f"{vector.size} values instead of {size}"
            continue
        is_finite, is_anything = next(looks)
        yield "NaN or infinity" if not is_finite else "" if is_anything else "zeros alone"


def _of_text(text: str) -> str:
    return "" if text.strip() else "an utterance without text"
