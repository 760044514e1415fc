from __future__ import annotations

from typing import TYPE_CHECKING

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import TranscriptionError
from features.records import Utterance
from features.transcripts.styles import plain_ass
from features.transcripts.subtitles import decode_text, parse_subtitles, plain_text, read_text

if TYPE_CHECKING:
    from pathlib import Path

SRT = """1
00:00:01,000 --> 00:00:02,500
Hello <i>there</i>,
{\\an8}you &amp; me.

2
00:01:00,040 --> 00:01:02,000
Second
"""

VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE a remark
over two lines

intro
00:01.000 --> 00:02.500 align:start position:10%
<v Anna>Hi <c.loud>there</c> <00:00:02.000>you</v>

01:00:00.000 --> 01:00:01.000
Late &lt;i&gt;
"""


def _parse(content: str) -> tuple[Utterance, ...]:
    return parse_subtitles(content, name="a.srt")


def test_subrip() -> None:
    assert _parse(SRT) == (
        Utterance(1_000_000, 2_500_000, "Hello there, you & me.", "sidecar"),
        Utterance(60_040_000, 62_000_000, "Second", "sidecar"),
    )


def test_webvtt() -> None:
    assert _parse(VTT) == (
        Utterance(1_000_000, 2_500_000, "Hi there you", "sidecar", None, "Anna"),
        Utterance(3_600_000_000, 3_601_000_000, "Late <i>", "sidecar"),
    )


@pytest.mark.parametrize("newline", ["\r\n", "\r", "\r\r\n"])
def test_line_ends_do_not_matter(newline: str) -> None:
    assert _parse(SRT.replace("\n", newline)) == _parse(SRT)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252"])
def test_encodings_are_told_apart(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes("1\n00:00:01,000 --> 00:00:02,000\nÇa va être là « voilà »\n".encode(encoding))
    assert _parse(read_text(path))[0].text == "Ça va être là « voilà »"


def test_bad_cues_are_skipped() -> None:
    content = """
00:00:01,000 --> 00:00:02,000
no index

7
00:00:05,000 --> 00:00:04,000
ends before it starts

8
00:00:xx,000 --> 00:00:04,000
no time

9
00:00:06,000 --> 00:00:07,000
<i></i>

00:00:08,5 --> 00:00:09,000
half a second
3
00:00:10,000 --> 00:00:11,000
no blank line before
"""
    cues = [(utterance.start_us, utterance.end_us, utterance.text) for utterance in _parse(content)]
    assert cues == [
        (1_000_000, 2_000_000, "no index"),
        (5_000_000, 8_500_000, "ends before it starts"),
        (8_500_000, 9_000_000, "half a second"),
        (10_000_000, 11_000_000, "no blank line before"),
    ]


def test_utterances_are_sorted_and_said_once() -> None:
    content = "00:05.0 --> 00:06.0\nb\n\n00:01.0 --> 00:02.0\na\n\n00:05.0 --> 00:06.0\nb\n"
    assert [utterance.text for utterance in _parse(content)] == ["a", "b"]


@pytest.mark.parametrize("content", ["", "WEBVTT\n", "just words\n", "1\n00:00:01,000 --> 00:00:02,000\n\n"])
def test_a_text_without_cues_is_an_error_that_names_it(content: str) -> None:
    with pytest.raises(TranscriptionError, match=r"no usable cue in 'b\.srt'"):
        parse_subtitles(content, name="b.srt")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TranscriptionError, match=r"none\.srt"):
        read_text(tmp_path / "none.srt")


@pytest.mark.parametrize(
    ("raw", "plain"),
    [("I <3 you", "I <3 you"), ("a < b > c", "a < b > c"), ("{\\pos(1,2)}x\\Ny", "x y"), ("&nbsp;x&#39;s", "x's")],
)
def test_plain_text(raw: str, plain: str) -> None:
    assert plain_text(raw) == plain


@given(st.binary(max_size=400))
def test_any_bytes_parse_or_are_refused(content: bytes) -> None:
    try:
        utterances = _parse(decode_text(content))
    except TranscriptionError:
        return
    assert all(utterance.start_us < utterance.end_us and utterance.text for utterance in utterances)


ASS = """[Script Info]
Title: x

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not, said
Dialogue: 1,0:00:03.50,0:00:04.00,Default,Bob,0,0,0,,{\\i1}Late,{\\i0} you\\Nknow{a remark}\\hall
Dialogue: 0,0:00:01.00,0:00:02.25,Default,,0,0,0,,{\\k20}Ka{\\k30}ra{\\k25}oke \\{x\\}
Dialogue: 1,0:00:01.00,0:00:02.25,Default,,0,0,0,,{\\blur3}Ka{\\k30}raoke \\{x\\}
Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,{\\p1}m 0 0 l 10 10{\\p0}
Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,{\\pos(1,2)\\p1}m 0 0{\\p0}seen
"""


def test_ass() -> None:
    wanted = (
        Utterance(1_000_000, 2_250_000, "Karaoke {x}", "sidecar"),
        Utterance(3_500_000, 4_000_000, "Late, you know all", "sidecar", None, "Bob"),
        Utterance(5_000_000, 6_000_000, "seen", "sidecar"),
    )
    assert _parse(ASS) == wanted
    assert _parse(ASS.replace("\n", "\r\n")) == wanted


def test_ssa_names_its_fields_in_another_order() -> None:
    content = """[Events]
Format: Marked, Start, End, Name, Text
Dialogue: Marked=0,0:00:01.00,1:00:02.00,Ann,Hi, you
"""
    assert _parse(content) == (Utterance(1_000_000, 3_602_000_000, "Hi, you", "sidecar", None, "Ann"),)


def test_several_voices_in_one_cue() -> None:
    said = _parse("WEBVTT\n\n00:01.000 --> 00:02.000\n<v Ann>Hi</v>\n<v Bob>Yo")
    assert [(one.speaker, one.text) for one in said] == [("Ann", "Hi"), ("Bob", "Yo")]


def test_what_is_no_cue_of_webvtt() -> None:
    content = """\ufeffWEBVTT
X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:0

REGION
id:fred

NOTE
00:00 is not a time

1
00:01.000 --> 00:02.000 region:fred align:left
said

NOTE a remark after it

STYLE
::cue { color: red }
"""
    assert [one.text for one in _parse(content)] == ["said"]


def test_subrip_goes_on_over_an_empty_line() -> None:
    content = "1\n00:00:01,000 --> 00:00:02,000\na\n\nb\n\n2\n00:00:03,000 --> 00:00:04,000\n42\n\n"
    assert [one.text for one in _parse(content)] == ["a b", "42"]
    assert [one.text for one in _parse(content.replace("\n", "\n\n"))] == ["a b", "42"]


@pytest.mark.parametrize("name", ["a.srt", "a.vtt", "a.ass"])
def test_files_agree_with_libav(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    content = {"a.srt": SRT, "a.vtt": VTT.replace("&lt;i&gt;", "&amp;"), "a.ass": ASS.replace(r"\{x\}", "")}[name]
    path.write_text(content, encoding="utf-8")
    found = set()
    with av.open(str(path)) as container:
        for packet in container.demux():
            for event in container.streams[0].codec_context.decode2(packet) or () if packet.size else ():
                text = plain_ass(event.ass.decode().split(",", 8)[-1])
                times = (
                    round(float(at * packet.time_base * 1000)) for at in (packet.pts, packet.pts + packet.duration)
                )
                found.add((*times, text))
    ours = {(one.start_us // 1000, one.end_us // 1000, one.text) for one in _parse(content)}
    assert ours == {cue for cue in found if cue[-1]}
