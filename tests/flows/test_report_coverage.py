"""The report counts every outcome that an extractor can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from features.extractors.engine import CoverageStatus
from flows.report.collect import collect
from flows.report.render import render
from tests.flows.conftest import SPECS
from tests.store.making import media, put

if TYPE_CHECKING:
    from features.store import Store


def test_each_status_is_counted_and_shown(store: Store) -> None:
    statuses = get_args(CoverageStatus)
    rows = [{"media_id": f"n{number}", "status": status, "num_rows": 0} for number, status in enumerate(statuses)]
    put(store, SPECS[0].coverage_table, "b3", rows)
    put(store, "media", "b3", [media(row["media_id"], has_video=True) for row in rows])
    data = collect(store)
    (row,) = [row for row in data.coverage if row.extractor == SPECS[0].key]
    counts = {status: getattr(row, status) for status in statuses}
    assert counts == {**dict.fromkeys(statuses, 1), "ok": 13}
    page = render(data)
    assert all(f">{status}</th>" in page for status in statuses)
