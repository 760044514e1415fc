"""Transcripts in JSON as recognisers and editors write them: Whisper and its kin, whisper.cpp, or a plain list."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from features.errors import TranscriptionError
from features.identity import MICROSECONDS
from features.records import Word
from features.transcripts.cues import Cue, utterances_of
from features.transcripts.language import language_named
from features.transcripts.styles import plain_text, time_us

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from features.records import Utterance

_LISTS = ("segments", "chunks", "transcription", "utterances", "cues")
_EXPECTED = (
    "an object with 'segments', a list of {'start', 'end', 'text'} in seconds and if you like 'speaker' and 'words', "
    "as Whisper writes it, or such a list alone"
)
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?")
_LATEST_SECONDS = 366 * 86_400
_SHOWN_KEYS = 8


def parse_json(
    content: str, *, name: str, source: str = "sidecar", language: str | None = None
) -> tuple[Utterance, ...]:
    """Utterances of a transcript in JSON, with the times of its words where it has them.

    Args:
        content: The whole text of the file.
        name: What to call it in an error.
        source: `source` of the utterances.
        language: BCP 47 tag of the utterances; where None, what the transcript states.

    Returns:
        Utterances by start.

    Raises:
        TranscriptionError: It is no JSON, or has not the keys that are expected, or says nothing.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        message = f"{name!r} is no JSON ({str(error)[:200]}); write it again, or rename or remove it"
        raise TranscriptionError(message) from error
    items = next((document[key] for key in _LISTS if _is_list(document, key)), document)
    if not isinstance(items, list) or not items:
        raise _unexpected(name, "it", document)
    cues = [_cue(item, index, name) for index, item in enumerate(items)]
    utterances = utterances_of(cues, source, language or _stated(document))
    if not utterances:
        message = f"nothing is said in {name!r} ({len(items)} items without words); remove it"
        raise TranscriptionError(message)
    return utterances


def _is_list(document: object, key: str) -> bool:
    return isinstance(document, dict) and isinstance(document.get(key), list)


def _stated(document: object) -> str | None:
    if not isinstance(document, dict):
        return None
    result = document.get("result")
    stated = document.get("language", result.get("language") if isinstance(result, dict) else None)
    return language_named(stated) if isinstance(stated, str) else None


def _cue(item: object, index: int, name: str) -> Cue:
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        raise _unexpected(name, f"item {index}", item)
    start_us, end_us = _times(item)
    if start_us is None:
        raise _unexpected(name, f"item {index}", item)
    speaker = item.get("speaker")
    told = plain_text(str(speaker)) if isinstance(speaker, (str, int)) else ""
    end_us = start_us if end_us is None else end_us
    return Cue(start_us, end_us, (plain_text(item["text"]),), told or None, tuple(_words(item.get("words"))))


def _times(item: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Start and end as each kind has them: `start` and `end`, a pair `timestamp`, or `offsets` in milliseconds."""
    pair, offsets = item.get("timestamp"), item.get("offsets")
    if isinstance(pair, list) and len(pair) == 2:
        return _time(pair[0]), _time(pair[1])
    if isinstance(offsets, dict) and "start" not in item:
        return _time(offsets.get("from"), 1000), _time(offsets.get("to"), 1000)
    return _time(item.get("start")), _time(item.get("end"))


def _time(value: object, per_second: int = 1) -> int | None:
    """Microseconds of seconds or of `1:02:03.4`; None for no time, or one beyond sense. Before zero is zero."""
    if isinstance(value, str):
        clock = _CLOCK.fullmatch(value.strip())
        return time_us(clock.groups()) if clock else _time(_number(value), per_second)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not -_LATEST_SECONDS <= value / per_second <= _LATEST_SECONDS:  # also NaN
        return None
    return max(round(value * MICROSECONDS / per_second), 0)


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _words(items: object) -> Iterator[Word]:
    """Words that have times; others are only in the text."""
    for item in items if isinstance(items, list) else ():
        text = item.get("word", item.get("text")) if isinstance(item, dict) else None
        if not isinstance(text, str):
            continue
        start_us, end_us = _times(item)
        word = plain_text(text)
        if word and start_us is not None and end_us is not None and start_us <= end_us:
            yield Word(word, start_us, end_us, _confidence(item))


def _confidence(item: Mapping[str, Any]) -> float | None:
    value = next((item[key] for key in ("probability", "score", "confidence") if key in item), None)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) and 0 <= value <= 1 else None


def _unexpected(name: str, what: str, value: object) -> TranscriptionError:
    keys = ", ".join(map(repr, list(value)[:_SHOWN_KEYS])) if isinstance(value, dict) else type(value).__name__
    return TranscriptionError(
        f"{name!r} is no transcript that is known ({what} has {keys or 'no keys'}); expected is {_EXPECTED}; "
        "rename it if it is something else"
    )
