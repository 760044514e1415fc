"""Text tracks of a media: subtitle packets in, utterances out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import av
import av.error

from features.identity import MICROSECONDS
from features.media.probe import StreamClock
from features.records import Utterance
from features.transcripts.language import language_tag
from features.transcripts.subtitles import plain_text, speaker_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST_GUESS_US = 5 * MICROSECONDS
_ASS_FIELDS = 8  # before the text: ReadOrder, Layer, Style, Name, MarginL, MarginR, MarginV, Effect
_ASS_NAME = 3
_DRAWING = "{\\p"


class TextCollector:
    """Utterances of one text stream, styles stripped, on the media's timeline.

    Args:
        stream: A text subtitle stream.
        origin_us: Start of the timeline.
    """

    def __init__(self, stream: av.subtitles.stream.SubtitleStream, origin_us: int) -> None:
        self._codec = stream.codec_context
        self._clock = StreamClock.of(stream.time_base, origin_us)
        self._language = language_tag(stream.language)
        self._utterances: list[Utterance] = []

    def add(self, packet: av.Packet) -> None:
        """Take one packet; one without time or words adds nothing.

        Raises:
            av.error.FFmpegError: The packet cannot be decoded.
        """
        t_us = self._clock.time_us(packet.pts)
        if not packet.size or t_us is None:
            return
        start_us = max(t_us, 0)
        shown_us = self._clock.span_us(packet.duration or 0)
        for text, speaker in self._texts(packet):
            if text:
                end_us = start_us + max(shown_us, 0)
                self._utterances.append(Utterance(start_us, end_us, text, "subtitle", self._language, speaker))

    def finish(self) -> tuple[Utterance, ...]:
        """Utterances by start; one without an end lasts to the next, five seconds at most."""
        ordered = sorted(dict.fromkeys(self._utterances), key=lambda utterance: (utterance.start_us, utterance.end_us))
        starts = [utterance.start_us for utterance in ordered]
        return tuple(
            utterance if utterance.end_us > utterance.start_us else replace(utterance, end_us=_guess_end(starts, index))
            for index, utterance in enumerate(ordered)
        )

    def _texts(self, packet: av.Packet) -> Iterator[tuple[str, str | None]]:
        if self._codec is None:
            raw = _payload(packet)
            yield plain_text(raw), speaker_of(raw)
            return
        for event in self._codec.decode2(packet) or ():
            if event.type in {b"ass", b"text"}:
                yield _words_of(event.ass.decode("utf-8", errors="replace"))


def merge_texts(collectors: list[TextCollector]) -> tuple[Utterance, ...]:
    """Utterances of all text streams by start; what two streams say alike is kept once."""
    utterances = dict.fromkeys(utterance for collector in collectors for utterance in collector.finish())
    return tuple(sorted(utterances, key=lambda utterance: (utterance.start_us, utterance.end_us)))


def _payload(packet: av.Packet) -> str:
    """A packet of a codec that FFmpeg has no name for, where it is text; else nothing."""
    try:
        text = bytes(packet).decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if all(letter.isprintable() or letter in "\r\n\t" for letter in text) else ""


def _words_of(event: str) -> tuple[str, str | None]:
    """Words and speaker of an event in the form that all of FFmpeg's text decoders give, a line of ASS."""
    fields = event.split(",", _ASS_FIELDS)
    if len(fields) <= _ASS_FIELDS or _draws(fields[-1]):
        return "", None
    return plain_text(fields[-1]), fields[_ASS_NAME].strip() or None


def _draws(text: str) -> bool:
    position = text.find(_DRAWING)
    return position >= 0 and text[position + len(_DRAWING) :][:1].isdigit()


def _guess_end(starts: list[int], index: int) -> int:
    start_us = starts[index]
    later = next((other for other in starts[index + 1 :] if other > start_us), start_us + _LONGEST_GUESS_US)
    return min(later, start_us + _LONGEST_GUESS_US)
