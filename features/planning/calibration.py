"""What earlier runs say about costs: how many times as much as `rates` tells a stage took, and a table weighed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from features.planning.rates import BY_DEFAULT, start_seconds, wall_start_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from features.planning.records import StageRecord

_RUNS = 5
_LEAST_SECONDS = 0.5
_LEAST, _MOST = 0.1, 20.0
_LEAST_EFFICIENCY = 0.1
USUAL_EFFICIENCY = 0.85
"""Share of the workers' time in which they work, the start left out."""


class Calibration(NamedTuple):
    """A factor, and the number of runs that tell it; 1 and 0 where none does."""

    factor: float = 1.0
    num_runs: int = 0

    def origin(self, otherwise: str = BY_DEFAULT) -> str:
        """Where a figure with this factor is from."""
        if not self.num_runs:
            return otherwise
        return "1 earlier run" if self.num_runs == 1 else f"{self.num_runs} earlier runs"


def cpu_calibration(stages: Iterable[StageRecord], predicted: Callable[[StageRecord], float]) -> Calibration:
    """How many times the predicted CPU seconds a stage took, its start left out, over its newest runs.

    Args:
        stages: What runs of the stage took, newest first.
        predicted: CPU seconds of a run's work, by `rates`.
    """
    pairs = []
    for one in stages:
        taken = one.cpu_seconds - start_seconds(one.stage.partition(" ")[0], one.num_waves, one.num_workers)
        expected = predicted(one)
        if expected > 0 and one.cpu_seconds > _LEAST_SECONDS:
            pairs.append((max(taken, 0.0), expected))
    return _ratio(pairs[:_RUNS])


def bytes_calibration(
    stages: Iterable[StageRecord], table: str, predicted: Callable[[StageRecord], float]
) -> Calibration:
    """How many times the predicted bytes a table weighs, over the newest runs that filled it."""
    pairs = [
        (figures.written_bytes, predicted(one))
        for one in stages
        for figures in one.written
        if figures.table == table and one.work.media_seconds > 0
    ]
    return _ratio([pair for pair in pairs if pair[1] > 0][:_RUNS])


def efficiency(stages: Iterable[StageRecord]) -> float:
    """Share of the workers' time in which they worked, the start left out, over the newest runs."""
    worked = waited = 0.0
    for one in list(stages)[:_RUNS]:
        stage = one.stage.partition(" ")[0]
        worked += max(0.0, one.cpu_seconds - start_seconds(stage, one.num_waves, one.num_workers))
        waited += one.num_workers * max(0.0, one.wall_seconds - wall_start_seconds(stage, one.num_waves))
    return max(_LEAST_EFFICIENCY, min(1.0, worked / waited)) if worked > _LEAST_SECONDS and waited else USUAL_EFFICIENCY


def _ratio(pairs: list[tuple[float, float]]) -> Calibration:
    """Of sums, so that large runs say more."""
    if not pairs:
        return Calibration()
    ratio = sum(taken for taken, _ in pairs) / sum(expected for _, expected in pairs)
    return Calibration(max(_LEAST, min(_MOST, ratio)), len(pairs))
