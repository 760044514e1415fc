"""Two runs at once on one store; `make chaos` does more of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.whole.rivals import run_rivals

if TYPE_CHECKING:
    from pathlib import Path

    from tests.whole.site import Reference

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("slow", "leases"), [(False, True), (True, False)])
def test_two_runs_at_once_share_a_store(slow: bool, leases: bool, reference: Reference, tmp_path: Path) -> None:
    run_rivals(reference, tmp_path / "rivals", slow=slow, leases=leases, wave_batches=8)
