"""Files are taken out of a log by commits that lose nothing of what rivals do meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.store import Store, commit_files
from features.store.merge import merge_files
from features.store.read import read_committed
from features.store.salvage import drop_files
from tests.store.making import frames, media, put, write
from tests.store.rivals import race

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from deltalake import DeltaTable


def put_twice(store: Store) -> list[str]:
    """A batch of two files; their paths, in order."""
    for part in range(2):
        rows = frames("m1", 2 + 2 * part)[2 * part :]
        commit_files(store, "frames", [write(store, "frames", "b1", rows)], stage=f"part{part}")
    return sorted(store.files("frames")["path"].to_pylist())


def times(store: Store) -> list[int]:
    return sorted(read_committed(store, "frames")["t_us"].to_pylist())


def between(monkeypatch: pytest.MonkeyPatch, rival: Callable[[], Any]) -> None:
    """Let a rival commit after the next look at a table, before what follows from that look."""
    load, done = Store.load, []

    def late(self: Store, table: str, *given: Any) -> DeltaTable:
        handle = load(self, table, *given)
        if not done:
            done.append(table)
            rival()
        return handle

    monkeypatch.setattr(Store, "load", late)


def test_what_is_gone_already_is_no_matter(store: Store) -> None:
    one, two = put_twice(store)
    assert drop_files(store, "frames", [one, "batch_id=b1/never.parquet"]) == 1
    version = store.load("frames").version()
    assert drop_files(store, "frames", [one]) == 0
    assert store.load("frames").version() == version
    assert store.files("frames")["path"].to_pylist() == [two]
    assert (store.table_path("frames") / one).exists(), "older versions are read from it"


def test_a_rival_that_adds_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = put_twice(store)
    before = times(store)
    between(monkeypatch, lambda: put(store, "frames", "b2", frames("m2", 1)))
    assert drop_files(store, "frames", [one]) == 1
    assert len(times(store)) == len(before) - 2 + 1


def test_a_file_that_a_rival_has_just_merged_is_not_taken_out_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows live on in the merged file, and the caller is told that nothing was taken out."""
    one, _ = put_twice(store)
    before = times(store)
    between(monkeypatch, lambda: merge_files(store, "frames", metadata={}))
    assert drop_files(store, "frames", [one]) == 0
    assert times(store) == before


def test_a_file_that_is_taken_out_is_not_merged_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round: merging, which has read the file by then, begins anew without it."""
    one, _ = put_twice(store)
    ensure, done = Store.ensure, []

    def late(self: Store, table: str, *given: Any) -> DeltaTable:
        handle = ensure(self, table, *given)
        if not done:
            done.append(drop_files(store, "frames", [one]))
        return handle

    monkeypatch.setattr(Store, "ensure", late)
    merge_files(store, "frames", metadata={})
    assert done == [1]
    assert len(times(store)) == sum(store.files("frames")["num_records"].to_pylist()) == 2


def test_rivals_that_take_out_the_same_files(store: Store) -> None:
    paths = put_twice(store)
    put(store, "media", "b1", [media("m1")])
    put(store, "frames", "b2", frames("m2", 3))
    taken = race(drop_one, [(store.root, path) for path in (*paths, *paths)])
    assert sum(taken) == 2
    assert [row["batch_id"] for row in read_committed(store, "frames").to_pylist()] == ["b2"] * 3


def drop_one(root: str, path: str) -> int:
    return drop_files(Store.open(root), "frames", [path])
