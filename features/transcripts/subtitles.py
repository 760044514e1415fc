"""SubRip and WebVTT as people write them: any encoding, odd breaks, tags, cues that make no sense."""

from __future__ import annotations

import codecs
import html
import re
from typing import TYPE_CHECKING, NamedTuple

from features.errors import TranscriptionError
from features.identity import MICROSECONDS
from features.records import Utterance

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_TIMING = re.compile(
    r"^\s*(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?\s*-{1,2}>\s*"
    r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
)
_VOICE = re.compile(r"<v(?:\.[^\s>]*)?\s+([^>]+)>")
_TAG = re.compile(r"</?(?:[A-Za-z][^<>]*|\d[\d:.]*)?>")
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")
_BREAK = re.compile(r"\\[Nnh]")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOK_BYTES = 4096


class _Cue(NamedTuple):
    start_us: int
    end_us: int
    lines: tuple[str, ...]


def read_text(path: Path) -> str:
    """Text of a file in UTF-8, UTF-16 (with or without a mark), or else Windows-1252.

    Raises:
        TranscriptionError: The file cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        message = f"cannot read {str(path)!r} ({error.strerror or error}); check that it exists and may be read"
        raise TranscriptionError(message) from error
    return decode_text(content)


def decode_text(content: bytes) -> str:
    """Text of bytes in UTF-8, UTF-16 (with or without a mark), or else Windows-1252."""
    encoding = _encoding_of(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def parse_subtitles(
    content: str, *, name: str, source: str = "sidecar", language: str | None = None
) -> tuple[Utterance, ...]:
    """Utterances of a SubRip or WebVTT text.

    Tags, styles and positions are stripped; cues without text, or that end before they start, are skipped.

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
    utterances = []
    for cue in _cues(_lines_of(content)):
        raw = "\n".join(cue.lines)
        text = plain_text(raw)
        if text and cue.end_us > cue.start_us:
            utterances.append(Utterance(cue.start_us, cue.end_us, text, source, language, speaker_of(raw)))
    if not utterances:
        message = f"no usable cue in {name!r}; check that it is a SubRip (.srt) or WebVTT (.vtt) text, or remove it"
        raise TranscriptionError(message)
    return tuple(sorted(dict.fromkeys(utterances), key=lambda utterance: (utterance.start_us, utterance.end_us)))


def plain_text(raw: str) -> str:
    """Words of a cue: without tags, styles, entities and line breaks."""
    text = _TAG.sub("", _OVERRIDE.sub("", _BREAK.sub(" ", raw)))
    text = html.unescape(text).replace("\u200e", "").replace("\u200f", "").replace("\ufeff", "")
    return " ".join(text.split())


def speaker_of(raw: str) -> str | None:
    """Who speaks a cue, where a WebVTT voice tag says so."""
    found = _VOICE.search(raw)
    return plain_text(found[1]) or None if found else None


def _encoding_of(content: bytes) -> str:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return encoding
    start = content[:_LOOK_BYTES]
    if start[1::2].count(0) > len(start) // 4:
        return "utf-16-le"
    if start[::2].count(0) > len(start) // 4:
        return "utf-16-be"
    return "utf-8"


def _lines_of(content: str) -> list[str]:
    unified = content.removeprefix("\ufeff").replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    return unified.split("\n")


def _cues(lines: Sequence[str]) -> Iterator[_Cue]:
    position = 0
    while position < len(lines):
        timing = _TIMING.match(lines[position])
        position += 1
        if timing is None:
            continue
        begin = position
        while position < len(lines) and lines[position].strip() and not _TIMING.match(lines[position]):
            position += 1
        text = lines[begin:position]
        if _runs_into_next(lines, position) and text and text[-1].strip().isdigit():
            text = text[:-1]
        yield _Cue(_time_us(timing.groups()[:4]), _time_us(timing.groups()[4:]), tuple(text))


def _runs_into_next(lines: Sequence[str], position: int) -> bool:
    """Whether the blank line before the next cue is missing, so that its index looks like text."""
    return position < len(lines) and bool(lines[position].strip())


def _time_us(parts: Sequence[str | None]) -> int:
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * MICROSECONDS + int(fraction[:6].ljust(6, "0"))
