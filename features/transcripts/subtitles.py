"""SubRip, WebVTT and ASS as people write them: odd breaks, tags, cues that make no sense; told apart by content."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING

from features.errors import TranscriptionError
from features.transcripts.cues import Cue, utterances_of
from features.transcripts.encoding import decode_text, read_text
from features.transcripts.styles import plain_ass, plain_text, speaker_of, time_us, voices_of, words_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.records import Utterance

__all__ = ["cues_of_text", "decode_text", "parse_subtitles", "plain_text", "read_text", "speaker_of"]

_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
_TIMING = re.compile(rf"^\s*{_TIME}\s*-{{1,2}}>\s*{_TIME}")
_ARROW = re.compile(r"^\s*\d.*-->")  # a timing, perhaps a broken one
_ASS_TIME = re.compile(_TIME)
_ASS_LINE = re.compile(r"^\s*(Format|Dialogue)\s*:\s*(.*)$", re.IGNORECASE)
_ASS_FIELDS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
_ASS_START = re.compile(
    r"^[ \t]*(?:\[Script Info\]|\[Events\]|\[V4\+? Styles\]|Dialogue[ \t]*:)", re.IGNORECASE | re.MULTILINE
)
_STAMPED = re.compile(r"<\d[\d:]*\.\d+>")


def parse_subtitles(
    content: str, *, name: str, source: str = "sidecar", language: str | None = None
) -> tuple[Utterance, ...]:
    """Utterances of a SubRip, WebVTT or ASS text.

    Tags, styles and positions are stripped; cues without text are skipped. One that ends before it starts lasts to the
    next.

    Args:
        content: The whole text, whatever its line ends.
        name: What to call it in an error.
        source: `source` of the utterances.
        language: BCP 47 tag of the utterances, or None.

    Returns:
        Utterances by start, on the text's own clock.

    Raises:
        TranscriptionError: There is no usable cue in it.
    """
    lines = _lines_of(content)
    if lines[0].lstrip().startswith("WEBVTT"):
        cues = _vtt_cues(lines)
    elif _ASS_START.search(content) and not any(map(_TIMING.match, lines)):
        cues = _ass_cues(lines)
    else:
        cues = _srt_cues(lines)
    utterances = utterances_of(cues, source, language)
    if not utterances:
        message = (
            f"no usable cue in {name!r}; check that it is a SubRip (.srt), WebVTT (.vtt) or ASS (.ass, .ssa) text, "
            "or remove it"
        )
        raise TranscriptionError(message)
    return utterances


def cues_of_text(start_us: int, end_us: int, lines: Sequence[str]) -> Iterator[Cue]:
    """A cue of SubRip or WebVTT as it stands in the file, by who says it."""
    words = words_of("\n".join(line for line in lines if _STAMPED.search(line)), start_us, end_us)
    for speaker, raw in voices_of("\n".join(lines)):
        yield Cue(start_us, end_us, tuple(map(plain_text, raw.split("\n"))), speaker, words)


def _lines_of(content: str) -> list[str]:
    unified = content.removeprefix("\ufeff").replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    return unified.split("\n")


def _vtt_cues(lines: Sequence[str]) -> Iterator[Cue]:
    """Cues end at an empty line; what follows up to the next timing is a NOTE, a STYLE, a REGION or a name."""
    for start_us, end_us, text in _timed(lines):
        yield from cues_of_text(start_us, end_us, text[: text.index("")] if "" in text else text)


def _srt_cues(lines: Sequence[str]) -> Iterator[Cue]:
    """Cues last to the next timing, over empty lines too."""
    for start_us, end_us, text in _timed(lines):
        yield from cues_of_text(start_us, end_us, [line for line in text if line.strip()])


def _timed(lines: Sequence[str]) -> Iterator[tuple[int, int, list[str]]]:
    """Start, end and all lines up to the next timing, without the number that stands before it."""
    arrows = [index for index, line in enumerate(lines) if _ARROW.match(line)]
    for index, after in itertools.zip_longest(arrows, arrows[1:]):
        timing = _TIMING.match(lines[index])
        if timing is not None:
            text = list(lines[index + 1 : after])
            times = timing.groups()
            yield time_us(times[:4]), time_us(times[4:]), text if after is None else _without_number(text)


def _without_number(text: list[str]) -> list[str]:
    """Lines before a timing without its number: a last line of digits right before it, or after an empty line."""
    end = len(text)
    while end and not text[end - 1].strip():
        end -= 1
    alone = end == len(text) or (end > 1 and not text[end - 2].strip())
    return text[: end - 1] if end and alone and text[end - 1].strip().isdigit() else text


def _ass_cues(lines: Sequence[str]) -> Iterator[Cue]:
    """Events that are said: `Dialogue` lines, their fields as the last `Format` line before them names them."""
    fields: Sequence[str] = _ASS_FIELDS
    for line in lines:
        found = _ASS_LINE.match(line)
        if found is None:
            continue
        if found[1].lower() == "format":
            named = [field.strip().lower() for field in found[2].split(",")]
            fields = named if {"start", "end", "text"} <= set(named) else fields
            continue
        event = dict(zip(fields, found[2].split(",", len(fields) - 1), strict=False))
        start, end = (_ASS_TIME.search(event.get(field, "")) for field in ("start", "end"))
        if start and end and "text" in event:
            speaker = event.get("name", event.get("actor", "")).strip() or None
            yield Cue(time_us(start.groups()), time_us(end.groups()), (plain_ass(event["text"]),), speaker)
