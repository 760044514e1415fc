"""The commit loop: whole, once, whatever is repeated, raced or broken off."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from features.errors import StoreError
from features.store import Store, commit_files, read_table
from features.store.commit import Settled
from features.store.read import read_committed
from tests.store import rivals
from tests.store.making import frames, media, put, write

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from deltalake import DeltaTable

    from features.store import FileRecord


def tally(store: Store, table: str = "frames") -> dict[str, int]:
    """Committed rows a batch, whole or not."""
    batch_ids = read_committed(store, table)["batch_id"].to_pylist()
    return {batch_id: batch_ids.count(batch_id) for batch_id in sorted(set(batch_ids))}


def test_a_repeated_commit_does_nothing(store: Store) -> None:
    files = [write(store, "frames", batch_id, frames("a", 2)) for batch_id in ("b1", "b2")]
    first = commit_files(store, "frames", files, stage="test")
    version = store.load("frames").version()
    again = commit_files(store, "frames", files, stage="test")
    rewritten = put(store, "frames", "b1", frames("a", 7))
    assert (first.batch_ids, first.num_files, first.num_rows) == (("b1", "b2"), 2, 4)
    assert again == rewritten == ("frames", (), 0, 0)
    assert store.load("frames").version() == version
    assert tally(store) == {"b1": 2, "b2": 2}


def test_only_what_is_missing_of_a_wave_is_committed(store: Store) -> None:
    put(store, "frames", "b1", frames("a", 1))
    files = [write(store, "frames", batch_id, frames("a", 5)) for batch_id in ("b1", "b2")]
    assert commit_files(store, "frames", files, stage="test").batch_ids == ("b2",)
    assert tally(store) == {"b1": 1, "b2": 5}


def test_stages_and_tables_do_not_hide_each_other(store: Store) -> None:
    """Two stages write dead letters of the same batch."""
    for stage in ("ingest", "extract:mfcc@1"):
        put(store, "failures", "b", [{"stage": stage}], stage=stage)
    put(store, "frames", "b", frames("a", 1), stage="ingest")
    assert tally(store, "failures") == {"b": 2}
    assert tally(store) == {"b": 1}


def test_a_generation_replaces_the_batch_once(store: Store) -> None:
    put(store, "frames", "b1", frames("a", 1))
    put(store, "frames", "b2", frames("a", 1))
    assert put(store, "frames", "b1", frames("a", 3), generation=2).num_rows == 3
    assert put(store, "frames", "b1", frames("a", 9), generation=2).num_rows == 0
    assert put(store, "frames", "b1", frames("a", 9), generation=1).num_rows == 0
    assert tally(store) == {"b1": 3, "b2": 1}


def test_lineage_stands_in_the_commit(store: Store) -> None:
    file = write(store, "frames", "b", frames("a", 1))
    commit_files(store, "frames", [file], stage="ingest", metadata={"run_id": "night", "code_version": "1"})
    entry = store.load("frames").history(1)[0]
    assert (entry["run_id"], entry["code_version"], entry["stage"]) == ("night", "1", "ingest")
    assert json.loads(entry["checksums"]) == {file.path: file.checksum}


def test_a_settlement_sees_what_a_rival_did_in_between(store: Store) -> None:
    """It is asked again after a rival's commit, and what it says last is what stands."""
    store.ensure("frames")
    seen: list[int] = []

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        seen.append(handle.version())
        if len(seen) == 1:
            rival = write(store, "frames", "rival", frames("r", 1))
            commit_files(store, "frames", [rival], stage="test", settle=lambda _, own: Settled(own))
        return Settled(files)

    file = write(store, "frames", "b", frames("a", 1))
    assert commit_files(store, "frames", [file], stage="test", settle=settle).batch_ids == ("b",)
    assert seen == [0, 1]
    assert tally(store) == {"b": 1, "rival": 1}


def test_what_is_settled_away_is_no_batch(store: Store) -> None:
    file = write(store, "frames", "b", frames("a", 1))
    commit = commit_files(store, "frames", [file], stage="test", settle=lambda _, __: Settled([]))
    assert commit == ("frames", (), 0, 0)
    assert store.batches("frames") == frozenset()


def test_a_settlement_replaces_files_of_other_batches(store: Store) -> None:
    put(store, "frames", "b1", frames("a", 1))

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        del handle
        live = store.files("frames").to_pylist()
        return Settled([*files, write(store, "frames", "b1", frames("a", 4))], [(live[0]["path"], "b1")])

    file = write(store, "frames", "b2", frames("c", 1))
    commit = commit_files(store, "frames", [file], stage="test", settle=settle)
    assert (commit.batch_ids, commit.num_files) == (("b2",), 2)
    assert tally(store) == {"b1": 4, "b2": 1}


def test_a_commit_that_always_loses_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.commit._MAX_ATTEMPTS", 2)

    def settle(_: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        rival = write(store, "frames", f"rival{store.load('frames').version()}", [])
        commit_files(store, "frames", [rival], stage="test", settle=lambda _, own: Settled(own))
        return Settled(files)

    file = write(store, "frames", "b", frames("a", 1))
    with pytest.raises(StoreError, match=r"the commit to table 'frames' lost to rivals 2 times; run again"):
        commit_files(store, "frames", [file], stage="test", settle=settle)
    assert store.batches("frames") == {"rival0", "rival1"}


@pytest.mark.slow
def test_racing_processes_commit_each_row_once(tmp_path: Path) -> None:
    """They even make the store and its tables at the same time."""
    root, batch_ids = str(tmp_path / "store"), [f"b{index}" for index in range(4)]
    committed = rivals.race(rivals.make_and_commit, [(root, batch_ids)] * 4)
    assert [sum(rows) for rows in zip(*committed, strict=True)] == [2, 2, 2, 2]
    assert tally(Store.open(root)) == dict.fromkeys(batch_ids, 2)


@pytest.mark.slow
def test_racing_waves_that_overlap_commit_each_batch_once(store: Store) -> None:
    waves = [("b1", "b2", "b3"), ("b2", "b3", "b4"), ("b3", "b4", "b1")]
    committed = rivals.race(rivals.commit_together, [(store.root, wave) for wave in waves])
    assert sorted(batch_id for made in committed for batch_id in made) == ["b1", "b2", "b3", "b4"]
    assert tally(store) == {"b1": 2, "b2": 2, "b3": 2, "b4": 2}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 600 kB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(place: Path) -> Path:
    """Take all space that is left."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler


def test_a_full_disk_is_one_clear_error_and_nothing_half_done(small_disk: Path) -> None:
    store = Store.create(small_disk / "store")
    put(store, "media", "b", [media("a")])
    put(store, "frames", "b", frames("a", 1))
    waiting = write(store, "frames", "b2", frames("a", 1))
    with pytest.raises(StoreError, match=r"cannot write '.*' \(.*[Nn]o space left.*\); free space"):
        write(store, "frames", "b3", [{"media_id": "a", "jpeg": os.urandom(1 << 20)}])
    assert not list((store.path / "frames" / "batch_id=b3").iterdir())
    filler = fill(small_disk)
    for message, action in (
        ("cannot commit to table 'frames'", lambda: commit_files(store, "frames", [waiting], stage="test")),
        ("cannot make table 'audio'", lambda: store.ensure("audio")),
        ("cannot make a store", lambda: Store.create(small_disk / "other")),
    ):
        with pytest.raises(StoreError, match=rf"{message}.*\(.*[Nn]o space left.*\).*") as caught:
            action()
        assert "\n" not in str(caught.value)
        assert "\x1b" not in str(caught.value)
    assert read_table(store, "frames").num_rows == 1
    filler.unlink()
    assert commit_files(store, "frames", [waiting], stage="test").batch_ids == ("b2",)
    assert put(store, "audio", "b", []).num_files == 1
