"""Merging: several files of a batch become one, without a change to the rows, whatever rivals do meanwhile."""

from __future__ import annotations

import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.store import Store, commit_files, write_file
from features.store.files import BatchWriter, FileRecord, checksum_of
from features.store.lineage import Lineage, read_lineage
from features.store.maintain import maintain
from features.store.merge import merge_files, several_files
from features.store.read import read_committed
from features.store.rows import table_of
from tests.store.damage import everything
from tests.store.making import frames, put, write
from tests.store.rivals import commit_together, merge, race


def letter(number: int) -> dict[str, object]:
    return {"stage": "ingest", "uri": f"/videos/{number}.mp4", "error": "DecodeError", "message": "torn"}


def put_parts(store: Store, batch_id: str, counts: tuple[int, ...]) -> None:
    """A batch of dead letters in several files, each by a run of its own."""
    first = 0
    for part, count in enumerate(counts):
        rows = table_of("failures", [letter(first + number) for number in range(count)])
        made = Lineage(f"run{part}", "ingest")
        file = write_file(store, "failures", batch_id, rows, lineage=[made])
        commit_files(store, "failures", [file], stage=f"part{part}")
        first += count


def test_several_files_of_a_batch_become_one_with_the_same_rows_in_order(store: Store) -> None:
    put_parts(store, "b1", (3, 0, 2))
    put_parts(store, "b2", (1,))
    before, kept = read_committed(store, "failures"), everything(store.path)
    assert maintain(store, "run").tables[0]._asdict() | {"freed_bytes": 0} == {
        "table": "failures",
        "merged": 2,
        "swept": 0,
        "freed_bytes": 0,
        "log_files": 0,
    }
    assert read_committed(store, "failures").equals(before)
    assert store.files("failures").num_rows == 2
    assert several_files(store, "failures") == {}
    assert kept <= everything(store.path), "older versions are read from these"
    assert read_committed(store, "failures", versions={"failures": 4}).equals(before)
    assert maintain(store, "again").tables[0].merged == 0


def test_a_merged_file_carries_the_lineage_of_all(store: Store) -> None:
    put_parts(store, "b1", (1, 1))
    merge_files(store, "failures", metadata={"run_id": "m"})
    (path,) = store.files("failures")["path"].to_pylist()
    assert {made.run_id for made in read_lineage(store.table_path("failures") / path)} == {"run0", "run1"}
    assert store.load("failures").history(1)[0]["run_id"] == "m"


def test_a_batch_is_merged_again_when_it_grows_again(store: Store) -> None:
    for parts in ((1, 1), (1, 1, 1)):
        put_parts(store, "b1", parts)
        merge_files(store, "failures", metadata={})
        assert store.files("failures").num_rows == 1
    assert read_committed(store, "failures").num_rows == 3


def test_merging_is_repeated_on_what_a_rival_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rival adds to a batch, and replaces another, after the merged files were written."""
    put_parts(store, "b1", (1, 1))
    put_parts(store, "b2", (1, 1))
    ensure, looked = Store.ensure, []

    def late(self: Store, table: str, spec: None = None) -> object:
        if not looked:
            looked.append(table)
            commit_files(store, "failures", [write(store, "failures", "b1", [letter(8)])], stage="rival")
            put(store, "failures", "b2", [letter(9)], generation=2)
        return ensure(self, table, spec)

    monkeypatch.setattr(Store, "ensure", late)
    merge_files(store, "failures", metadata={})
    rows = read_committed(store, "failures").select(["batch_id", "uri"]).to_pylist()
    assert sorted((row["batch_id"], row["uri"]) for row in rows) == [
        ("b1", "/videos/0.mp4"),
        ("b1", "/videos/1.mp4"),
        ("b1", "/videos/8.mp4"),
        ("b2", "/videos/9.mp4"),
    ]
    assert store.files("failures").num_rows == 2


def test_rivals_that_merge_and_commit_lose_and_repeat_nothing(store: Store) -> None:
    batch_ids = [f"b{number}" for number in range(4)]
    for part in range(3):
        commit_files(store, "frames", [write(store, "frames", b, frames(b, 2)) for b in batch_ids], stage=f"part{part}")
    before = read_committed(store, "frames")
    race(merge, [(store.root,)] * 3)
    assert read_committed(store, "frames").equals(before)
    assert store.files("frames").num_rows == 4
    race(commit_or_merge, [(store.root, batch_ids, number) for number in range(3)])
    assert read_committed(store, "frames").num_rows == before.num_rows + 8


def commit_or_merge(root: str, batch_ids: list[str], number: int) -> None:
    """One adds to the batches while others merge them."""
    if number == 0:
        commit_together(root, batch_ids)
    else:
        merge(root)


def test_merging_does_not_hide_a_flipped_byte(store: Store) -> None:
    put_parts(store, "b1", (2, 2))
    put_parts(store, "b2", (1, 1))
    (path, _) = several_files(store, "failures")["b1"]
    place = store.table_path("failures") / path
    content = bytearray(place.read_bytes())
    content[len(content) // 2] ^= 1
    place.write_bytes(content)
    upkeep = maintain(store, "run")
    (problem,) = upkeep.problems
    assert path in problem
    assert "verify" in problem
    assert list(several_files(store, "failures")) == ["b1"], "the other batch is merged"


def test_merging_widens_old_files(store: Store) -> None:
    """A file of an older schema lacks a column; merged with a newer one, its rows have nulls there."""
    rows = table_of("sources", [{"uri": "/old", "size_bytes": 1}])
    put(store, "sources", "b1", [{"uri": "/new", "size_bytes": 2, "attempt": 2}], stage="new")
    place = store.table_path("sources") / "batch_id=b1" / "part-00000-old.parquet"
    pq.write_table(rows.drop_columns(["attempt"]), place)
    path = f"{place.parent.name}/{place.name}"
    record = FileRecord("sources", "b1", path, place.stat().st_size, 1, checksum_of(place))
    commit_files(store, "sources", [record], stage="old")
    merge_files(store, "sources", metadata={})
    found = read_committed(store, "sources").select(["uri", "attempt"]).to_pylist()
    assert sorted((row["uri"], row["attempt"]) for row in found) == [("/new", 2), ("/old", None)]


def test_merging_holds_a_row_group_at_a_time(store: Store) -> None:
    for part in range(2):
        with BatchWriter(store, "frames", "b1") as writer:
            for row in frames("m1", 60):
                writer.write(table_of("frames", [{**row, "jpeg": os.urandom(1 << 20)}]))
        assert writer.record is not None
        commit_files(store, "frames", [writer.record], stage=f"part{part}")
    usual, counted = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    pa.set_memory_pool(counted)
    try:
        merge_files(store, "frames", metadata={})
    finally:
        pa.set_memory_pool(usual)
    assert 0 < counted.max_memory() < 60 << 20, "of 120 MB"
    assert read_committed(store, "frames", columns=["t_us"]).num_rows == 120
