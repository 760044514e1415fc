"""Rows of manifests as records: paths, names, what is known of a media, labels; and the identity of what they name."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError
from features.identity import media_id_of_file
from features.samples.labels import numbered_tasks, stated_in
from features.samples.manifest import Manifest, is_manifest, read_manifest
from features.samples.record import Sample, media_id_of
from features.store.plan import Source
from tests.samples.making import write_image, write_manifest, write_sound

if TYPE_CHECKING:
    from pathlib import Path


def read(tmp_path: Path, *rows: dict[str, Any], name: str = "m.jsonl") -> Manifest:
    return read_manifest(write_manifest(tmp_path / name, rows))


def why(tmp_path: Path, **cells: Any) -> str:
    """Why a row is left out."""
    manifest = read(tmp_path, cells, {"image": "good.png"})
    (problem,) = manifest.problems
    assert [row.number for row in manifest.rows] == [2], "the others go on"
    told = manifest.told(problem)
    assert told.startswith(f"row 1 of {str(tmp_path / 'm.jsonl')!r} ")
    return told


def test_paths_are_relative_to_the_manifest(tmp_path: Path) -> None:
    first, second = read(tmp_path, {"image": "sub/../a.png"}, {"image": "/elsewhere/b.png"}).rows
    assert (first.uri, first.sample) == (str(tmp_path / "a.png"), Sample(image=str(tmp_path / "a.png"), name="a.png"))
    assert second.uri == "/elsewhere/b.png"


def test_a_sample_of_several_parts_is_a_place_in_the_manifest(tmp_path: Path) -> None:
    rows = [{"image": "x/a.png", "audio": "a.wav"}, {"image": "a.png", "text": "hi"}, {"text": "yo", "media_name": "t"}]
    first, second, third = read(tmp_path, *rows).rows
    assert (first.uri, first.sample.name) == (f"{tmp_path}/m.jsonl#x/a.png+a.wav", "a.png+a.wav")
    assert second.uri.startswith(f"{tmp_path}/m.jsonl#a.png+text:")
    assert (third.uri, third.sample.name) == (f"{tmp_path}/m.jsonl#t", "t")
    assert (first.etag, second.etag is not None) == (None, True)


def test_text_beside_a_video_takes_the_place_of_its_sidecars(tmp_path: Path) -> None:
    rows = [{"video": "v.mp4"}, {"video": "v.mp4", "text_file": "t.srt"}, {"video": "v.mp4", "text": "hi"}]
    assert [row.sidecars for row in read(tmp_path, *rows).rows] == [None, (str(tmp_path / "t.srt"),), ()]


def test_what_is_known_of_a_media(tmp_path: Path) -> None:
    at = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
    stated = {"consent": " Granted ", "subject_ids": "b; a;b", "language": "deu"}
    (text,) = read(tmp_path, {"image": "a.png", **stated, "recorded_at": "2026-01-31T10:30+01:00"}).rows
    assert (text.consent, text.sample.subject_ids, text.sample.language) == ("granted", ("a", "b"), "de")
    assert text.sample.recorded_at == at
    table = pa.table({"image": ["a.png"], "subject_ids": [["b", "a"]], "recorded_at": [at], "x": [0.5]})
    pq.write_table(table, tmp_path / "typed.parquet")
    (typed,) = read_manifest(tmp_path / "typed.parquet").rows
    assert (typed.sample.subject_ids, typed.sample.recorded_at) == (("a", "b"), at)
    assert typed.labels == (("x", 0.5),)


@pytest.mark.parametrize(
    ("cells", "parts"),
    [
        ({"media_name": "nothing"}, ("names no media", "'nothing'")),
        ({"image": "  ", "audio": None}, ("names no media",)),
        ({"image": "a.png", "video": "v.mp4"}, ("both video ('v.mp4') and image ('a.png')",)),
        ({"audio": "a.wav", "video": "v.mp4"}, ("both video",)),
        ({"text": "x", "text_file": "t.txt"}, ("both text",)),
        ({"image": 7}, ("image 7", "no text")),
        ({"image": "a\0.png"}, ("no path",)),
        ({"image": "ftp://example.org/a.png"}, ("'ftp://example.org/a.png'",)),
        ({"image": "a.png", "consent": "maybe"}, ("consent 'maybe'", "granted, refused, unstated")),
        ({"image": "a.png", "consent": True}, ("consent True",)),
        ({"image": "a.png", "language": "?"}, ("language '?'",)),
        ({"image": "a.png", "recorded_at": "31.1.2026"}, ("recorded_at '31.1.2026'", "ISO 8601")),
        ({"image": "a.png", "recorded_at": 17}, ("recorded_at 17",)),
        ({"image": "a.png", "subject_ids": {"a": 1}}, ("subject_ids {'a': 1}",)),
        ({"image": "a.png", "subject_ids": ["a", 1]}, ("subject_ids ['a', 1]",)),
        ({"image": "a.png", "mood": [1]}, ("label mood [1]",)),
        ({"image": "a.png", "mood": float("inf")}, ("label mood inf",)),
        ({"text": "\ud800"}, ("Unicode",)),
        ({"text": "é" * ((1 << 19) + 1)}, ("1048578 bytes", "text_file")),
    ],
)
def test_a_bad_row_names_itself_and_its_value(tmp_path: Path, cells: dict[str, Any], parts: tuple[str, ...]) -> None:
    told = why(tmp_path, **cells)
    assert all(part in told for part in parts), told


def test_two_samples_of_one_name(tmp_path: Path) -> None:
    rows = [{"text": "a", "media_name": "x"}, {"text": "b", "media_name": "x"}, {"text": "c", "media_name": "y"}]
    manifest = read(tmp_path, *rows)
    assert [row.number for row in manifest.rows] == [1, 3]
    assert "row 2" in manifest.told(manifest.problems[0])
    assert "row 1" in manifest.told(manifest.problems[0])


@pytest.mark.parametrize(("name", "part"), [("mood of day", "'mood of day'"), ("../x", "'../x'"), ("", "''")])
def test_a_column_that_is_no_task(tmp_path: Path, name: str, part: str) -> None:
    with pytest.raises(ConfigError, match="rename it") as told:
        read(tmp_path, {"image": "a.png", name: "x"})
    assert part in str(told.value)


def test_numbers_have_a_point_and_whole_numbers_are_classes(tmp_path: Path) -> None:
    rows = [
        {"image": "a.png", "score": "1", "level": "1", "mood": "1.5", "on": True},
        {"image": "b.png", "score": "-0.5", "level": "2", "mood": "high", "on": False},
    ]
    assert numbered_tasks(stated_in(read(tmp_path, *rows).rows)) == {"score"}


def test_what_is_a_manifest(tmp_path: Path) -> None:
    assert [is_manifest(tmp_path / name) for name in ("a.CSV", "a.jsonl", "a.parquet", "a.mp4", "a")] == [
        *[True] * 3,
        *[False] * 2,
    ]
    with pytest.raises(ConfigError, match=r"a\.xlsx"):
        is_manifest(tmp_path / "a.xlsx")


def test_identity_is_content_whatever_names_it(tmp_path: Path) -> None:
    image, sound = write_image(tmp_path / "a.png"), write_sound(tmp_path / "a.wav")
    (tmp_path / "t.txt").write_text("hé", encoding="utf-8")

    def identity(**parts: str) -> str:
        return media_id_of(Source("m.csv#x", 0, 0, sample=Sample(**parts)))

    whole = identity(image=str(image), audio=str(sound), text="hé")
    assert identity(image=str(image)) == media_id_of_file(image) == media_id_of(Source(str(image), 0, 0))
    assert identity(text="hé") == media_id_of_file(tmp_path / "t.txt")
    assert whole == identity(image=str(image), audio=str(sound), text_file=str(tmp_path / "t.txt"))
    assert len({whole, identity(image=str(image), audio=str(sound)), identity(audio=str(sound), text="hé")}) == 3
    parts = sorted([f"image:{media_id_of_file(image)}\n", f"audio:{media_id_of_file(sound)}\n"])
    joined = blake2b("".join(parts).encode(), digest_size=16).hexdigest()
    assert identity(image=str(image), audio=str(sound)) == joined, "of the sorted names and digests"
