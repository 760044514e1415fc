"""Four nights are killed again and again; `make chaos` does 50."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.whole.chaos import Plan, run_round

if TYPE_CHECKING:
    from pathlib import Path

    from tests.whole.site import Reference

pytestmark = pytest.mark.slow


PLANS = (
    Plan(1, most_kills=2),
    Plan(2, stages=("ingest",), runner="multi", most_kills=2),
    Plan(3, stages=("ingest", "extract"), most_kills=3),
    Plan(4, stages=("extract",), wave_batches=4, most_kills=3),
)


def test_killed_nights_come_to_what_an_uninterrupted_one_does(reference: Reference, tmp_path: Path) -> None:
    """Two at a time, each on a store of its own."""
    with ThreadPoolExecutor(2) as pool:
        rounds = list(pool.map(lambda plan: run_round(reference, tmp_path / f"{plan.seed}", plan), PLANS))
    print(*rounds, sep="\n")
    assert sum(len(one.kills) for one in rounds) >= len(rounds) // 2
