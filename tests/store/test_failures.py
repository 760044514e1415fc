"""Dead letters: one open one a media and stage, attempts counted, closed and never deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from features.store import FileRecord, Store, commit_files, write_file
from features.store.commit import next_generations
from features.store.covered import follow_coverage, only_media
from features.store.failures import Wanted, close_failures, closed_media, commit_failures, open_letters
from features.store.lineage import Lineage
from features.store.read import read_committed
from features.store.rows import table_of
from features.store.stale import stale_batches
from tests.store.making import put, write

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

STAGE = "extract:words@1"
COVERAGE = "coverage/words@1"


def letter(media_id: str | None, **more: Any) -> dict[str, Any]:
    return {
        "stage": STAGE,
        "media_id": media_id,
        "error": "ExtractionError",
        "message": "torn",
        "generation": 1,
        **more,
    }


def found(store: Store, batch_id: str = "b1") -> list[tuple[str, int, bool]]:
    """Media or source, attempts and whether it is open, of a batch's letters in order."""
    rows = read_committed(store, "failures", batch_ids=[batch_id]).to_pylist()
    return sorted((r["uri"] or r["media_id"], r["attempts"] or 1, r["closed_at"] is None) for r in rows)


def cover(
    store: Store, statuses: Mapping[str, str], generation: int, only: Collection[str] = (), batch_id: str = "b1"
) -> None:
    """A generation of a batch's coverage, as the job commits it."""
    lineage = Lineage(f"run{generation}", STAGE, generation=generation, config=only_media(only))
    messages = {"failed": "torn again"}
    rows = [{"media_id": m, "status": status, "message": messages.get(status)} for m, status in statuses.items()]
    file = write_file(store, COVERAGE, batch_id, table_of(COVERAGE, rows), lineage=[lineage])
    commit_files(store, COVERAGE, [file], stage=STAGE, generation=generation, metadata=lineage.metadata())


def follow(store: Store, **errors: str) -> None:
    list(follow_coverage(store, COVERAGE, STAGE, sorted(store.batches(COVERAGE)), errors=errors))


def test_a_letter_is_closed_when_its_media_no_longer_fails(store: Store) -> None:
    put(store, "failures", "b1", [letter("m1"), letter("m2")], stage=STAGE)
    cover(store, {"m1": "failed", "m2": "failed"}, 1)
    cover(store, {"m1": "ok", "m2": "failed"}, 2)
    follow(store, m2="DecodeError")
    assert found(store) == [("m1", 1, False), ("m2", 1, False), ("m2", 2, True)]
    (still,) = open_letters(store)
    assert (still.media_id, still.error, still.message, still.attempts) == ("m2", "DecodeError", "torn again", 2)
    assert closed_media(store, STAGE) == {"b1": {"m1", "m2"}}


def test_following_twice_changes_nothing(store: Store) -> None:
    put(store, "failures", "b1", [letter("m1")], stage=STAGE)
    cover(store, {"m1": "failed"}, 2)
    follow(store)
    version = store.load("failures").version()
    follow(store)
    assert store.load("failures").version() == version
    assert found(store) == [("m1", 1, False), ("m1", 2, True)]


def test_only_the_media_that_were_done_again_had_an_attempt(store: Store) -> None:
    put(store, "failures", "b1", [letter("m1"), letter("m2")], stage=STAGE)
    cover(store, {"m1": "failed", "m2": "failed"}, 2, only=["m1"])
    follow(store)
    assert [(x.media_id, x.attempts) for x in open_letters(store)] == [("m1", 2), ("m2", 1)]


def test_the_first_generation_is_told_by_its_own_letters(store: Store) -> None:
    put(store, "failures", "b1", [letter("m1")], stage=STAGE)
    cover(store, {"m1": "failed"}, 1)
    follow(store)
    assert found(store) == [("m1", 1, True)]


def test_letters_of_other_stages_stay(store: Store) -> None:
    put(store, "failures", "b1", [letter("m1"), letter("m1", stage="extract:sounds@1")], stage=STAGE)
    cover(store, {"m1": "ok"}, 2)
    follow(store)
    assert [x.stage for x in open_letters(store)] == ["extract:sounds@1"]


def test_a_run_that_died_is_caught_up_with_by_batch(store: Store) -> None:
    """Of two batches one has had its letters; a generation each."""
    for batch_id, generation in (("b1", 2), ("b2", 3)):
        put(store, "failures", batch_id, [letter(batch_id)], stage=STAGE)
        cover(store, {batch_id: "failed"}, generation, batch_id=batch_id)
    list(follow_coverage(store, COVERAGE, STAGE, ["b1"]))
    follow(store)
    assert [(x.batch_id, x.attempts) for x in open_letters(store)] == [("b1", 2), ("b2", 2)]


def test_a_newer_batch_closes_the_letters_of_its_sources_in_older_ones_only(store: Store) -> None:
    for batch_id in ("b1", "b2", "b3"):
        put(store, "failures", batch_id, [letter(None, uri=uri, stage="ingest") for uri in ("/a", "/b")], stage="x")
    close_failures(store, "ingest", ["/a"], before="b2", lineage=Lineage("run", "close:b2"))
    assert found(store, "b1") == [("/a", 1, False), ("/b", 1, True)]
    assert found(store, "b2") == found(store, "b3") == [("/a", 1, True), ("/b", 1, True)]


def test_no_letter_is_closed_where_nobody_took_its_source_up(store: Store) -> None:
    put(store, "failures", "b1", [letter(None, uri="/a", stage="ingest")], stage="x")
    version = store.load("failures").version()
    for uris in ([], ["/b"]):
        assert close_failures(store, "ingest", uris, before="b2", lineage=Lineage("run", "close:b2")) is None
    assert store.load("failures").version() == version


def again(store: Store, files: Mapping[str, FileRecord], generation: int = 2) -> None:
    """Commit a later generation's letters, as a repair of ingest does."""
    lineage = Lineage("run", STAGE, generation=generation)
    commit_failures(store, list(files.values()), files.keys(), lineage=lineage)


def test_waves_that_overlap_count_a_generation_once(store: Store) -> None:
    """A second run does b1 again, which has had this generation, beside b2, which has not."""
    put(store, "failures", "b1", [letter("m1")], stage=STAGE)
    put(store, "failures", "b2", [letter("m2")], stage=STAGE)
    new = {b: write(store, "failures", b, [letter(m, generation=2)]) for b, m in (("b1", "m1"), ("b2", "m2"))}
    again(store, {"b1": new["b1"]})
    again(store, new)
    assert found(store, "b1") == [("m1", 1, False), ("m1", 2, True)]
    assert found(store, "b2") == [("m2", 1, False), ("m2", 2, True)]


def test_what_a_rival_closes_in_between_is_not_lost(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both batches would change; by the time of the commit a rival has left nothing to say of b1."""
    for batch_id in ("b1", "b2"):
        put(store, "failures", batch_id, [letter(None, uri="/a", stage="ingest")], stage="x")
    real = commit_files

    def overtaken(*args: Any, **more: Any) -> Any:
        monkeypatch.setattr("features.store.failures.commit_files", real)
        close_failures(store, "ingest", ["/a"], before="b2", lineage=Lineage("rival", "close:rival"))
        return real(*args, **more)

    monkeypatch.setattr("features.store.failures.commit_files", overtaken)
    lineage = Lineage("run", "close:b3", generation=2)
    close_failures(store, "ingest", ["/a"], before="b3", lineage=lineage)
    assert found(store, "b1") == found(store, "b2") == [("/a", 1, False)]


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (Wanted(), True),
        (Wanted(stage="extract"), True),
        (Wanted(stage="ingest"), False),
        (Wanted(error="DecodeError"), True),
        (Wanted(error="Decode"), False),
        (Wanted(error="Decode*"), True),
        (Wanted(error="*third packet*"), True),
        (Wanted(error="*fourth*"), False),
        (Wanted(media="ab12"), True),
        (Wanted(media="a.mp4"), True),
        (Wanted(media="/v/a.mp4"), True),
        (Wanted(media="b.mp4"), False),
        (Wanted(media="b.mp4", media_ids=frozenset(["ab1234"])), True),
        (Wanted(stage="extract", error="DecodeError", media="cd"), False),
    ],
)
def test_letters_are_chosen_by_stage_error_and_media(wanted: Wanted, takes: bool) -> None:
    row = letter("ab1234", uri="/v/a.mp4", error="DecodeError", message="no third packet here")
    assert wanted.takes(row) is takes


def test_the_next_generation_is_above_all_tables(store: Store) -> None:
    """A run died between the two tables of a batch."""
    put(store, "features/words@1", "b1", [], stage=STAGE)
    put(store, "features/words@1", "b1", [], stage=STAGE, generation=2)
    put(store, COVERAGE, "b1", [], stage=STAGE)
    tables = ("features/words@1", COVERAGE)
    assert next_generations(store, tables, STAGE, ["b1", "b2"]) == {"b1": 3, "b2": 1}


def test_a_batch_is_stale_when_its_inputs_were_replaced(store: Store) -> None:
    for batch_id in ("b1", "b2", "b3"):
        put(store, "features/words@1", batch_id, [], stage=STAGE)
    inputs = store.versions(["features/words@1"])
    for batch_id in ("b1", "b2"):
        lineage = Lineage("run", "score:moods@1", inputs=inputs)
        file = write_file(store, "scores/moods@1", batch_id, table_of("scores/moods@1", []), lineage=[lineage])
        commit_files(store, "scores/moods@1", [file], stage="score:moods@1")
    look = ("b1", "b2", "b3")
    assert stale_batches(store, "scores/moods@1", ["features/words@1"], look) == ()
    put(store, "features/words@1", "b4", [], stage=STAGE)
    put(store, "features/words@1", "b2", [], stage=STAGE, generation=2)
    put(store, "features/words@1", "b3", [], stage=STAGE, generation=2)
    assert stale_batches(store, "scores/moods@1", ["features/words@1"], look) == ("b2",)
    assert stale_batches(store, "scores/moods@1", ["features/other@1"], look) == ()
    assert stale_batches(store, "scores/none@1", ["features/words@1"], look) == ()


def test_a_version_that_the_log_no_longer_holds_is_another(store: Store) -> None:
    put(store, "features/words@1", "b1", [], stage=STAGE)
    lineage = Lineage("run", "score:moods@1", inputs=(("features/words@1", 99),))
    file = write_file(store, "scores/moods@1", "b1", table_of("scores/moods@1", []), lineage=[lineage])
    commit_files(store, "scores/moods@1", [file], stage="score:moods@1")
    assert stale_batches(store, "scores/moods@1", ["features/words@1"], ["b1"]) == ("b1",)


def test_the_media_of_a_generation_stand_in_its_lineage() -> None:
    assert json.loads(only_media({"b", "a"})) == {"media_ids": ["a", "b"]}
    assert only_media(()) == ""
