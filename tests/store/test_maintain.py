"""Upkeep: only what is old and unlisted goes, logs stay usable."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from features.errors import ConfigError, StoreError
from features.store import Store, commit_files, pending_batches, read_table, write_file
from features.store.leases import Leases
from features.store.lineage import Lineage, read_lineage
from features.store.maintain import maintain
from features.store.read import read_committed
from features.store.rows import table_of
from tests.store.damage import everything
from tests.store.making import frames, media, put, write

if TYPE_CHECKING:
    from pathlib import Path

DAY_SECONDS = 86400


def age(folder: Path, days: float) -> None:
    """Let all files below have been changed so long ago."""
    then = time.time() - days * DAY_SECONDS
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (then, then))


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
        store.path / "models" / "mood" / f".training-{'b' * 16}" / "fused-0.safetensors",
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
    assert all(path.exists() for path in leftovers[:5])
    age(store.path, 8)
    assert maintain(store, "old").others == 5
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
