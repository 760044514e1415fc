"""Ingest of text: each text of a media under its own source, and what cannot be read a dead letter of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from features.identity import media_id_of_file
from features.store import read_table
from tests.media.tracks import TextTrack, write_tracks
from tests.pipelines.running import config, ingest_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.pipelines.clips import Clips


def test_texts_beside_a_media(copied: Callable[..., Clips], tmp_path: Path) -> None:
    here = copied("silent.mp4")  # of two seconds, with a track
    segment = {"start": 0, "end": 1, "text": "Grüße", "words": [{"word": "Grüße", "start": 0.1, "end": 0.9}]}
    here.path("silent.de.json").write_text(json.dumps({"segments": [segment]}))
    here.path("silent.en.txt").write_text("a plain text")
    here.path("silent.fr.forced.srt").write_text("1\n00:00:00,000 --> 00:00:09,000\nUn panneau\n")
    here.path("silent.json").write_text('{"title": "no transcript"}')
    here.path("silent.es.srt").write_text("1\n00:00:08,000 --> 00:00:09,000\nTarde\n")
    store, _ = ingest_here(tmp_path / "store", config([here.folder]))
    (media,) = read_table(store, "media").to_pylist()
    rows = read_table(store, "transcripts").to_pylist()
    found = {
        (row["source"], row["language"]): (row["end_us"], row["text"]) for row in rows if row["source"] != "subtitle"
    }
    assert found == {
        ("sidecar", "de"): (1_000_000, "Grüße"),
        ("sidecar:untimed", "en"): (media["duration_us"], "a plain text"),
        ("sidecar:forced", "fr"): (media["duration_us"], "Un panneau"),
    }
    assert {row["text"]: len(row["words"] or ()) for row in rows}["Grüße"] == 1
    assert sum(row["source"] == "subtitle" for row in rows) == 1
    letters = {letter["uri"]: letter for letter in read_table(store, "failures").to_pylist()}
    assert letters.keys() == {str(here.path("silent.json")), str(here.path("silent.es.srt"))}
    assert {letter["media_id"] for letter in letters.values()} == {media_id_of_file(here.path("silent.mp4"))}
    assert "'segments'" in letters[str(here.path("silent.json"))]["message"]
    assert "after the media's end" in letters[str(here.path("silent.es.srt"))]["message"]


def test_a_bitmap_track_is_a_dead_letter_and_its_media_is_done(tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    path = folder / "a.mkv"
    write_tracks(
        path, TextTrack("subrip", language="eng"), TextTrack("dvd_subtitle", [(0, 900, b"\x16\x00\x00")], "spa")
    )
    store, _ = ingest_here(tmp_path / "store", config([folder]))
    (result,) = read_table(store, "source_results").to_pylist()
    assert result["status"] == "done"
    (letter,) = read_table(store, "failures").to_pylist()
    assert (letter["uri"], letter["media_id"]) == (f"{path}#track:2", result["media_id"])
    assert "dvd_subtitle, es" in letter["message"]
    (row,) = read_table(store, "transcripts").to_pylist()
    assert (row["text"], row["language"], row["source"]) == ("Hi", "en", "subtitle")
