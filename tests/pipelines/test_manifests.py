"""Manifests through the whole of ingest: one media a row, its labels, erasure, and what is wrong with a row."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError
from features.predict import read_parts
from features.privacy.erasure import erase, plan_erasure, rows_of_forgotten
from features.store import Store
from features.store.read import read_table
from pipelines.sources import list_sources
from pipelines.stated import state_listed
from tests.pipelines.retrying import again
from tests.pipelines.running import config, extract_here, ingest_here, rows_of
from tests.samples.making import write_image, write_manifest, write_sound

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "a sentence that nobody shall find"
_NAMES = {"uri", "name"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two images, two sounds, a text; nothing else in the folder."""
    folder = tmp_path / "archive"
    write_image(folder / "a.png", 90)
    write_image(folder / "b.jpg", 160)
    write_sound(folder / "a.wav", 300)
    write_sound(folder / "b.flac", 500, 0.7)
    (folder / "c.txt").write_text("what a day", encoding="utf-8")
    return folder


def samples() -> list[dict[str, Any]]:
    """Three loose samples: all of it, without a text, nothing but a text."""
    return [
        {"media_name": "one", "image": "a.png", "audio": "a.wav", "text": "well well", "subject_ids": "s2;s1",
         "language": "eng", "recorded_at": "2026-01-31T10:30:00+01:00", "mood": "high", "score": "1.5"},
        {"media_name": "two", "image": "b.jpg", "audio": "b.flac", "mood": "low", "score": "-2"},
        {"media_name": "three", "text": SECRET, "mood": "low"},
    ]  # fmt: skip


def media_of(store: Store) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in read_table(store, "media").to_pylist()}


def test_a_row_is_a_media(archive: Path, tmp_path: Path) -> None:
    manifest = write_manifest(archive / "samples.csv", samples())
    store, _ = ingest_here(tmp_path / "store", config([manifest]))
    media = media_of(store)
    assert sorted(media) == ["one", "three", "two"]
    one, two, three = media["one"], media["two"], media["three"]
    assert [(row["has_video"], row["has_audio"], row["has_text"]) for row in (one, two, three)] == [
        (True, True, True),
        (True, True, False),
        (False, False, True),
    ]
    assert [row["duration_us"] for row in (one, two, three)] == [1_500_000, 700_000, 1_000_000]
    assert (one["subject_ids"], one["language"]) == (["s1", "s2"], "en")
    assert one["recorded_at"].isoformat() == "2026-01-31T09:30:00+00:00"
    (frame,) = (row for row in read_table(store, "frames").to_pylist() if row["media_id"] == one["media_id"])
    assert [frame[name] for name in ("t_us", "duration_us", "valid_start_us", "valid_end_us")] == [0, 1_500_000] * 2
    said = {row["media_id"]: row for row in read_table(store, "transcripts").to_pylist()}
    assert said.keys() == {one["media_id"], three["media_id"]}
    row = said[one["media_id"]]
    assert [row[name] for name in ("start_us", "end_us", "text", "language")] == [0, 1_500_000, "well well", "en"]
    assert not read_table(store, "failures").num_rows


def test_a_row_is_known_by_the_identity_that_predict_gives_its_parts(archive: Path, tmp_path: Path) -> None:
    manifest = write_manifest(archive / "samples.csv", samples())
    store, _ = ingest_here(tmp_path / "store", config([manifest]))
    media = media_of(store)
    given = read_parts(image=archive / "a.png", audio=archive / "a.wav", text="well well")
    assert given.media_id == media["one"]["media_id"]
    quality, row = given.decoded.info.quality, media["one"]
    assert quality is not None
    assert quality.perceptual_hash == row["perceptual_hash"]
    assert quality.loudness_lufs == pytest.approx(row["loudness_lufs"], abs=1e-5)  # of float32 in the table
    assert read_parts(text=SECRET).media_id == media["three"]["media_id"]


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_kinds_of_manifests_say_the_same(archive: Path, tmp_path: Path, suffix: str) -> None:
    as_csv, other = (write_manifest(archive / f"samples{s}", samples()) for s in (".csv", suffix))

    def listed(manifest: Path) -> list[tuple[Any, ...]]:
        return [(s.size_bytes, s.mtime_us, s.consent, s.etag, s.sample) for s in list_sources([str(manifest)])]

    assert listed(as_csv) == listed(other)


def test_files_and_rows_of_a_manifest_are_the_same_media(archive: Path, tmp_path: Path) -> None:
    """All tables are equal, but for what names the sources."""
    rows = [{"image": "a.png"}, {"image": "b.jpg"}, {"audio": "a.wav"}, {"audio": "b.flac"}, {"text_file": "c.txt"}]
    manifest = write_manifest(tmp_path / "there.jsonl", [{k: f"archive/{v}" for k, v in row.items()} for row in rows])
    by_row, _ = ingest_here(tmp_path / "by_row", config([manifest]))
    by_folder, _ = ingest_here(tmp_path / "by_folder", config([archive], also=("images,sounds", "texts")))
    by_name, _ = ingest_here(tmp_path / "by_name", config(sorted(archive.iterdir())))
    found = [_nameless(rows_of(store)) for store in (by_row, by_folder, by_name)]
    assert len(found[0]["media"]) == 5
    assert found[0] == found[1] == found[2]
    inline = write_manifest(tmp_path / "inline.jsonl", [{"text": "what a day"}])
    again, _ = ingest_here(tmp_path / "by_row", config([inline]))
    results = read_table(again, "source_results").to_pylist()
    assert [row["status"] for row in results if "#text:" in row["uri"]] == ["duplicate"], "the words of the file"


def _nameless(tables: dict[str, list[dict[str, Any]]]) -> dict[str, list[Any]]:
    return {
        table: sorted(repr({name: value for name, value in row.items() if name not in _NAMES}) for row in rows)
        for table, rows in tables.items()
    }


def test_what_is_known_is_not_planned_and_what_changed_is(archive: Path, tmp_path: Path) -> None:
    rows = samples()
    given = config([write_manifest(archive / "samples.csv", rows)])
    store, first = ingest_here(tmp_path / "store", given)
    _, again = ingest_here(tmp_path / "store", given)
    assert (len(first), again) == (1, [])
    rows[2]["text"] = SECRET.replace("nobody", "anybody"[:6])  # as long as before
    write_sound(archive / "a.wav", 700)
    write_manifest(archive / "samples.csv", rows)
    ingest_here(tmp_path / "store", given)
    found = read_table(store, "media").to_pylist()
    assert sorted(row["name"] for row in found) == ["one", "one", "three", "three", "two"]
    assert sorted(row["name"] for row in found if row["superseded_by"]) == ["one", "three"]


def test_the_same_parts_twice_are_one_media(archive: Path, tmp_path: Path) -> None:
    row = samples()[0]
    os.link(archive / "a.png", archive / "same.png")
    other = {**row, "media_name": "again", "image": "same.png"}
    store, _ = ingest_here(tmp_path / "store", config([write_manifest(archive / "samples.csv", [row, other])]))
    statuses = sorted(row["status"] for row in read_table(store, "source_results").to_pylist())
    assert statuses == ["done", "duplicate"]
    assert read_table(store, "frames").num_rows == 1


def test_a_text_is_a_transcript_of_its_video(archive: Path, tmp_path: Path, clips: Any) -> None:
    video = clips.path("silent.mp4")
    rows = [{"video": str(video), "text": "so it is", "media_name": "v", "language": "en"}]
    store, _ = ingest_here(tmp_path / "store", config([write_manifest(archive / "v.csv", rows)]))
    (media,) = read_table(store, "media").to_pylist()
    said = [row for row in read_table(store, "transcripts").to_pylist() if row["source"] == "sidecar"]
    assert (media["name"], media["has_text"], media["uri"]) == ("v", True, str(video))
    assert [(row["start_us"], row["end_us"], row["text"]) for row in said] == [(0, media["duration_us"], "so it is")]


def test_columns_become_labels_once(archive: Path, tmp_path: Path) -> None:
    given = config([write_manifest(archive / "samples.csv", samples())])
    store, _ = ingest_here(tmp_path / "store", given)
    assert state_listed(given, store, "run")[:2] == (5, 5)
    assert state_listed(given, store, "run")[:2] == (5, 0)
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    moods = {names[row["media_id"]]: row["class"] for row in read_table(store, "labels/mood").to_pylist()}
    scores = {names[row["media_id"]]: row["number"] for row in read_table(store, "labels/score").to_pylist()}
    assert moods == {"one": "high", "two": "low", "three": "low"}
    assert scores == {"one": 1.5, "two": -2.0}, "numbers, for one has a decimal point"


def test_a_folder_is_a_label(tmp_path: Path) -> None:
    root = tmp_path / "faces"
    write_image(root / "happy" / "a.jpg", 100)
    write_sound(root / "sad" / "b.wav")
    write_image(root / "c.jpg", 200)
    given = config([root], also=("images,sounds",), labels_from="folder:mood")
    store, _ = ingest_here(tmp_path / "store", given)
    assert state_listed(given, store, "run")[:2] == (2, 2)
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    found = {names[row["media_id"]]: row["class"] for row in read_table(store, "labels/mood").to_pylist()}
    assert found == {"a.jpg": "happy", "b.wav": "sad"}


def test_contradicting_labels_are_named_and_left_out(archive: Path, tmp_path: Path) -> None:
    os.link(archive / "a.png", archive / "same.png")
    rows = [{"image": "a.png", "mood": "high"}, {"image": "same.png", "mood": "low"}, {"image": "b.jpg", "mood": "low"}]
    given = config([write_manifest(archive / "m.csv", rows)])
    store, _ = ingest_here(tmp_path / "store", given)
    stated = state_listed(given, store, "run")
    assert stated.num_labels == 1
    (reason,) = stated.conflicts
    assert reason in stated.text()
    assert all(part in reason for part in ("row 1", "row 2", "m.csv", "'high'", "'low'", "same media"))


def test_extractors_tell_what_is_absent(archive: Path, tmp_path: Path) -> None:
    store, _ = ingest_here(tmp_path / "store", config([write_manifest(archive / "samples.csv", samples())]))
    extract_here(store, "mfcc")
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    found = {names[row["media_id"]]: row["status"] for row in read_table(store, "coverage/mfcc@1").to_pylist()}
    assert found == {"one": "ok", "two": "ok", "three": "absent"}


def test_forgetting_leaves_no_text_in_the_plan(archive: Path, tmp_path: Path) -> None:
    given = config([write_manifest(archive / "samples.csv", samples())])
    store, _ = ingest_here(tmp_path / "store", given)
    media_id = media_of(store)["three"]["media_id"]
    assert SECRET in str(read_table(store, "sources").to_pylist())
    erase(store, plan_erasure(store, [media_id]), "run")
    assert SECRET not in str(read_table(store, "sources").to_pylist())
    assert not list(rows_of_forgotten(store))
    kept = [pq.read_table(path).to_pylist() for path in store.path.glob("sources/**/*.parquet")]
    assert kept
    assert SECRET not in str(kept), "no old file either"
    _, again = ingest_here(tmp_path / "store", given)
    assert again == [], "it does not come back"


def test_bad_rows_cost_themselves(archive: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (archive / "binary.txt").write_bytes(bytes(range(256)) * 8)
    (archive / "bomb.png").write_bytes(_bomb())
    rows: list[dict[str, Any]] = [
        {"media_name": "good", "image": "a.png", "text": "yes"},
        {"image": "gone.png"},
        {"media_name": "nothing"},
        {"image": "b.jpg", "consent": "maybe"},
        {"image": "b.jpg", "recorded_at": "yesterday"},
        {"image": "b.jpg", "subject_ids": "a\x07"},
        {"text": "x" * ((1 << 20) + 1)},
        {"media_name": "half", "audio": "a.wav", "text_file": "binary.txt"},
        {"image": "bomb.png"},
        {"media_name": "good", "image": "b.jpg", "text": "another"},
    ]
    manifest = write_manifest(archive / "bad.csv", rows)
    with caplog.at_level(logging.WARNING):
        store, _ = ingest_here(tmp_path / "store", config([manifest]))
    told = [record.getMessage() for record in caplog.records]
    for number, value in ((2, "gone.png"), (3, "nothing"), (4, "maybe"), (5, "yesterday"), (6, "\\x07"), (7, "xxx")):
        assert any(f"row {number} of" in line and "bad.csv" in line and value in line for line in told), number
    assert any("row 10 of" in line and "'good'" in line for line in told)
    assert {name: row["has_text"] for name, row in media_of(store).items()} == {"good": True, "half": False}
    letters = read_table(store, "failures").to_pylist()
    assert sorted((row["uri"].rpartition("/")[2], row["error"]) for row in letters) == [
        ("binary.txt", "TranscriptionError"),
        ("bomb.png", "LimitExceeded"),
    ]


def _bomb() -> bytes:
    """A PNG that states 3,600,000,000 pixels."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_what_is_no_manifest_is_refused_before_anything_is_planned(archive: Path, tmp_path: Path) -> None:
    nothing = write_manifest(archive / "nothing.csv", [{"path": "a.png"}])
    sheet = archive / "samples.xlsx"
    sheet.write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"nothing\.csv.*no column that names a media.*'path'"):
        ingest_here(tmp_path / "store", config([nothing]))
    with pytest.raises(ConfigError, match=r"samples\.xlsx.*CSV, Parquet or JSON Lines"):
        ingest_here(tmp_path / "store", config([sheet]))
    assert not (tmp_path / "store").exists()


def test_a_folder_says_what_it_passed_over(archive: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ConfigError, match=r"passed over 2 images, 2 sounds, 1 texts.*--also images,sounds,texts"):
        list_sources([str(archive)])
    with caplog.at_level(logging.WARNING):
        assert len(list(list_sources([str(archive)], also=["images"]))) == 2
    assert "2 sounds, 1 texts" in caplog.text
    with pytest.raises(ConfigError, match="'films'"):
        list_sources([str(archive)], also=["films"])


def test_a_sample_that_failed_is_tried_again_from_the_plan(archive: Path, tmp_path: Path) -> None:
    whole = (archive / "a.wav").read_bytes()
    (archive / "a.wav").write_bytes(b"RIFF" + bytes(100))
    manifest = write_manifest(archive / "samples.csv", samples())
    store, _ = ingest_here(tmp_path / "store", config([manifest]))
    assert sorted(media_of(store)) == ["three", "two"]
    assert [row["uri"] for row in read_table(store, "failures").to_pylist()] == [f"{manifest}#one"]
    (archive / "a.wav").write_bytes(whole)
    manifest.unlink()
    assert again(store) == ()
    media = media_of(store)["one"]
    assert (media["has_video"], media["has_audio"], media["has_text"], media["subject_ids"]) == (
        *[True] * 3,
        ["s1", "s2"],
    )
