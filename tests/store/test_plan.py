"""Plans: what is new, how it is grouped, what each stage still owes."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.errors import StoreError
from features.identity import fingerprint, second_of_batch
from features.store import Store, pending_batches, plan_sources, unfinished_batches
from features.store.commit import commit_files
from features.store.known import _among, _digests
from features.store.lineage import read_lineage
from features.store.plan import BatchLimits, Source, read_plan
from features.store.read import read_committed
from tests.store import rivals
from tests.store.making import put, source

if TYPE_CHECKING:
    from collections.abc import Iterable

NOW = datetime(2026, 7, 1, 2, 3, 4, tzinfo=UTC)
ONE = BatchLimits()


def plan(
    store: Store,
    sources: Iterable[Source],
    limits: BatchLimits = ONE,
    limit: int | None = None,
    again: bool = False,
) -> list[str]:
    now = datetime.now(UTC)
    made = plan_sources(store, sources, now=now, limits=limits, config="x", limit=limit, again=again)
    return list(made)


def planned(store: Store) -> list[Source]:
    return [entry for batch in read_plan(store, store.batches("sources")) for entry in batch.sources]


def test_a_plan_is_data(store: Store) -> None:
    listed = [Source("/v/b.mp4", 2, 5, ("/v/b.srt",), "refused"), Source("/v/a.mp4", 1, 5)]
    (batch_id,) = plan_sources(store, listed, now=NOW, limits=ONE, config="options")
    assert re.fullmatch(r"20260701T020304-[0-9a-f]+", batch_id)
    (batch,) = read_plan(store, [batch_id])
    assert batch == (batch_id, (listed[1], listed[0]))
    rows = read_committed(store, "sources", columns=["planned_at", "config_fingerprint"]).to_pylist()
    assert {(row["planned_at"], row["config_fingerprint"]) for row in rows} == {(NOW, fingerprint("options"))}


def test_a_plan_says_what_made_it(store: Store) -> None:
    (batch_id,) = plan_sources(store, [source("a.mp4")], now=NOW, limits=ONE, config="options", run_id="night")
    (path,) = store.table_path("sources").glob(f"batch_id={batch_id}/*.parquet")
    (lineage,) = read_lineage(path)
    assert (lineage.run_id, lineage.stage, lineage.config) == ("night", "plan", "options")


def test_a_source_is_known_by_name_size_and_change(store: Store) -> None:
    plan(store, [source("a.mp4"), source("b.mp4")])
    assert plan(store, [source("b.mp4"), source("a.mp4")]) == []
    assert len(plan(store, [source("a.mp4"), source("b.mp4", size_bytes=11), source("c.mp4")])) == 1
    assert len(plan(store, [source("a.mp4", mtime_us=2)])) == 1
    assert plan(store, [source("a.mp4"), source("a.mp4", mtime_us=2)]) == []
    assert len(planned(store)) == len(set(planned(store))) == 5


def test_nothing_new_commits_nothing(store: Store) -> None:
    plan(store, [source("a.mp4")])
    version = store.load("sources").version()
    assert plan(store, [source("a.mp4")]) == plan(store, []) == []
    assert store.load("sources").version() == version


def test_a_source_named_twice_is_planned_once(store: Store) -> None:
    plan(store, [source("a.mp4"), source("a.mp4")])
    assert planned(store) == [source("a.mp4")]


def test_of_a_source_named_twice_the_last_word_counts(store: Store) -> None:
    refused = source("a.mp4")._replace(consent="refused")
    plan(store, [source("a.mp4"), source("b.mp4"), refused])
    assert planned(store) == [refused, source("b.mp4")]


def test_sources_may_come_from_a_generator(store: Store) -> None:
    plan(store, (source(f"{index}.mp4") for index in range(3)))
    assert planned(store) == [source(f"{index}.mp4") for index in range(3)]


def test_an_attempt_is_planned_again_once(store: Store) -> None:
    first = source("a.mp4")
    second = first._replace(attempt=2)
    made = plan(store, [first, source("b.mp4")])
    assert plan(store, [second]) == []
    made += plan(store, [second], again=True)
    assert plan(store, [second], again=True) == plan(store, [first], again=True) == []
    assert sorted(planned(store)) == [first, second, source("b.mp4")]
    assert len(set(made)) == len(store.batches("sources")) == 2


def test_sources_without_an_attempt_are_the_first(store: Store) -> None:
    """As version 1 of the schema wrote them."""
    put(store, "sources", "old", [{"uri": "/videos/a.mp4", "size_bytes": 10, "mtime_us": 1}])
    assert plan(store, [source("a.mp4")]) == plan(store, [source("a.mp4")], again=True) == []
    assert len(plan(store, [source("a.mp4")._replace(attempt=2)], again=True)) == 1


def test_more_files_than_are_read_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.known._FILES_A_READ", 2)
    monkeypatch.setattr("features.store.known._SOURCES_A_LOOK", 3)
    monkeypatch.setattr("features.store.listing._SOURCES_A_CHUNK", 3)
    listed = [source(f"{index}.mp4") for index in range(8)]
    plan(store, listed[1:6], BatchLimits(max_sources=1))
    plan(store, listed)
    assert sorted(planned(store)) == listed


@pytest.mark.parametrize("kept", ["whole", "older", "damaged", "gone"])
def test_what_is_kept_of_the_plan_may_be_lost(store: Store, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.known._KEPT_APART", 0)
    listed = [source(f"{index}.mp4") for index in range(6)]
    path = store.path / ".index" / "sources.arrow"
    plan(store, listed[:2], BatchLimits(max_sources=1))
    assert plan(store, listed[:2]) == []
    older = path.read_bytes()
    plan(store, listed[2:4])
    assert plan(store, listed[:4]) == []
    assert path.read_bytes() != older
    if kept == "gone":
        path.unlink()
    elif kept != "whole":
        path.write_bytes(older if kept == "older" else older[:100])
    assert len(plan(store, listed)) == 1
    assert sorted(planned(store)) == listed


def test_what_was_erased_from_the_plan_is_kept_no_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.known._KEPT_APART", 0)
    (batch_id,) = plan(store, [source("a.mp4"), source("b.mp4")])
    assert plan(store, [source("a.mp4")]) == []
    put(store, "sources", batch_id, [], stage="plan", generation=2)
    assert len(plan(store, [source("a.mp4")])) == 1


def test_keys_are_found_whatever_bytes_they_end_in() -> None:
    """NumPy leaves out zeros at the end of a text."""
    known = np.sort(_digests(map(str, range(2000))))
    assert any(digest.endswith(b"\0") or len(digest) < 16 for digest in known.tolist())
    assert _among(_digests(map(str, range(2000))), known).all()
    assert not _among(_digests(map(str, range(2000, 4000))), known).any()


def test_a_damaged_plan_is_told(store: Store) -> None:
    plan(store, [source("a.mp4")])
    (path,) = store.table_path("sources").glob("*/*.parquet")
    path.write_bytes(b"nothing")
    with pytest.raises(StoreError, match="of table 'sources'"):
        plan(store, [source("b.mp4")])


def test_a_limit_takes_the_first_and_leaves_the_rest_for_later(store: Store) -> None:
    listed = [source(f"{index}.mp4") for index in range(5)]
    plan(store, listed, limit=2)
    assert planned(store) == listed[:2]
    plan(store, listed, limit=2)
    assert sorted(planned(store)) == listed[:4]


def test_pending_is_a_difference_of_batches(store: Store) -> None:
    for batch_id in ("b3", "b1", "b2"):
        put(store, "media", batch_id, [])
    put(store, "coverage/words@1", "b2", [])
    put(store, "coverage/sounds@1", "b1", [])
    put(store, "coverage/sounds@1", "b2", [])
    assert pending_batches(store, "coverage/none@1") == ("b1", "b2", "b3")
    assert pending_batches(store, "coverage/words@1") == ("b1", "b3")
    assert pending_batches(store, "coverage/words@1", needs=["coverage/sounds@1"]) == ("b1",)
    assert pending_batches(store, "coverage/words@1", needs=["coverage/none@1"]) == ()


def test_unfinished_batches_are_oldest_first(store: Store) -> None:
    first = plan_sources(store, [source("a.mp4")], now=NOW, limits=ONE, config="x")
    later = plan_sources(store, [source("b.mp4")], now=NOW.replace(hour=4), limits=ONE, config="x")
    assert unfinished_batches(store) == (*first, *later)
    put(store, "media", first[0], [])
    assert unfinished_batches(store) == later


def test_what_is_planned_later_sorts_later_whatever_the_clock_says(store: Store) -> None:
    times = [NOW, NOW, NOW.replace(hour=1), NOW.replace(hour=4), NOW]
    made = [plan_sources(store, [source(f"{i}.mp4")], now=now, limits=ONE, config="x") for i, now in enumerate(times)]
    assert sorted(made) == made
    assert [second_of_batch(batch_id) for (batch_id,) in made[2:4]] == [NOW.replace(second=6), NOW.replace(hour=4)]


def test_planning_reads_no_data(store: Store) -> None:
    """With every file of rows gone, the logs still tell what is pending."""
    put(store, "media", "b1", [])
    put(store, "media", "b2", [])
    put(store, "coverage/x@1", "b1", [])
    for path in store.path.rglob("*.parquet"):
        path.unlink()
    assert pending_batches(store, "coverage/x@1") == ("b2",)


def test_a_planner_that_a_rival_overtook_plans_only_the_rest(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rival commits between the look at `sources` and the commit; what it took is no batch of ours."""
    theirs, both, ours = source("a.mp4"), source("b.mp4"), source("c.mp4")
    real = commit_files
    made: list[list[str]] = []

    def overtaken(*args: object, **more: object) -> object:
        monkeypatch.setattr("features.store.plan.commit_files", real)
        made.append(plan(store, [theirs, both]))
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("features.store.plan.commit_files", overtaken)
    made.append(plan(store, [both, ours], BatchLimits(max_sources=1)))
    assert sorted(planned(store)) == [theirs, both, ours]
    assert sorted(batch_id for ids in made for batch_id in ids) == sorted(store.batches("sources"))
    assert [len(ids) for ids in made] == [1, 1]


def test_a_planner_that_a_rival_left_nothing_names_no_batch(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    real = commit_files

    def overtaken(*args: object, **more: object) -> object:
        monkeypatch.setattr("features.store.plan.commit_files", real)
        plan(store, [source("a.mp4"), source("b.mp4")])
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("features.store.plan.commit_files", overtaken)
    assert plan(store, [source("a.mp4")]) == []
    assert len(store.batches("sources")) == 1


def test_a_rival_retry_takes_an_attempt_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [source(name)._replace(attempt=2) for name in ("a.mp4", "b.mp4")]
    plan(store, [source("a.mp4"), source("b.mp4")])
    real = commit_files

    def overtaken(*args: object, **more: object) -> object:
        monkeypatch.setattr("features.store.plan.commit_files", real)
        plan(store, both[:1], again=True)
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("features.store.plan.commit_files", overtaken)
    plan(store, both, again=True)
    assert sorted(entry for entry in planned(store) if entry.attempt == 2) == both


@pytest.mark.slow
def test_racing_planners_plan_each_source_once(store: Store) -> None:
    listed = [source(f"{index}.mp4") for index in range(12)]
    halves = [listed[:8], listed[4:], listed, listed[2:10]]
    made = rivals.race(
        rivals.plan, [(store.root, half, size) for half, size in zip(halves, (3, 4, 5, 12), strict=True)]
    )
    assert sorted(planned(store)) == sorted(listed)
    assert sorted(batch_id for ids in made for batch_id in ids) == sorted(store.batches("sources"))
