"""Verify: what is as it was committed is clean, and whatever was done to a store behind its back is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from features.errors import ConfigError
from features.store import commit_files
from features.store.lineage import Lineage
from features.store.read import read_committed
from features.store.salvage import drop_files, keep_statements, live_of, rebuild_sources
from features.store.verify import Verified, verify_store
from tests.store.damage import DAMAGES, add_row, append_foreign, file_of, flip, lose, remove, truncate
from tests.store.making import SECOND, frames, media, put, result, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.store import Store

BATCHES = ("b1", "b2")
LINEAGE = Lineage("run", "repair")


def span(media_id: str, index: int, **more: Any) -> dict[str, Any]:
    return {"media_id": media_id, "start_us": index * SECOND, "end_us": (index + 1) * SECOND, **more}


@pytest.fixture
def whole(store: Store) -> Store:
    """Two batches of two media each, whole in all tables, with a feature, scores and labels."""
    for batch_id in BATCHES:
        ids = [f"{batch_id}{letter}" for letter in "xy"]
        put(store, "sources", batch_id, [{"uri": f"/videos/{i}.mp4", "size_bytes": 1, "mtime_us": 1} for i in ids])
        put(store, "frames", batch_id, [row for i in ids for row in frames(i, 3)], stage="ingest")
        put(store, "audio", batch_id, [span(i, 0, sample_rate_hz=16_000) for i in ids], stage="ingest")
        put(store, "transcripts", batch_id, [span(i, 0, text="a", source="subtitle") for i in ids], stage="ingest")
        put(store, "source_results", batch_id, [result(i, f"/videos/{i}.mp4") for i in ids], stage="ingest")
        put(store, "media", batch_id, [media(i) for i in ids], stage="ingest")
        values = [span(i, n, values=[float(n)]) for i in ids for n in range(2)]
        put(store, "features/f@1", batch_id, values, stage="extract:f@1")
        covered = [{"media_id": i, "status": "ok", "num_rows": 2} for i in ids]
        put(store, "coverage/f@1", batch_id, covered, stage="extract:f@1")
        put(store, "scores/m@1", batch_id, [span(i, 0, task="t", prediction="p") for i in ids], stage="score:m@1")
        put(store, "labels/mood", batch_id, [span(i, 0, task="mood") for i in ids])
    return store


def found(store: Store, **more: Any) -> list[tuple[str, str, str]]:
    return [(f.table, f.batch_id, f.kind) for f in verify_store(store, **more).findings]


def test_a_sound_store_is_clean(whole: Store) -> None:
    seen: list[int] = []
    verified = verify_store(whole, on_progress=seen.append)
    sizes = [size for table in whole.tables() for size in whole.files(table)["size_bytes"].to_pylist()]
    assert verified == Verified((), 10, 2, 20, sum(sizes), 0, 0)
    assert seen == [10, 20]


@pytest.mark.parametrize("table", ["frames", "audio", "media", "sources", "features/f@1", "scores/m@1", "labels/mood"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_the_one_that_is_found(whole: Store, table: str, damage: Callable[[Path], None]) -> None:
    path = file_of(whole, table, "b1")
    damage(path)
    (finding,) = verify_store(whole).findings
    assert (finding.table, finding.batch_id) == (table, "b1")
    assert str(whole.table_path(table) / finding.path) == str(path)
    assert f"verify {table} --repair" in finding.remedy
    assert whole.root in finding.remedy


def test_what_is_wrong_is_said(whole: Store) -> None:
    remove(file_of(whole, "frames", "b1"))
    truncate(file_of(whole, "audio", "b1"))
    add_row(file_of(whole, "transcripts", "b1"))
    flip(file_of(whole, "coverage/f@1", "b1"))
    told = {f.table: f.what for f in verify_store(whole).findings}
    assert told["frames"] == "the file is missing"
    assert "bytes, " in told["audio"]
    assert "no readable Parquet" in told["audio"]
    assert "has 3 rows, 2 were committed" in told["transcripts"]
    assert "checksum" in told["coverage/f@1"]


def test_a_quick_look_does_not_hash(whole: Store) -> None:
    path = file_of(whole, "frames", "b1")
    content = path.read_bytes()
    place = content.rfind(b"triptych.lineage")
    path.write_bytes(content[:place] + b"Triptych" + content[place + 8 :])
    assert found(whole, quick=True) == []
    assert found(whole) == [("frames", "b1", "checksum")]


def test_only_the_tables_that_are_named(whole: Store) -> None:
    remove(file_of(whole, "frames", "b1"))
    assert found(whole, tables=["audio", "coverage/f@1"]) == []
    assert found(whole, tables=["frames"]) == [("frames", "b1", "missing")]
    with pytest.raises(ConfigError, match="no table 'frame'"):
        verify_store(whole, ["frame"])


@pytest.mark.parametrize("table", ["frames", "audio", "source_results", "media", "features/f@1", "scores/m@1"])
def test_a_batch_that_a_table_has_lost(whole: Store, table: str) -> None:
    lose(whole, table, "b2")
    assert (table, "b2", "lost") in found(whole)
    assert {batch_id for _, batch_id, _ in found(whole)} == {"b2"}


def test_a_batch_that_both_tables_of_an_extractor_have_lost(whole: Store) -> None:
    """It looks pending, but its transactions say that it was committed: extract alone would never bring it back."""
    lose(whole, "features/f@1", "b1")
    lose(whole, "coverage/f@1", "b1")
    assert found(whole) == [("coverage/f@1", "b1", "lost"), ("features/f@1", "b1", "lost")]


def test_what_is_not_done_yet_is_no_fault(whole: Store) -> None:
    put(whole, "sources", "b3", [{"uri": "/videos/b3x.mp4", "size_bytes": 1, "mtime_us": 1}])
    put(whole, "frames", "b3", frames("b3x", 2), stage="ingest")
    put(whole, "features/g@1", "b1", [], stage="extract:g@1")
    put(whole, "coverage/g@1", "b1", [{"media_id": i, "status": "absent", "num_rows": 0} for i in ("b1x", "b1y")])
    assert found(whole) == []


def test_a_row_more_by_a_foreign_writer(whole: Store) -> None:
    append_foreign(whole, "features/f@1", "b1", [span("b1x", 1, values=[1.0])])
    (finding,) = verify_store(whole).findings
    assert (finding.table, finding.batch_id, finding.kind) == ("features/f@1", "b1", "foreign")
    assert finding.path != live_of(whole, "features/f@1", "b2")[0].path


def test_a_row_twice_in_a_commit_of_our_own(whole: Store) -> None:
    for table, row in (("frames", frames("b1x", 1)[0]), ("labels/mood", span("b1x", 0, task="mood"))):
        put(whole, table, "b1", [row], stage="again")
        assert (table, "b1", "repeated") in found(whole)


def test_a_feature_more_than_coverage_says(whole: Store) -> None:
    put(whole, "features/f@1", "b1", [span("b1x", 5, values=[1.0])], stage="again")
    assert found(whole) == [("features/f@1", "b1", "coverage")]


def test_equal_spans_of_different_vectors_are_no_repetition(whole: Store) -> None:
    """Two utterances at once."""
    put(whole, "features/g@1", "b1", [span("b1x", 0, values=[0.0]), span("b1x", 0, values=[1.0])])
    rows = [{"media_id": i, "status": "ok", "num_rows": n} for i, n in (("b1x", 2), ("b1y", 0))]
    put(whole, "coverage/g@1", "b1", rows)
    assert found(whole) == []
    put(whole, "features/g@1", "b2", [span("b2x", 0, values=[0.0]), span("b2x", 0, values=[0.0])])
    assert found(whole) == [("features/g@1", "b2", "repeated")]


def test_a_media_in_two_batches(whole: Store) -> None:
    file = write(whole, "media", "b2", [media("b1x"), media("b2x"), media("b2y")])
    commit_files(whole, "media", [file], stage="ingest", generation=2)
    assert ("media", "b2", "repeated") in found(whole)


def test_rows_of_a_media_that_nobody_knows(whole: Store) -> None:
    put(whole, "audio", "b1", [span("stranger", 0)], stage="again")
    assert found(whole) == [("audio", "b1", "unknown")]


def test_rows_of_a_media_that_another_batch_had_first_are_no_fault(whole: Store) -> None:
    """Whether or not source_results says so yet."""
    put(whole, "audio", "b2", [span("b1x", 0)], stage="again")
    assert found(whole) == []


def test_spans_and_order(whole: Store) -> None:
    put(whole, "audio", "b1", [span("b1x", 1, end_us=SECOND)], stage="empty")
    assert found(whole) == [("audio", "b1", "span")]
    put(whole, "frames", "b1", [frames("b1x", 9)[8], frames("b1x", 7)[6]], stage="back")
    put(whole, "frames", "b2", [{**frames("b2x", 9)[8], "valid_start_us": 0, "valid_end_us": 1}], stage="outside")
    assert found(whole, tables=["frames"]) == [("frames", "b1", "order"), ("frames", "b2", "span")]
    put(whole, "transcripts", "b1", [span("b1x", 3), span("b1y", 3), span("b1x", 4)], stage="apart")
    assert found(whole, tables=["transcripts"]) == [("transcripts", "b1", "order")]


def test_a_stray_batch(whole: Store) -> None:
    put(whole, "frames", "b9", frames("z", 1))
    assert found(whole) == [("frames", "b9", "stray")]


def test_orphans_are_counted_and_are_no_fault(whole: Store) -> None:
    write(whole, "frames", "b1", frames("b1x", 3))
    verified = verify_store(whole)
    assert (verified.findings, verified.num_orphans) == ((), 1)


def test_files_of_version_1_state_no_checksum(whole: Store) -> None:
    file = write(whole, "frames", "b3", frames("b3x", 1))
    put(whole, "sources", "b3", [{"uri": "/videos/b3x.mp4", "size_bytes": 1, "mtime_us": 1}])
    name = f"batch_id=b3/part-00000-{'0' * 32}.parquet"
    (whole.table_path("frames") / file.path).rename(whole.table_path("frames") / name)
    commit_files(whole, "frames", [file._replace(path=name)], stage="ingest")
    verified = verify_store(whole)
    assert (verified.findings, verified.num_unchecked) == ((), 1)


def test_statements_keep_their_sound_rows(whole: Store) -> None:
    put(whole, "labels/mood", "b1", [span("b1x", 3, task="mood"), span("b1x", 0, task="mood")], stage="again")
    bad = live_of(whole, "labels/mood", "b1")[0].path
    kept = keep_statements(whole, "labels/mood", "b1", [bad], LINEAGE)
    assert kept.num_dropped_files == 1
    assert found(whole, tables=["labels/mood"]) == []
    assert drop_files(whole, "labels/mood", [bad]) == 0


def test_sources_are_listed_again(whole: Store) -> None:
    """What is gone stays in the list, with no size: what may come back is new."""
    lose(whole, "sources", "b1")
    assert found(whole) == [("sources", "b1", "lost")]
    assert rebuild_sources(whole, "b1", [], LINEAGE) == 2
    assert found(whole) == []
    rows = read_committed(whole, "sources", batch_ids=["b1"]).to_pylist()
    assert {row["uri"]: row["size_bytes"] for row in rows} == {"/videos/b1x.mp4": None, "/videos/b1y.mp4": None}
