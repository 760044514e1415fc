"""`verify --repair` where sources are gone: what is left of their rows is kept, and a dead letter tells of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from features.store import Store, read_table
from features.store.verify import verify_store
from tests.flows.repairing import first, mend
from tests.pipelines.clips import make_clips
from tests.pipelines.running import config, ingest_here, rows_of
from tests.store.damage import file_of, remove
from tests.store.making import SECOND, put

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def elsewhere(tmp_path: Path) -> tuple[Store, Path]:
    """A store whose clips may be taken away."""
    (tmp_path / "clips").mkdir()
    make_clips(tmp_path / "clips")
    store, _ = ingest_here(tmp_path / "store", config([tmp_path / "clips"], batch_sources=9))
    return store, tmp_path / "clips"


def test_rows_are_lost_and_a_dead_letter_says_so(elsewhere: tuple[Store, Path]) -> None:
    store, clips = elsewhere
    media = {row["name"]: row["media_id"] for row in read_table(store, "media").to_pylist()}
    rows = rows_of(store)
    (clips / "noted.mp4").unlink()
    remove(file_of(store, "frames", first(store)))
    assert "not all of it" in mend(store)[-1]
    assert verify_store(store).findings == ()
    left = rows_of(store)
    assert left["media"] == rows["media"]
    assert left["frames"] == [row for row in rows["frames"] if row["media_id"] != media["noted.mp4"]]
    (letter,) = [row for row in left["failures"] if row["stage"] == "repair"]
    assert letter["media_id"] == media["noted.mp4"]
    assert "0 rows of frames" in letter["message"]


def test_what_can_be_read_is_kept(elsewhere: tuple[Store, Path]) -> None:
    store, clips = elsewhere
    rows = rows_of(store)
    (clips / "noted.mp4").write_bytes(b"something else")
    put(store, "audio", first(store), [{"media_id": "x", "start_us": 0, "end_us": SECOND}], stage="rogue")
    mend(store)
    assert verify_store(store).findings == ()
    assert rows_of(store)["audio"] == rows["audio"]


def test_another_copy_serves(elsewhere: tuple[Store, Path]) -> None:
    store, clips = elsewhere
    rows = rows_of(store)
    (clips / "copy.mp4").unlink()  # of talk.mp4, a duplicate of it
    remove(file_of(store, "frames", first(store)))
    mend(store)
    assert rows_of(store) == rows


def test_a_lost_row_of_media_is_told_from_its_tables(elsewhere: tuple[Store, Path]) -> None:
    store, clips = elsewhere
    (clips / "noted.mp4").unlink()
    rows = {row["name"]: row for row in rows_of(store)["media"]}
    remove(file_of(store, "media", first(store)))
    mend(store)
    assert verify_store(store).findings == ()
    after = {row["name"]: row for row in rows_of(store)["media"]}
    assert after.keys() == rows.keys()
    told = ("media_id", "uri", "duration_us", "has_video", "has_audio", "has_text")
    assert {name: after["noted.mp4"][name] for name in told} == {name: rows["noted.mp4"][name] for name in told}
    assert {name: row for name, row in after.items() if name != "noted.mp4"} == {
        name: row for name, row in rows.items() if name != "noted.mp4"
    }
