"""What a cue says, without tags, override blocks, drawings and entities; who says it, and when each word."""

from __future__ import annotations

import html
import itertools
import re
from typing import TYPE_CHECKING, NamedTuple

from features.identity import MICROSECONDS
from features.records import Word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?\s([^<>]+)>")
_TAG = re.compile(r"</?(?:[A-Za-z][^<>]*|\d[\d:.]*)?>")
_LINE_TAG = re.compile(r"<br\s*/?>", re.IGNORECASE)
_OVERRIDE = re.compile(r"\{(?:\\[^{}]*|[A-Za-z]:[^{}]*)\}")
_BLOCK = re.compile(r"(?<!\\)\{([^{}]*)\}")
_DRAWING = re.compile(r"\\p(\d+)")
_BREAK = re.compile(r"\\[Nnh]")
_STAMP = re.compile(r"<(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})\.(\d{1,9})>")
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROLS = "".join(map(chr, (*range(9), *range(14, 28), 127)))
_MARKS = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\ufeff"
_UNSEEN = str.maketrans("", "", _CONTROLS + _MARKS)


class Voice(NamedTuple):
    """A stretch of a cue that one speaker says."""

    speaker: str | None
    raw: str


def plain_text(raw: str) -> str:
    """Words of a SubRip or WebVTT cue: without tags, styles, entities and line breaks."""
    text = _OVERRIDE.sub("", _BREAK.sub(" ", _LINE_TAG.sub(" ", raw)))
    return _tidy(html.unescape(_TAG.sub("", text)))


def plain_ass(raw: str) -> str:
    """Words of an ASS event's text: without override blocks, comments, drawings and line breaks."""
    parts, end, draws = [], 0, False
    for block in _BLOCK.finditer(raw):
        parts.append("" if draws else raw[end : block.start()])
        modes = _DRAWING.findall(block[1])
        draws = int(modes[-1][:4]) > 0 if modes else draws
        end = block.end()
    parts.append("" if draws else raw[end:])
    text = _BREAK.sub(" ", "".join(parts)).replace("\\{", "{").replace("\\}", "}")
    return _tidy(html.unescape(_TAG.sub("", text)))


def speaker_of(raw: str) -> str | None:
    """Who speaks a cue, where a WebVTT voice tag says so."""
    found = _VOICE.search(raw)
    return plain_text(found[1]) or None if found else None


def voices_of(raw: str) -> Iterator[Voice]:
    """A cue by who says it: one stretch, or one a voice tag where there are several."""
    tags = list(_VOICE.finditer(raw))
    if len(tags) < 2:
        yield Voice(speaker_of(raw), raw)
        return
    yield Voice(None, raw[: tags[0].start()])
    for tag, after in zip(tags, [*tags[1:], None], strict=True):
        yield Voice(plain_text(tag[1]) or None, raw[tag.end() : after.start() if after else None])


def words_of(raw: str, start_us: int, end_us: int) -> tuple[Word, ...]:
    """Times of a cue's words, where WebVTT stamps stand before each but the first; else none.

    Args:
        raw: The cue's text as it stands in the file.
        start_us: When the cue starts: its first word too.
        end_us: When it ends: its last word too.
    """
    stamps = list(_STAMP.finditer(raw))
    times = [start_us, *(time_us(stamp.groups()) for stamp in stamps), end_us]
    begins = [0, *(stamp.end() for stamp in stamps)]
    ends = [*(stamp.start() for stamp in stamps), len(raw)]
    texts = [plain_text(raw[begin:end]) for begin, end in zip(begins, ends, strict=True)]
    rises = all(start < end for start, end in itertools.pairwise(times))
    if not stamps or not rises or any(" " in text for text in texts):
        return ()
    return tuple(Word(text, *times[index : index + 2]) for index, text in enumerate(texts) if text)


def time_us(parts: Sequence[str | None]) -> int:
    """Microseconds of hours, minutes, seconds and the digits after the point; what is not there is zero."""
    hours, minutes, seconds, fraction = (part or "0" for part in parts)
    whole = (int(hours) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * MICROSECONDS + int(fraction[:6].ljust(6, "0"))


def _tidy(text: str) -> str:
    return " ".join(_SURROGATE.sub("\ufffd", text.translate(_UNSEEN)).split())
