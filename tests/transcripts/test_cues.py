from __future__ import annotations

from features.records import Utterance, Word
from features.transcripts.cues import Cue, fit_to, utterances_of
from features.transcripts.subtitles import parse_subtitles

YOUTUBE = """WEBVTT
Kind: captions
Language: en

00:00:00.160 --> 00:00:02.470 align:start position:0%
 
hello<00:00:00.480><c> everyone</c>

00:00:02.470 --> 00:00:02.480 align:start position:0%
hello everyone
 

00:00:02.480 --> 00:00:04.550 align:start position:0%
hello everyone
welcome<00:00:03.000><c> to</c>

00:00:04.550 --> 00:00:04.560 align:start position:0%
welcome to
 

00:00:04.560 --> 00:00:06.000 align:start position:0%
welcome to
the<00:00:05.000><c> show</c>
"""  # noqa: W293 - as it comes: lines of one space are part of a cue


def _texts(cues: list[Cue]) -> list[tuple[int, int, str]]:
    return [(one.start_us, one.end_us, one.text) for one in utterances_of(cues, "sidecar")]


def test_rolling_captions_are_said_once_with_the_times_of_their_words() -> None:
    said = parse_subtitles(YOUTUBE, name="a.vtt")
    assert [(one.start_us, one.text) for one in said] == [
        (160_000, "hello everyone"),
        (2_480_000, "welcome to"),
        (4_560_000, "the show"),
    ]
    assert said[1].words == (Word("welcome", 2_480_000, 3_000_000), Word("to", 3_000_000, 4_550_000))


def test_lines_that_roll_up() -> None:
    lines = "abcdef"
    cues = [Cue(index, index + 1, (lines[index], lines[index + 1])) for index in range(5)]
    assert _texts(cues) == [(0, 1, "a b"), (1, 2, "c"), (2, 3, "d"), (3, 4, "e"), (4, 5, "f")]


def test_text_that_grows_while_it_is_typed() -> None:
    typed = [Cue(index, index + 1, ("hello world"[: 2 * index + 1],)) for index in range(6)]
    assert _texts(typed) == [(0, 6, "hello world")]


def test_a_line_whose_highlight_moves() -> None:
    assert _texts([Cue(index, index + 1, ("one two three four",)) for index in range(4)]) == [
        (0, 4, "one two three four")
    ]


def test_what_is_said_twice_is_no_rolling_caption() -> None:
    cues = [Cue(0, 1, ("No!",)), Cue(1, 2, ("No!",)), Cue(2, 3, ("Yes.",))]
    assert _texts(cues) == [(0, 1, "No!"), (1, 2, "No!"), (2, 3, "Yes.")]


def test_order_overlaps_repeats_and_missing_ends() -> None:
    cues = [
        Cue(9_000_000, 0, ("last",)),
        Cue(2_000_000, 2_000_000, ("zero",)),
        Cue(0, 3_000_000, ("long",)),
        Cue(0, 3_000_000, ("long",)),
        Cue(1_000_000, 500_000, ("back",)),
        Cue(1_000_000, 1_500_000, ("", "")),
    ]
    assert _texts(cues) == [
        (0, 3_000_000, "long"),
        (1_000_000, 2_000_000, "back"),
        (2_000_000, 7_000_000, "zero"),
        (9_000_000, 14_000_000, "last"),
    ]


def test_text_ends_with_its_media() -> None:
    words = (Word("a", 0, 4), Word("b", 4, 8), Word("c", 12, 15))
    said = (Utterance(0, 15, "a b c", "sidecar", words=words), Utterance(10, 12, "d", "sidecar"))
    cut, dropped = fit_to(said, 10)
    assert dropped == 1
    assert cut == (Utterance(0, 10, "a b c", "sidecar", words=words[:2]),)
    assert fit_to(said, None) == (said, 0)
    assert fit_to(said[:1], 10, grace_us=5) == (said[:1], 0)
