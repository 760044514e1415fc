"""Ingest: what comes out, that the job is the pure functions, and that nothing is done twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.identity import media_id_of_file
from features.store import Store, read_table
from features.store.plan import read_plan
from features.store.read import read_committed
from flows import stages
from pipelines.ingest import commit_wave, ingest_batch, lineage_of
from tests.pipelines.clips import SECOND, Clips, make_clip
from tests.pipelines.running import config, ingest_here, ingest_supervised, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable


def by_name(store: Store) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in read_table(store, "media").to_pylist()}


def statuses(store: Store) -> dict[str, str]:
    return {Path(row["uri"]).name: row["status"] for row in read_table(store, "source_results").to_pylist()}


def test_every_source_has_its_outcome(clean: Store, clips: Clips) -> None:
    assert statuses(clean) == {
        "copy.mp4": "done",
        "noted.mp4": "done",
        "silent.mp4": "done",
        "talk.mp4": "duplicate",
        "torn.mp4": "failed",
        "wordless.mp4": "done",
    }
    rows = by_name(clean)
    assert sorted(rows) == ["copy.mp4", "noted.mp4", "silent.mp4", "wordless.mp4"]
    for name, row in rows.items():
        assert row["media_id"] == media_id_of_file(clips.path(name))
        assert (row["width"], row["height"], row["consent"]) == (160, 120, "unstated")
    tracks = {name: (row["has_video"], row["has_audio"], row["has_text"]) for name, row in rows.items()}
    assert tracks == {
        "copy.mp4": (True, True, True),
        "noted.mp4": (True, True, True),
        "silent.mp4": (True, False, True),
        "wordless.mp4": (True, True, False),
    }


def test_rows_hold_what_the_clips_hold(clean: Store) -> None:
    names = {row["media_id"]: name for name, row in by_name(clean).items()}
    times: dict[str, list[int]] = {}
    for row in read_table(clean, "frames").to_pylist():
        times.setdefault(names[row["media_id"]], []).append(row["t_us"])
    assert times == {
        "copy.mp4": [0, SECOND],
        "noted.mp4": [0, SECOND, 2 * SECOND],
        "silent.mp4": [0, SECOND],
        "wordless.mp4": [0, SECOND],
    }
    assert {names[m] for m in read_table(clean, "audio")["media_id"].to_pylist()} == set(times) - {"silent.mp4"}
    texts = {
        names[row["media_id"]]: (row["source"], row["start_us"], row["end_us"], row["text"])
        for row in read_table(clean, "transcripts").to_pylist()
    }
    said = (250_000, 1_750_000, "what a day")
    assert texts == {
        "copy.mp4": ("subtitle", *said),
        "silent.mp4": ("subtitle", *said),
        "noted.mp4": ("sidecar", *said),
    }


def test_a_bad_file_is_a_dead_letter_and_its_batch_goes_on(clean: Store, clips: Clips) -> None:
    (letter,) = read_table(clean, "failures").to_pylist()
    assert (letter["stage"], letter["uri"]) == ("ingest", str(clips.path("torn.mp4")))
    assert letter["error"] == "DecodeError"
    assert str(clips.path("torn.mp4")) in letter["message"]
    assert letter["media_id"] == media_id_of_file(clips.path("torn.mp4"))
    assert by_name(clean)["wordless.mp4"]["batch_id"] == letter["batch_id"]


def test_every_table_has_every_batch(clean: Store) -> None:
    planned = clean.batches("sources")
    assert len(planned) == 3
    for table in ("frames", "audio", "transcripts", "source_results", "media"):
        assert clean.batches(table) == planned


def test_the_summary_counts_what_is_committed(clips: Clips, tmp_path: Path) -> None:
    store, (summary,) = ingest_here(tmp_path / "store", config([clips.folder]))
    rows = {"audio": 3, "frames": 9, "media": 4, "source_results": 6, "transcripts": 3}
    assert summary == (1, {**summary.rows, **rows}, 1)
    assert summary.rows["audio"] == read_table(store, "audio").num_rows


def test_the_job_is_the_pure_functions(clean: Store, clips: Clips, tmp_path: Path) -> None:
    given = config([clips.folder], batch_sources=2)
    store, waves = stages.plan_ingest(given, str(tmp_path / "store"), "run")
    for wave in waves:
        batches, lineage = read_plan(store, wave.batch_ids), lineage_of(store, given, wave)
        files = [file for batch in batches for file in ingest_batch(store, batch, lineage)]
        assert not store.batches("frames") & set(wave.batch_ids), "the functions that make files commit nothing"
        list(commit_wave(wave, lineage, files))
    assert rows_of(store) == rows_of(clean)


def test_rows_do_not_depend_on_how_sources_are_batched(clean: Store, clips: Clips, tmp_path: Path) -> None:
    store, _ = ingest_here(tmp_path / "store", config([clips.folder], batch_sources=1, wave_batches=1))
    assert rows_of(store) == rows_of(clean)


@pytest.mark.slow
def test_many_processes_give_the_same_rows(clean: Store, clips: Clips, tmp_path: Path) -> None:
    many = config([clips.folder], runner="multi", workers=2, batch_sources=2)
    store, summaries = ingest_supervised(tmp_path / "store", many)
    assert rows_of(store) == rows_of(clean)
    assert sum(summary.num_batches for summary in summaries) == len(store.batches("media")) >= 3


def test_a_second_run_owes_nothing_and_opens_nothing(copied: Callable[..., Clips], tmp_path: Path) -> None:
    """Sources whose bytes are now other ones, under the old size and time, would be noticed by whoever opens them."""
    here = copied()
    store, _ = ingest_here(tmp_path / "store", config([here.folder]))
    before = {table: store.load(table).version() for table in store.tables()}
    for name in here.names:
        status = here.path(name).stat()
        here.path(name).write_bytes(b"\0" * status.st_size)
        os.utime(here.path(name), ns=(status.st_atime_ns, status.st_mtime_ns))
    _, summaries = ingest_here(store.path, config([here.folder]))
    assert summaries == []
    assert {table: store.load(table).version() for table in store.tables()} == before


def test_only_what_is_new_is_ingested(copied: Callable[..., Clips], clean: Store, tmp_path: Path) -> None:
    early = copied("noted.mp4", "torn.mp4", "copy.mp4")
    store, _ = ingest_here(tmp_path / "store", config([early.folder]))
    planned = store.batches("sources")
    everything = copied()
    _, summaries = ingest_here(tmp_path / "store", config([everything.folder]))
    assert sum(summary.num_batches for summary in summaries) == 1
    (new,) = store.batches("sources") - planned
    assert sorted(Path(s.uri).name for b in read_plan(store, [new]) for s in b.sources) == [
        "silent.mp4",
        "talk.mp4",
        "wordless.mp4",
    ]
    assert statuses(store) == statuses(clean)


def test_a_limit_is_kept_and_the_rest_comes_later(copied: Callable[..., Clips], clean: Store, tmp_path: Path) -> None:
    here = copied()
    for _ in range(3):
        store, _ = ingest_here(tmp_path / "store", config([here.folder], limit=2))
    assert statuses(store) == statuses(clean)
    assert ingest_here(tmp_path / "store", config([here.folder], limit=2))[1] == []


def test_refused_media_leave_one_row_without_content(clips: Clips, tmp_path: Path) -> None:
    store, _ = ingest_here(tmp_path / "store", config([clips.folder], refuse=("talk.mp4", "copy*", "*/noted.mp4")))
    rows = by_name(store)
    assert {name: row["consent"] for name, row in rows.items()} == {
        "copy.mp4": "refused",
        "noted.mp4": "refused",
        "silent.mp4": "unstated",
        "wordless.mp4": "unstated",
    }
    for name in ("copy.mp4", "noted.mp4"):
        assert rows[name]["duration_us"] is None
        assert not rows[name]["has_video"]
        for table in ("frames", "audio", "transcripts"):
            assert rows[name]["media_id"] not in read_committed(store, table)["media_id"].to_pylist()


def test_new_bytes_at_a_known_place_supersede(copied: Callable[..., Clips], tmp_path: Path) -> None:
    here = copied("silent.mp4", "wordless.mp4")
    store, _ = ingest_here(tmp_path / "store", config([here.folder]))
    old = by_name(store)["silent.mp4"]["media_id"]
    make_clip(here.path("silent.mp4"), grey=30, hertz=None, seconds=3)
    ingest_here(tmp_path / "store", config([here.folder]))
    new = media_id_of_file(here.path("silent.mp4"))
    successors = {row["media_id"]: row["superseded_by"] for row in read_table(store, "media").to_pylist()}
    assert successors == {old: new, new: None, media_id_of_file(here.path("wordless.mp4")): None}
    assert read_table(store, "frames")["media_id"].to_pylist().count(new) == 3


def test_a_file_that_changes_after_its_plan_is_not_mixed(copied: Callable[..., Clips], tmp_path: Path) -> None:
    """Frames of the old bytes are committed, then the run dies, and the file is written anew."""
    here = copied("silent.mp4", "wordless.mp4")
    given = config([here.folder])
    store, (wave,) = stages.plan_ingest(given, str(tmp_path / "store"), "first")
    (batch,) = read_plan(store, wave.batch_ids)
    lineage = lineage_of(store, given, wave)
    commits = commit_wave(wave, lineage, list(ingest_batch(store, batch, lineage)))
    assert next(commits).table == "frames"
    commits.close()
    make_clip(here.path("silent.mp4"), grey=30, hertz=None, seconds=3)
    ingest_here(store.path, given)
    new = media_id_of_file(here.path("silent.mp4"))
    medias = read_table(store, "media")["media_id"].to_pylist()
    assert sorted(medias) == sorted([new, media_id_of_file(here.path("wordless.mp4"))])
    shown = read_table(store, "frames")["media_id"].to_pylist()
    assert {media_id: shown.count(media_id) for media_id in medias} == {new: 3, medias[1 - medias.index(new)]: 2}
    (letter,) = read_table(store, "failures").to_pylist()
    assert "changed since it was planned" in letter["message"]


def test_an_empty_and_a_vanished_file_are_dead_letters(copied: Callable[..., Clips], tmp_path: Path) -> None:
    here = copied("silent.mp4", "wordless.mp4")
    here.path("empty.mp4").touch()
    given = config([here.folder])
    store, waves = stages.plan_ingest(given, str(tmp_path / "store"), "first")
    assert waves
    here.path("wordless.mp4").unlink()
    ingest_here(store.path, config([here.path("silent.mp4")]))
    assert statuses(store) == {"empty.mp4": "failed", "silent.mp4": "done", "wordless.mp4": "failed"}
    messages = {Path(row["uri"]).name: row["message"] for row in read_table(store, "failures").to_pylist()}
    assert "is empty (0 bytes)" in messages["empty.mp4"]
    assert "check that it exists" in messages["wordless.mp4"]


def test_unfinished_batches_come_first_from_their_stored_list(
    clean: Store, copied: Callable[..., Clips], tmp_path: Path
) -> None:
    """The next run names another source; what was planned is done all the same, and before it."""
    here = copied()
    more = tmp_path / "more" / "extra.mp4"
    more.parent.mkdir()
    make_clip(more, grey=20, hertz=200)
    store, first = stages.plan_ingest(config([here.folder], batch_sources=2), str(tmp_path / "store"), "first")
    _, second = stages.plan_ingest(config([more], wave_batches=2), str(tmp_path / "store"), "second")
    owed = [batch_id for wave in first for batch_id in wave.batch_ids]
    again = [batch_id for wave in second for batch_id in wave.batch_ids]
    assert again[:3] == owed
    assert [len(wave.batch_ids) for wave in second] == [2, 2]
    ingest_here(store.path, config([more]))
    more_rows = {"extra.mp4": "done"}
    assert statuses(store) == statuses(clean) | more_rows


def test_a_sidecar_that_cannot_be_read_costs_only_itself(copied: Callable[..., Clips], tmp_path: Path) -> None:
    here = copied("noted.mp4")
    here.path("noted.vtt").write_text("this is no WebVTT\n")
    store, _ = ingest_here(tmp_path / "store", config([here.folder]))
    assert statuses(store) == {"noted.mp4": "done"}
    assert read_table(store, "transcripts")["source"].to_pylist() == ["sidecar"]
    (letter,) = read_table(store, "failures").to_pylist()
    assert letter["uri"] == str(here.path("noted.vtt"))


def test_paths_are_one_name_from_wherever_they_are_named(
    copied: Callable[..., Clips], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = copied("silent.mp4")
    ingest_here(tmp_path / "store", config([here.folder]))
    elsewhere = tmp_path / "deep" / "down"
    elsewhere.mkdir(parents=True)
    monkeypatch.chdir(elsewhere)
    for name in ("../../videos", "../../videos/*.mp4", "../../videos/silent.mp4", str(here.folder)):
        assert ingest_here("../../store", config([name]))[1] == []


def test_what_is_no_file_is_not_listed(copied: Callable[..., Clips], tmp_path: Path) -> None:
    here = copied("silent.mp4")
    here.path("dangling.mp4").symlink_to(tmp_path / "nowhere.mp4")
    os.mkfifo(here.path("pipe.mp4"))
    here.path("folder.mp4").mkdir()
    (here.folder / ".hidden.mp4").write_bytes(b"x")
    shutil.copytree(here.folder / "folder.mp4", here.folder / "empty")
    store, _ = ingest_here(here.folder / "store", config([here.folder]))
    assert statuses(store) == {"silent.mp4": "done"}


def test_an_unfinished_batch_is_decoded_as_it_was_planned(copied: Callable[..., Clips], tmp_path: Path) -> None:
    """A run is killed after planning; the next one has other options, and they are for its own plans alone."""
    here = copied("silent.mp4", "wordless.mp4")
    store, _ = stages.plan_ingest(config([here.path("silent.mp4")]), str(tmp_path / "store"), "first")
    ingest_here(store.path, config([here.folder], frames="2/s", frame_size=60))
    rows = read_table(store, "frames", columns=["media_id", "height"]).to_pylist()
    heights = {row["media_id"]: row["height"] for row in rows}
    assert heights == {
        media_id_of_file(here.path("silent.mp4")): 120,
        media_id_of_file(here.path("wordless.mp4")): 60,
    }
    assert len(rows) == 2 + 4
