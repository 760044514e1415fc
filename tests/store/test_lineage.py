"""Lineage: every file says what made it, and goes on saying it when it is replaced and when logs are cleaned."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from features.errors import StoreError
from features.store import Store, commit_files, read_table, write_file
from features.store.files import checksum_in_name, checksum_of
from features.store.lineage import Lineage, carried, read_lineage
from features.store.rows import table_of
from features.store.upsert import upsert
from tests.store.making import frames, media, put

if TYPE_CHECKING:
    from pathlib import Path

_NIGHT = Lineage("night", "ingest", "0.1.0", fingerprint="f00", inputs=(("sources", 3),), config='{"a": 1}')


def live(store: Store, table: str) -> list[Path]:
    return [store.table_path(table) / path for path in store.files(table)["path"].to_pylist()]


def test_a_file_says_what_made_it_and_names_its_checksum(store: Store) -> None:
    file = write_file(store, "frames", "b", table_of("frames", frames("a", 3)), lineage=[_NIGHT, _NIGHT])
    commit_files(store, "frames", [file], stage=_NIGHT.stage, metadata=_NIGHT.metadata())
    (path,) = live(store, "frames")
    assert read_lineage(path) == (_NIGHT,)
    assert checksum_in_name(path.name) == file.checksum == checksum_of(path)
    entry = store.load("frames").history(1)[0]
    assert {name: entry[name] for name in ("run_id", "fingerprint", "inputs")} == {
        "run_id": "night",
        "fingerprint": "f00",
        "inputs": '{"sources": 3}',
    }
    assert read_table(store, "frames").num_rows == 0, "not whole without media"


def test_files_of_other_writers_name_no_checksum() -> None:
    assert checksum_in_name("batch_id=b/part-00001-4f9a-c000.snappy.parquet") is None


def test_lineage_outlives_the_log_entries(store: Store) -> None:
    for index in range(3):
        file = write_file(store, "frames", f"b{index}", table_of("frames", frames("a", 1)), lineage=[_NIGHT])
        commit_files(store, "frames", [file], stage="ingest", metadata=_NIGHT.metadata())
    handle = store.load("frames")
    handle.create_checkpoint()
    for entry in (store.table_path("frames") / "_delta_log").glob("*.json"):
        if entry.name != f"{handle.version():020}.json":
            entry.unlink()
    assert [read_lineage(path) for path in live(store, "frames")] == [(_NIGHT,)] * 3


def test_rows_that_are_replaced_keep_their_makers(store: Store) -> None:
    put(store, "media", "b", [media("a"), media("c")])
    for run, value in (("first", "x"), ("second", "y")):
        rows = [{"media_id": "a", "task": "t", "class": value}]
        upsert(store, "labels/t", rows, key=("media_id",), lineage=Lineage(run, "label"))
    (path,) = live(store, "labels/t")
    assert [one.run_id for one in read_lineage(path)] == ["first", "second"]


def test_carried_lineage_names_each_maker_once(store: Store) -> None:
    files = [write_file(store, "audio", "b", table_of("audio", []), lineage=[_NIGHT]) for _ in range(2)]
    other = Lineage("morning", "repair")
    assert carried(store.table_path("audio"), [file.path for file in files], other) == (_NIGHT, other)


def test_a_newer_programs_members_are_passed_over() -> None:
    assert Lineage.from_dict({**asdict(_NIGHT), "moon": "full"}) == _NIGHT


def test_a_lost_file_is_named(store: Store, tmp_path: Path) -> None:
    del store
    with pytest.raises(StoreError, match=r"lineage of '.*gone\.parquet'.*triptych verify"):
        read_lineage(tmp_path / "gone.parquet")
