"""A text from a file of its own: what is said over all of a media, or at the times of its subtitles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.errors import TranscriptionError
from features.records import Utterance
from features.transcripts.subtitles import parse_subtitles, read_text

if TYPE_CHECKING:
    from pathlib import Path

_SUBTITLE_SUFFIXES = frozenset({".ass", ".srt", ".ssa", ".vtt"})


def read_words(path: Path, duration_us: int, language: str | None = None) -> tuple[Utterance, ...]:
    """Words of a text file over all of a media; a SubRip, WebVTT or ASS text keeps its own times.

    Raises:
        TranscriptionError: It cannot be read, or is no text, or empty.
    """
    content = read_text(path)
    if path.suffix.lower() in _SUBTITLE_SUFFIXES:
        return parse_subtitles(content, name=str(path), language=language)
    return words_over(content, duration_us, name=str(path), language=language)


def words_over(content: str, duration_us: int, *, name: str, language: str | None = None) -> tuple[Utterance, ...]:
    """A text that is said from the start to the end.

    Args:
        content: The text.
        duration_us: Length of the media.
        name: What to call it in an error.
        language: BCP 47 tag of the text, or None.

    Raises:
        TranscriptionError: It has no words.
    """
    words = " ".join(content.removeprefix("\ufeff").split())
    if not words:
        message = f"no words in {name!r} ({len(content)} characters of white space); give a text or leave it out"
        raise TranscriptionError(message)
    return (Utterance(0, duration_us, words, "sidecar", language),)
