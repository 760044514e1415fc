"""What a row must be before a table takes it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from features.errors import ExtractionError
from features.extractors.shared import Problem
from features.records import FeatureRow, Utterance

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    good: list[FeatureRow | Utterance] = []
    bad: list[Problem] = []
    for row in rows:
        if wrong := _wrong(spec, row):
            bad.append(Problem(row.start_us, row.end_us, ExtractionError(f"{spec.key!r} gave {wrong}")))
        else:
            good.append(row)
    return good, bad


def _wrong(spec: FeatureSpec, row: FeatureRow | Utterance) -> str:
    """What is wrong with a row, or nothing."""
    wanted = FeatureRow if spec.output == "features" else Utterance
    if not isinstance(row, wanted):
        message = f"{spec.key!r} gave a {type(row).__name__} instead of a {wanted.__name__}; mend the extractor"
        raise ExtractionError(message)
    if row.start_us >= row.end_us:
        return "a row that does not end after it starts"
    return _wrong_values(spec, row) if isinstance(row, FeatureRow) else _wrong_text(row)


def _wrong_values(spec: FeatureSpec, row: FeatureRow) -> str:
    size = math.prod(spec.shape)
    if len(row.values) != size:
        return f"{len(row.values)} values instead of {size}"
    if not np.isfinite(row.values).all():
        return "NaN or infinity"
    return "" if np.any(row.values) else "zeros alone"


def _wrong_text(row: Utterance) -> str:
    return "" if row.text.strip() else "an utterance without text"
