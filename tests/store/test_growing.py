"""Growing up: a store of an older schema is read with nulls, widened when written, and then closed to old programs."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from features import schema
from features.errors import StoreError
from features.schema import SCHEMA_VERSION
from features.store import Store, plan_sources, read_table
from features.store.marker import MARKER
from features.store.plan import BatchLimits, read_plan
from flows.commands.sql import connect
from tests.store.making import put, source

if TYPE_CHECKING:
    from pathlib import Path

_NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store as version 1 left it: `sources` has no `attempt`."""
    store = Store.create(tmp_path / "old")
    with monkeypatch.context() as before:
        narrow = schema.SOURCES.remove(schema.SOURCES.get_field_index("attempt"))
        before.setitem(schema._FIXED, "sources", narrow)
        row = source("a.mp4")._asdict()
        put(store, "sources", "20250101T000000-0", [{name: row[name] for name in row if name in narrow.names}])
    (store.path / MARKER).write_text(json.dumps({"schema_version": 1}))
    return store


def plan(store: Store, *names: str) -> tuple[str, ...]:
    sources = [source(name) for name in names]
    return plan_sources(store, sources, now=_NOW, limits=BatchLimits(), config="")


def version_of(store: Store) -> int:
    return int(json.loads((store.path / MARKER).read_text())["schema_version"])


def test_a_newer_column_is_null_in_old_batches(old: Store) -> None:
    assert read_table(old, "sources")["attempt"].to_pylist() == [None]
    (batch,) = read_plan(old, old.batches("sources"))
    assert batch.sources == (source("a.mp4"),), "null is the first attempt"
    assert version_of(old) == 1, "reading changes nothing"


def test_writing_widens_the_table_and_states_the_version(old: Store) -> None:
    assert plan(old, "a.mp4", "c.mp4")
    assert {field.name for field in old.load("sources").schema().fields} == set(schema.SOURCES.names)
    assert read_table(old, "sources", columns=["uri"]).num_rows == 2, "the first is still known"
    assert version_of(old) == SCHEMA_VERSION
    with connect(old) as connection:
        (count,) = connection.execute('select count(*), count(attempt) from "sources"').fetchall()
    assert count[0] == 2


def test_an_older_program_refuses_in_one_line(old: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan(old, "c.mp4")
    monkeypatch.setattr("features.store.marker.SCHEMA_VERSION", 1)
    with pytest.raises(
        StoreError, match=f"has schema version {SCHEMA_VERSION}, this program knows 1; install a newer triptych"
    ) as told:
        Store.open(old.path)
    assert "\n" not in str(told.value)


def test_columns_of_old_and_new_files_agree(old: Store) -> None:
    plan(old, "c.mp4")
    assert read_table(old, "sources").schema.equals(pa.schema(schema.SOURCES))
