from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import TranscriptionError
from features.records import Utterance
from features.transcripts.language import language_tag
from features.transcripts.sidecars import SIDECAR_SUFFIXES, find_sidecars, group_sidecars, read_sidecar, read_sidecars

if TYPE_CHECKING:
    from pathlib import Path

CUE = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"


def _write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(CUE.format(name), encoding="utf-8")


def test_sidecars_are_found_by_name(tmp_path: Path) -> None:
    _write(
        tmp_path, "talk.mp4", "talk.srt", "talk.VTT", "talk.en.srt", "talk.pt-BR.forced.vtt", "talk2.srt", "talk.log"
    )
    found = [path.name for path in find_sidecars(tmp_path / "talk.mp4")]
    assert found == ["talk.VTT", "talk.en.srt", "talk.pt-BR.forced.vtt", "talk.srt"]


def test_a_sidecar_belongs_to_the_media_with_its_whole_name(tmp_path: Path) -> None:
    _write(tmp_path, "talk.mp4", "talk.en.mp4", "talk.en.srt")
    assert find_sidecars(tmp_path / "talk.mp4") == ()
    assert find_sidecars(tmp_path / "talk.en.mp4") == (tmp_path / "talk.en.srt",)


def test_dots_in_names(tmp_path: Path) -> None:
    _write(tmp_path, "v1.2.mp4", "v1.2.srt", "v1.2.de.srt")
    assert [path.name for path in find_sidecars(tmp_path / "v1.2.mp4")] == ["v1.2.de.srt", "v1.2.srt"]


def test_a_missing_folder_has_none(tmp_path: Path) -> None:
    assert find_sidecars(tmp_path / "none" / "a.mp4") == ()


def test_a_listing_is_grouped_at_once(tmp_path: Path) -> None:
    _write(tmp_path, "a.mp4", "a.srt", "b.mp4", "b.en.vtt")
    groups = group_sidecars(map(str, tmp_path.iterdir()))
    for name in ("a.mp4", "b.mp4"):
        assert groups[str(tmp_path / name[0])] == tuple(map(str, find_sidecars(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "language"), [("a.srt", None), ("a.eng.srt", "en"), ("a.pt_BR.srt", "pt-BR"), ("a.de.sdh.srt", "de")]
)
def test_the_name_tells_the_language(tmp_path: Path, name: str, language: str | None) -> None:
    _write(tmp_path, name)
    utterance = read_sidecar(tmp_path / name)[0]
    assert (utterance.source, utterance.language, utterance.text) == ("sidecar", language, name)


def test_a_bad_sidecar_costs_only_itself(tmp_path: Path) -> None:
    _write(tmp_path, "a.srt")
    (tmp_path / "a.en.srt").write_text("nothing here")
    utterances, problems = read_sidecars([tmp_path / "a.en.srt", tmp_path / "a.srt"])
    assert [utterance.text for utterance in utterances] == ["a.srt"]
    assert [(path.name, type(error)) for path, error in problems] == [("a.en.srt", TranscriptionError)]


@pytest.mark.parametrize(
    ("code", "tag"),
    [
        ("eng", "en"),
        ("ger", "de"),
        ("deu", "de"),
        ("EN", "en"),
        ("und", None),
        (None, None),
        ("", None),
        ("haw", "haw"),
        ("en-us", "en-US"),
        ("zh_HANT", "zh-Hant"),
    ],
)
def test_language_tags(code: str | None, tag: str | None) -> None:
    assert language_tag(code) == tag


WORDS = "1\n00:00:01,000 --> 00:00:02,000\n{}\n\n2\n00:00:02,000 --> 00:00:03,000\n{}\n"
ASS = """[Script Info]
ScriptType: v4.00+
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not said
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,one
Dialogue: 0,0:00:02.00,0:00:03.00,Default,,0,0,0,,two
"""


def _sources(folder: Path, *, end_us: int | None = 60_000_000) -> set[tuple[str, str | None, str]]:
    media = folder / "talk.mp4"
    said, problems = read_sidecars(find_sidecars(media), media=media, end_us=end_us)
    assert problems == ()
    texts: dict[tuple[str, str | None], list[str]] = {}
    for one in said:
        texts.setdefault((one.source, one.language), []).append(one.text)
    return {(*key, " ".join(lines)) for key, lines in texts.items()}


def test_each_text_has_its_own_source(tmp_path: Path) -> None:
    for name in ("srt", "en.srt", "en-US.srt", "en.forced.srt", "en.sdh.srt", "hi.srt", "en.hi.vtt", "default.ass"):
        said = ASS.replace("one", name) if name.endswith("ass") else WORDS.format(name, name)
        (tmp_path / f"talk.{name}").write_text(said)
    (tmp_path / "talk.txt").write_text("the whole talk")
    assert _sources(tmp_path) == {
        ("sidecar", None, "default.ass two"),
        ("sidecar:2", None, "srt srt"),
        ("sidecar", "en", "en.srt en.srt"),
        ("sidecar", "en-US", "en-US.srt en-US.srt"),
        ("sidecar", "hi", "hi.srt hi.srt"),
        ("sidecar:sdh", "en", "en.hi.vtt en.hi.vtt"),
        ("sidecar:sdh:2", "en", "en.sdh.srt en.sdh.srt"),
        ("sidecar:forced", "en", "en.forced.srt en.forced.srt"),
        ("sidecar:untimed", None, "the whole talk"),
    }


def test_all_that_a_recogniser_writes_is_one_text(tmp_path: Path) -> None:
    (tmp_path / "talk.srt").write_text(WORDS.format("one", "two"))
    (tmp_path / "talk.ass").write_text(ASS)
    (tmp_path / "talk.txt").write_text("one\ntwo\n")
    segments = [{"start": 1.0, "end": 2.0004, "text": " one"}, {"start": 2.0, "end": 3, "text": " two"}]
    segments[0]["words"] = [{"word": " one", "start": 1.0, "end": 1.5}]
    (tmp_path / "talk.json").write_text(json.dumps({"segments": segments, "language": "en"}))
    assert _sources(tmp_path) == {("sidecar", "en", "one two")}
    said, _ = read_sidecars(find_sidecars(tmp_path / "talk.mp4"), media=tmp_path / "talk.mp4", end_us=9_000_000)
    assert [word.word for word in said[0].words] == ["one"]


def test_a_plain_text_lasts_as_long_as_its_media(tmp_path: Path) -> None:
    path = tmp_path / "talk.de.txt"
    path.write_bytes("Schöne\r\nGrüße".encode("cp1252"))
    for end_us, lasts in ((5_000_000, 5_000_000), (None, 1), (0, 1)):
        assert read_sidecar(path, end_us=end_us) == (Utterance(0, lasts, "Schöne Grüße", "sidecar", "de"),)
    path.write_text(" \n")
    with pytest.raises(TranscriptionError, match="no words"):
        read_sidecar(path)


def test_the_name_of_the_media_tells_no_language(tmp_path: Path) -> None:
    _write(tmp_path, "the.end.mp4", "the.end.srt")
    path = tmp_path / "the.end.srt"
    assert read_sidecar(path, media=tmp_path / "the.end.mp4")[0].language is None


def test_webvtt_may_state_its_language(tmp_path: Path) -> None:
    path = tmp_path / "a.vtt"
    path.write_bytes(b"WEBVTT\r\nKind: captions\r\nLanguage: pt-br\r\n\r\n00:01.000 --> 00:02.000\r\nx\r\n")
    assert read_sidecar(path)[0].language == "pt-BR"


def test_cues_past_the_end_are_cut_or_dropped_and_told(tmp_path: Path) -> None:
    path = tmp_path / "talk.srt"
    path.write_text(WORDS.format("one", "two"))
    said, ((where, error),) = read_sidecars([path], end_us=1_500_000)
    assert [(one.start_us, one.end_us, one.text) for one in said] == [(1_000_000, 1_500_000, "one")]
    assert where == path
    assert "1 cue of 2" in str(error)
    said, problems = read_sidecars([path], end_us=500_000)
    assert (said, len(problems)) == ((), 1)


def test_a_json_that_is_no_transcript_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "talk.srt").write_text(WORDS.format("one", "two"))
    (tmp_path / "talk.json").write_text('{"title": "a talk", "views": 7}')
    said, ((path, error),) = read_sidecars(find_sidecars(tmp_path / "talk.mp4"), end_us=None)
    assert (len(said), path.name) == (2, "talk.json")
    assert "'segments'" in str(error)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(sorted(SIDECAR_SUFFIXES)),
    cut=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=20),
)
def test_damaged_files_are_rows_or_our_errors(
    tmp_path: Path, suffix: str, cut: float, flips: list[tuple[float, int]]
) -> None:
    whole = {
        ".srt": WORDS.format("é", "<i>x</i>"),
        ".vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ä>x<00:01.500> y\n",
        ".json": json.dumps([{"start": 0, "end": 1, "text": "é", "words": [{"word": "é", "start": 0, "end": 1}]}]),
        ".txt": "é x",
    }
    content = bytearray(whole.get(suffix, ASS).encode())
    content = content[: int(cut * len(content))]
    for place, value in flips:
        content[int(place * len(content)) : int(place * len(content)) + 1] = bytes([value])
    path = tmp_path / f"talk{suffix}"
    path.write_bytes(content)
    said, _ = read_sidecars([path], end_us=10_000_000)
    for one in said:
        assert 0 <= one.start_us < one.end_us <= 10_000_000
        assert one.text.encode()
