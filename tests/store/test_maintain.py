"""Upkeep: files are merged without a change to the rows, only what is old and unlisted goes, logs stay usable."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError, StoreError
from features.store import Store, commit_files, pending_batches, read_table, write_file
from features.store.files import BatchWriter, FileRecord, checksum_of
from features.store.leases import Leases
from features.store.lineage import Lineage, read_lineage
from features.store.maintain import maintain
from features.store.merge import merge_files, several_files
from features.store.read import read_committed
from features.store.rows import table_of
from tests.store.making import frames, media, put, write
from tests.store.rivals import commit_together, merge, race

if TYPE_CHECKING:
    from pathlib import Path

DAY_SECONDS = 86400


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


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def age(folder: Path, days: float) -> None:
    """Let all files below have been changed so long ago."""
    then = time.time() - days * DAY_SECONDS
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then))


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


def test_what_no_log_lists_is_swept_when_it_is_old(store: Store) -> None:
    put(store, "media", "b1", [media("m1")])
    put(store, "frames", "b1", frames("m1", 2))
    put(store, "frames", "b1", frames("m1", 3), generation=2)
    put(store, "frames", "b2", frames("m2", 1))
    orphans = [write(store, "frames", batch_id, frames("m1", 2)) for batch_id in ("b1", "b7")]
    never_made = write(store, "features/new@1", "b1", [])
    unfinished = store.table_path("frames") / "batch_id=b1" / "part-00000-0123.parquet"
    unfinished.write_bytes(b"PAR1")
    foreign = store.table_path("frames") / "notes.txt"
    foreign.write_text("mine")
    everything_before, rows = everything(store.path), read_table(store, "frames")

    kept = maintain(store, "young", dry_run=False)
    assert sum(table.swept for table in kept.tables) == kept.others == kept.freed_bytes == 0
    assert everything_before <= everything(store.path)

    for folder in ("frames", "features"):
        age(store.path / folder, 8)
    dry = maintain(store, "dry", dry_run=True)
    assert everything_before <= everything(store.path)
    upkeep = maintain(store, "old")
    by_table = {table.table: table for table in upkeep.tables}
    assert (by_table["frames"].swept, by_table["media"].swept, upkeep.others) == (3, 0, 1)
    assert dry.freed_bytes == upkeep.freed_bytes > sum(file.size_bytes for file in orphans)
    gone = everything_before - everything(store.path)
    expected = {f"frames/{file.path}" for file in orphans} | {f"features/new@1/{never_made.path}"}
    assert gone == expected | {str(unfinished.relative_to(store.path))}
    assert foreign.exists()
    assert read_table(store, "frames").equals(rows)
    old = read_committed(store, "frames", versions={"frames": 1})
    assert old.num_rows == 2, "a generation that was replaced just now can be read, however old its file"


def test_old_generations_go_once_their_removal_is_old(store: Store) -> None:
    put(store, "frames", "b1", frames("m1", 2))
    put(store, "frames", "b1", frames("m1", 3), generation=2)
    (upkeep,) = maintain(store, "run", retention_hours=0, force=True).tables
    assert upkeep.swept == 1
    assert len([path for path in everything(store.path) if path.endswith(".parquet") and "batch_id" in path]) == 1
    assert read_committed(store, "frames").num_rows == 3
    (again,) = maintain(store, "again", retention_hours=0, force=True).tables
    assert (again.swept, again.freed_bytes) == (0, 0)


def test_leftovers_of_dead_runs_are_swept(store: Store) -> None:
    put(store, "frames", "b1", frames("m1", 1))
    leftovers = [
        store.path / "models" / "mood" / f".2.{'a' * 32}" / "weights.safetensors",
        store.path / ".triptych-store.json.123",
        store.path / ".index" / "media.arrow.123-abc",
        store.path / "frames" / "_delta_log" / "00000000000000000009.json#1",
        store.path / ".dropped" / "mfcc@1.abc" / "features" / "mfcc@1" / "batch_id=b1" / "part.parquet",
        store.path / "leases" / "ingest.b1.json",
    ]
    kept = [store.path / "models" / "mood" / "1" / "model.json", store.path / ".index" / "media.arrow"]
    for path in (*leftovers, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    young = maintain(store, "young")
    assert (young.others, young.others_bytes) == (2, 10), "a lease that nobody holds, and what was dropped"
    assert all(path.exists() for path in leftovers[:4])
    age(store.path, 8)
    assert maintain(store, "old").others == 4
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in kept)
    Store.open(store.root)


def test_a_short_retention_is_for_when_nothing_runs(store: Store) -> None:
    with pytest.raises(ConfigError, match="--yes"):
        maintain(store, "run", retention_hours=23)
    with pytest.raises(ConfigError, match="at least 0"):
        maintain(store, "run", retention_hours=-1, force=True)
    with Leases(store, "night") as leases:
        leases.take(["ingest.b1"])
        with pytest.raises(StoreError, match="run night on"):
            maintain(store, "run", retention_hours=0, force=True)
        maintain(store, "run", retention_hours=24)
    maintain(store, "run", retention_hours=0, force=True)


def test_a_long_retention_is_kept_by_the_log_too(store: Store) -> None:
    put(store, "frames", "b1", frames("m1", 1))
    for _ in range(2):
        maintain(store, "run", retention_hours=720)
    handle = store.load("frames")
    assert handle.metadata().configuration["delta.deletedFileRetentionDuration"] == "interval 720 hours"
    assert handle.version() == 2, "told once"


def test_after_the_log_is_cleaned_all_still_reads_plans_and_commits(store: Store) -> None:
    made = Lineage("first", "ingest")
    for batch_id in ("b1", "b2"):
        for table, rows in (("frames", frames(batch_id, 2)), ("media", [media(batch_id)])):
            file = write_file(store, table, batch_id, table_of(table, rows), lineage=[made])
            commit_files(store, table, [file], stage="ingest")
    put(store, "frames", "b2", frames("b2", 3), stage="ingest", generation=2)
    put(store, "coverage/mfcc@1", "b1", [{"media_id": "b1", "status": "ok", "num_rows": 1}])
    before = {table: read_table(store, table) for table in store.tables()}
    for table in store.tables():
        age(store.table_path(table) / "_delta_log", 40)
    assert sum(table.log_files for table in maintain(store, "first").tables) > 0

    logs = {table: everything(store.table_path(table) / "_delta_log") for table in store.tables()}
    assert all("00000000000000000000.json" not in names for names in logs.values())
    assert {table: read_table(store, table) for table in store.tables()} == before
    assert pending_batches(store, "coverage/mfcc@1") == ("b2",)
    (path,) = [path for path in store.files("frames")["path"].to_pylist() if "batch_id=b1/" in path]
    assert read_lineage(store.table_path("frames") / path) == (made,)
    for batch_id, generation in (("b1", 1), ("b2", 1), ("b2", 2)):
        again = put(store, "frames", batch_id, frames(batch_id, 9), stage="ingest", generation=generation)
        assert again.num_rows == 0, "committed long ago"
    assert put(store, "frames", "b2", frames("b2", 4), stage="ingest", generation=3).num_rows == 4
    assert put(store, "frames", "b3", frames("b3", 1), stage="ingest").batch_ids == ("b3",)
    assert put(store, "coverage/mfcc@1", "b2", []).num_files == 1
    assert pending_batches(store, "coverage/mfcc@1") == ()
    with pytest.raises(StoreError, match="no version 1"):
        store.load("frames", 1)
    assert maintain(store, "second").problems == ()


def test_a_log_is_checkpointed_once_a_version(store: Store) -> None:
    put(store, "frames", "b1", frames("m1", 1))
    maintain(store, "run")
    (checkpoint,) = (store.table_path("frames") / "_delta_log").glob("*.checkpoint.parquet")
    made = checkpoint.stat().st_mtime_ns
    maintain(store, "run")
    assert checkpoint.stat().st_mtime_ns == made
