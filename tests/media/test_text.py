from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from av.stream import Disposition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import MediaError
from features.media.decode import decode_media
from features.media.text import _texts_in
from features.transcripts.choice import best_text
from features.transcripts.subtitles import parse_subtitles, read_text
from tests.media.tracks import TextTrack, write_tracks

if TYPE_CHECKING:
    from pathlib import Path

    from features.records import DecodedMedia

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")

SRT = """1
00:00:00,500 --> 00:00:01,500
{\\an8}<i>Hi</i> you,
a &amp; c

2
00:00:02,000 --> 00:00:03,250
- Où?
- Là.

3
00:00:01,000 --> 00:00:02,500
over both
"""


def _said(decoded: DecodedMedia) -> list[tuple[str, str | None, str]]:
    return [(utterance.source, utterance.language, utterance.text) for utterance in decoded.utterances]


def test_all_tracks_are_kept_and_the_best_is_chosen(tmp_path: Path) -> None:
    path = write_tracks(
        tmp_path / "a.mkv",
        TextTrack("subrip", [(500, 1500, b"[door] Hi")], "eng", Disposition.hearing_impaired),
        TextTrack("subrip", [(500, 1500, b"Sign")], "eng", Disposition.forced),
        TextTrack("subrip", [(500, 1500, b"Salut")], "fre"),
        TextTrack("subrip", [(500, 1500, b"Hi")], "eng", Disposition.default),
        TextTrack("subrip", [(500, 1500, b"Hi")], "eng"),
        TextTrack("subrip", [(500, 1500, b"Hello")], "eng"),
        TextTrack("subrip", [(500, 1500, b"?")], "und"),
    )
    decoded = decode_media(path)
    assert sorted(_said(decoded), key=str) == [
        ("subtitle", "en", "Hi"),  # twice in the file
        ("subtitle", "fr", "Salut"),
        ("subtitle", None, "?"),
        ("subtitle:2", "en", "Hello"),
        ("subtitle:forced", "en", "Sign"),
        ("subtitle:sdh", "en", "[door] Hi"),
    ]
    assert decoded.info.language == "en"
    assert decoded.missed == ()
    for language, text in ((None, "Hi"), ("en", "Hi"), ("fr", "Salut"), ("fr-CA", "Salut")):
        assert [utterance.text for utterance in best_text(decoded.utterances, language=language)] == [text]


def test_bitmap_tracks_cost_only_themselves(tmp_path: Path) -> None:
    path = write_tracks(
        tmp_path / "a.mkv",
        TextTrack("dvd_subtitle", [(0, 900, b"\x16\x00\x00")], "spa"),
        TextTrack("subrip"),
        TextTrack("hdmv_pgs_subtitle", []),
    )
    decoded = decode_media(path)
    assert decoded.info.has_video
    assert _said(decoded) == [("subtitle", None, "Hi")]
    assert [(missed.part, missed.error) for missed in decoded.missed] == [
        ("track:1", "TranscriptionError"),
        ("track:3", "TranscriptionError"),
    ]
    assert "subtitle track 1 (dvd_subtitle, es)" in decoded.missed[0].message
    assert "a.mkv" in decoded.missed[0].message
    assert "hdmv_pgs_subtitle" in decoded.missed[1].message
    assert all("unsupported" in missed.message for missed in decoded.missed)


def test_webvtt_tells_who_speaks_and_keeps_what_looks_like_a_tag(tmp_path: Path) -> None:
    cue = b"<v Anna>Hi <c.loud>there</c></v> <v.x Bob Lee>a < b &lt;i&gt;</v>"
    decoded = decode_media(write_tracks(tmp_path / "a.mkv", TextTrack("webvtt", [(0, 900, cue)])))
    assert [(one.speaker, one.text) for one in decoded.utterances] == [("Anna", "Hi there"), ("Bob Lee", "a < b <i>")]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1251"])
def test_the_encoding_is_that_of_the_whole_track(tmp_path: Path, encoding: str) -> None:
    lines = ["Привет, как дела?", "Да.", "Я не знаю, что сказать."]
    packets = [(1000 * index, 1000 * index + 900, line.encode(encoding)) for index, line in enumerate(lines)]
    decoded = decode_media(write_tracks(tmp_path / "a.mkv", TextTrack("subrip", packets, "rus")))
    assert [utterance.text for utterance in decoded.utterances] == lines


def test_cues_past_the_end_are_cut_or_dropped_and_told(tmp_path: Path) -> None:
    packets = [(0, 500, b"a"), (4500, 6000, b"a little longer"), (4800, 36_000_000, b"for ever"), (7000, 8000, b"late")]
    decoded = decode_media(write_tracks(tmp_path / "a.mkv", TextTrack("subrip", packets)))
    assert [(one.end_us, one.text) for one in decoded.utterances] == [
        (500_000, "a"),
        (6_000_000, "a little longer"),
        (5_000_000, "for ever"),
    ]
    assert decoded.info.duration_us == 6_000_000
    assert [missed.part for missed in decoded.missed] == ["track:1"]
    assert "1 cue of 4" in decoded.missed[0].message


def test_a_cue_without_an_end_lasts_to_the_next(tmp_path: Path) -> None:
    packets = [(0, 0, b"a"), (1000, 1000, b"b"), (3000, 3500, b"c")]
    decoded = decode_media(write_tracks(tmp_path / "a.mkv", TextTrack("subrip", packets)))
    assert [(one.start_us, one.end_us) for one in decoded.utterances][:2] == [(0, 1_000_000), (1_000_000, 3_000_000)]


def test_webvtt_in_mp4_boxes() -> None:
    def box(kind: bytes, content: bytes) -> bytes:
        return (len(content) + 8).to_bytes(4, "big") + kind + content

    sample = box(b"vttc", box(b"sttg", b"line:0") + box(b"payl", b"Hi")) + box(b"vttc", box(b"payl", b"you"))
    assert list(_texts_in(sample)) == [b"Hi", b"you"]
    assert list(_texts_in(box(b"vtte", b""))) == []
    assert list(_texts_in(b"plain words")) == [b"plain words"]


def _ffmpeg(*arguments: str | Path) -> None:
    subprocess.run(["ffmpeg", "-y", "-v", "error", *map(str, arguments)], check=True)


@needs_ffmpeg
@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "subrip"), ("a.mkv", "ass"), ("a.mkv", "webvtt"), ("a.mp4", "mov_text")]
)
def test_tracks_agree_with_ffmpeg(tmp_path: Path, name: str, codec: str) -> None:
    source, media, out = tmp_path / "in.srt", tmp_path / name, tmp_path / "out.srt"
    content = SRT if codec != "mov_text" else SRT.rpartition("3\n")[0]  # which cannot overlap
    source.write_text(content, encoding="utf-8")
    pictures = ("-f", "lavfi", "-i", "testsrc=d=4:s=64x48:r=5")
    _ffmpeg(*pictures, "-i", source, "-map", 0, "-map", 1, "-c:s", codec, "-metadata:s:s:0", "language=fre", media)
    _ffmpeg("-i", media, "-map", "0:s:0", out)
    said = decode_media(media).utterances
    assert said == parse_subtitles(read_text(out), name="out.srt", source="subtitle", language="fr")
    wanted = parse_subtitles(content, name="in.srt", source="subtitle", language="fr")
    assert [(one.start_us, one.end_us, one.text) for one in said] == [
        (one.start_us, one.end_us, one.text) for one in wanted
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("text")
    cues = [(100 * index, 100 * index + 90, f"line {index} <b>é</b>".encode()) for index in range(20)]
    events = [(start, end, b"%d,0,Default,Bob,0,0,0,,{\\b1}%s" % (start, text)) for start, end, text in cues]
    tracks = TextTrack("subrip", cues), TextTrack("webvtt", cues), TextTrack("ass", events)
    return write_tracks(folder / "whole.mkv", *tracks, seconds=2).read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.floats(0.3, 1), flips=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=20))
def test_damaged_tracks_are_rows_or_our_errors(
    tmp_path: Path, whole: bytes, cut: float, flips: list[tuple[float, int]]
) -> None:
    content = bytearray(whole[: int(cut * len(whole))])
    for place, value in flips:
        content[int(place * len(content))] = value
    path = tmp_path / "damaged.mkv"
    path.write_bytes(content)
    try:
        decoded = decode_media(path)
    except MediaError:
        return
    for utterance in decoded.utterances:
        assert 0 <= utterance.start_us < utterance.end_us <= decoded.info.duration_us
        assert utterance.text
        utterance.text.encode()
