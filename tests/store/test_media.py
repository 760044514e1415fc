"""Settling `media`: the same bytes are one media, newer bytes at a known place supersede the old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.store import read_table
from features.store.index import media_index
from features.store.media import MediaSettlement, settle_results
from features.store.read import read_committed
from pipelines.ingest import commit_wave
from pipelines.waves import Wave
from tests.store.making import frames, media, result, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from features.store import FileRecord, Store

    Row = dict[str, Any]


def ingested(store: Store, batch_id: str, rows: Sequence[Row]) -> list[FileRecord]:
    """Files of a batch as ingest leaves them, uncommitted."""
    results = [result(row["media_id"], row["uri"]) for row in rows]
    pictures = [row for media_row in rows for row in frames(media_row["media_id"], 2)]
    return [
        write(store, "frames", batch_id, pictures),
        write(store, "audio", batch_id, []),
        write(store, "transcripts", batch_id, []),
        write(store, "source_results", batch_id, results),
        write(store, "media", batch_id, rows),
    ]


def commit(store: Store, *batches: list[FileRecord], generation: int = 1) -> None:
    files = [file for batch in batches for file in batch]
    batch_ids = tuple(sorted({file.batch_id for file in files}))
    wave = Wave(store.root, "ingest", batch_ids, "run", generation=generation)
    list(commit_wave(wave, wave.lineage("ingest"), files))


def medias(store: Store) -> list[tuple[str, str, str | None]]:
    rows = read_committed(store, "media", columns=["media_id", "superseded_by"]).to_pylist()
    return sorted((row["batch_id"], row["media_id"], row["superseded_by"]) for row in rows)


def results(store: Store) -> list[tuple[str, str, str]]:
    rows = read_committed(store, "source_results").to_pylist()
    return sorted((row["batch_id"], row["media_id"], row["status"]) for row in rows)


def test_the_same_bytes_in_two_batches_of_a_wave_are_one_media(store: Store) -> None:
    copy = media("a", uri="/copies/a.mp4", name="copy.mp4")
    commit(store, ingested(store, "b1", [media("a")]), ingested(store, "b2", [copy, media("c")]))
    assert medias(store) == [("b1", "a", None), ("b2", "c", None)]
    assert results(store) == [("b1", "a", "done"), ("b2", "a", "duplicate"), ("b2", "c", "done")]
    shown = read_table(store, "frames").to_pylist()
    assert [(row["batch_id"], row["media_id"]) for row in shown] == [("b1", "a")] * 2 + [("b2", "c")] * 2


def test_the_same_bytes_in_a_later_wave_lose(store: Store) -> None:
    """Decoded all the same, since the first was not committed when the second began."""
    late = ingested(store, "b0", [media("a", uri="/copies/a.mp4")])
    commit(store, ingested(store, "b1", [media("a")]))
    commit(store, late)
    assert medias(store) == [("b1", "a", None)]
    assert results(store) == [("b0", "a", "duplicate"), ("b1", "a", "done")]
    assert store.batches("media") == {"b0", "b1"}, "a batch whose media all lost is whole"


def test_a_rival_between_results_and_media_is_noticed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The results say done already; the media that lost makes them duplicates, and other batches stay as they are."""
    rival = ingested(store, "b9", [media("a", uri="/rival/a.mp4")])
    ours = [ingested(store, "b1", [media("a"), media("c")]), ingested(store, "b2", [media("e")])]
    real: Callable[..., object] = MediaSettlement.settle

    def late(self: MediaSettlement, *given: Any) -> object:
        monkeypatch.setattr(MediaSettlement, "settle", real)
        commit(store, rival)
        return real(self, *given)

    monkeypatch.setattr(MediaSettlement, "settle", late)
    commit(store, *ours)
    assert medias(store) == [("b1", "c", None), ("b2", "e", None), ("b9", "a", None)]
    assert results(store) == [
        ("b1", "a", "duplicate"),
        ("b1", "c", "done"),
        ("b2", "e", "done"),
        ("b9", "a", "done"),
    ]


def test_newer_bytes_supersede_the_old(store: Store) -> None:
    place = "/videos/one.mp4"
    commit(store, ingested(store, "b1", [media("a", uri=place), media("c")]))
    commit(store, ingested(store, "b2", [media("e", uri=place)]))
    assert medias(store) == [("b1", "a", "e"), ("b1", "c", None), ("b2", "e", None)]
    commit(store, ingested(store, "b3", [media("g", uri=place)]))
    assert medias(store) == [("b1", "a", "e"), ("b1", "c", None), ("b2", "e", "g"), ("b3", "g", None)]
    assert len(store.files("media")) == 3, "the old files were replaced"
    kept = read_table(store, "media").to_pylist()[0]
    before = {**media("a", uri=place), "batch_id": "b1", "superseded_by": "e"}
    assert {name: kept[name] for name in before} == before, "the rest of the row stays"


def test_a_repeated_commit_changes_nothing(store: Store) -> None:
    files = ingested(store, "b1", [media("a")])
    commit(store, files)
    versions = {table: store.load(table).version() for table in store.tables()}
    commit(store, files)
    commit(store, ingested(store, "b1", [media("a")]))
    assert {table: store.load(table).version() for table in store.tables()} == versions


def test_a_commit_that_was_broken_off_anywhere_is_taken_up(store: Store) -> None:
    """Whatever table the first attempt reached, the second ends with the rows of one."""
    rows = [media("a"), media("c")]
    for reached in range(5):
        batch_id = f"b{reached}"
        own = [{**row, "media_id": f"{row['media_id']}{reached}"} for row in rows]
        wave = Wave(store.root, "ingest", (batch_id,), "run")
        commits = commit_wave(wave, wave.lineage("ingest"), ingested(store, batch_id, own))
        for _ in range(reached):
            next(commits)
        commits.close()
        assert store.batches("media") == {f"b{index}" for index in range(reached)}
        commit(store, ingested(store, batch_id, own))
        shown = read_table(store, "frames", batch_ids=[batch_id])["media_id"].to_pylist()
        assert shown == [f"a{reached}"] * 2 + [f"c{reached}"] * 2
        assert [status for batch, _, status in results(store) if batch == batch_id] == ["done", "done"]


def test_the_index_knows_the_committed_media(store: Store) -> None:
    assert media_index(store).batch_of("a") is None
    commit(store, ingested(store, "b1", [media("a"), media("c")]))
    ingested(store, "b2", [media("e")])
    assert media_index(store).batches_of(["a", "c", "e"]) == {"a": "b1", "c": "b1"}


def test_bytes_that_come_back_hold_their_place_again(store: Store) -> None:
    """A, then B, then A again at one place: A is the newest, and B is what was superseded."""
    place = "/videos/one.mp4"
    commit(store, ingested(store, "b1", [media("a", uri=place)]))
    commit(store, ingested(store, "b2", [media("b", uri=place)]))
    files = ingested(store, "b3", [])
    files[3] = write(store, "source_results", "b3", [result("a", place, "duplicate")])
    commit(store, files)
    assert medias(store) == [("b1", "a", None), ("b2", "b", "a")]


def test_a_place_that_now_holds_known_bytes_supersedes_its_old_media(store: Store) -> None:
    commit(store, ingested(store, "b1", [media("a"), media("b", uri="/videos/one.mp4")]))
    commit(store, ingested(store, "b2", [media("a", uri="/videos/one.mp4")]))
    assert medias(store) == [("b1", "a", None), ("b1", "b", "a")]


def test_of_two_batches_of_one_second_the_one_that_is_committed_last_holds(store: Store) -> None:
    place = "/videos/one.mp4"
    commit(store, ingested(store, "20260101T000000-0f", [media("a", uri=place)]))
    commit(store, ingested(store, "20260101T000000-0a", [media("b", uri=place)]))
    assert medias(store) == [("20260101T000000-0a", "b", None), ("20260101T000000-0f", "a", "b")]


def test_a_batch_that_comes_late_is_superseded_by_the_later_batch(store: Store) -> None:
    place = "/videos/one.mp4"
    late = ingested(store, "b1", [media("a", uri=place), media("c")])
    commit(store, ingested(store, "b2", [media("b", uri=place)]))
    commit(store, late)
    assert medias(store) == [("b1", "a", "b"), ("b1", "c", None), ("b2", "b", None)]


def test_results_without_losers_keep_their_file(store: Store) -> None:
    file = write(store, "source_results", "b1", [result("a", "/v/a.mp4"), result(None, "/v/c.mp4", "failed")])
    assert settle_results(store, file, frozenset({("b2", "a")})) is file
    settled = settle_results(store, file, frozenset({("b1", "a")}))
    assert (settled.path != file.path, settled.num_rows) == (True, 2)
