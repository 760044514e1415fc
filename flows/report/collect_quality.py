"""Reads from `media` what the quality columns say of what was ingested: how much is black, frozen, silent, clipped."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.store import read_table
from flows.report.data import QualityRow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from features.store import Store


class _Fault(NamedTuple):
    """A column of `media`, what it tells of, and from which share on it is much."""

    column: str
    text: str
    much: float


_FAULTS = (
    _Fault("black_share", "black pictures", 0.5),
    _Fault("frozen_share", "frozen pictures", 0.5),
    _Fault("blurred_share", "blurred pictures", 0.5),
    _Fault("silence_share", "silence", 0.5),
    _Fault("clipped_share", "clipped sound", 0.001),
)
_QUIET_LUFS = -40.0
"""Quieter than this a media is hardly heard; speech is broadcast at -23 LUFS (EBU R 128)."""


def quality_of(store: Store) -> tuple[QualityRow, ...]:
    """A row a fault that was looked for in any media; media without pictures or sound are not counted for theirs."""
    columns = [fault.column for fault in _FAULTS]
    table = read_table(store, "media", columns=[*columns, "loudness_lufs"])
    rows = []
    for fault in _FAULTS:
        shares = _numbers(table[fault.column].to_numpy())
        if len(shares):
            much = int((shares >= fault.much).sum())
            some, mean = int((shares > 0).sum()), float(100 * shares.mean())
            rows.append(QualityRow(fault.text, len(shares), some, much, mean, f"{100 * fault.much:g} % or more"))
    loudness = _numbers(table["loudness_lufs"].to_numpy())
    if len(loudness):
        quiet = int((loudness < _QUIET_LUFS).sum())
        limit = f"below \N{MINUS SIGN}{abs(_QUIET_LUFS):g} LUFS"
        rows.append(QualityRow("quiet sound", len(loudness), quiet, quiet, float(loudness.mean()), limit, "LUFS"))
    return tuple(rows)


def _numbers(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Those that are there: null was not measured."""
    numbers = np.asarray(values, np.float64)
    return numbers[np.isfinite(numbers)]
