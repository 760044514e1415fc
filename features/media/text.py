"""Text tracks of a media: subtitle packets in, utterances out; tracks that are no text are named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import av
import av.error
from av.stream import Disposition

from features.identity import MICROSECONDS
from features.media.probe import StreamClock
from features.records import Missed
from features.transcripts.cues import Cue, fit_to, utterances_of
from features.transcripts.encoding import encoding_of
from features.transcripts.language import language_tag
from features.transcripts.sidecars import past_the_end
from features.transcripts.styles import plain_ass, plain_text
from features.transcripts.subtitles import cues_of_text
from features.transcripts.tracks import Track, name_tracks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from features.records import Utterance
    from features.transcripts.tracks import Kind

_GRACE_US = 5 * MICROSECONDS  # the last words may stand a little longer than there are pictures
_ASS_FIELDS = 8  # before the text: ReadOrder, Layer, Style, Name, MarginL, MarginR, MarginV, Effect
_ASS_NAME = 3
_AS_IN_FILES = frozenset({"subrip", "srt", "webvtt", "text"})
_ASS_CODECS = frozenset({"ass", "ssa"})
_BITMAPS = frozenset({"dvd_subtitle", "hdmv_pgs_subtitle", "dvb_subtitle", "xsub"})
_NO_TEXT = re.compile("[\\x00-\\x08\\x0e-\\x1f\\x7f\ufffd]")
_BOX_HEAD = 8  # bytes: the size, then the type
_CUE_BOXES = frozenset({b"vttc", b"vtte", b"vtta"})


class _Raw(NamedTuple):
    """A packet's text as it stands in the file."""

    start_us: int
    end_us: int
    payload: bytes


class TextCollector:
    """Utterances of one text stream, styles stripped, on the media's timeline.

    Args:
        stream: A text subtitle stream.
        origin_us: Start of the timeline.
    """

    def __init__(self, stream: av.subtitles.stream.SubtitleStream, origin_us: int) -> None:
        self._stream = stream
        self._codec = stream.codec_context
        self._clock = StreamClock.of(stream.time_base, origin_us)
        self._language = language_tag(stream.language)
        self._cues: list[Cue] = []
        self._raw: list[_Raw] = []
        self._unread = 0

    @property
    def order(self) -> tuple[bool, int]:
        """The default track comes first, then as they stand in the container."""
        return not self._stream.disposition & Disposition.default, self._stream.index

    def add(self, packet: av.Packet) -> None:
        """Take one packet; one without time or words, damaged, or over before the timeline starts, adds nothing."""
        t_us = self._clock.time_us(packet.pts)
        if not packet.size or t_us is None:
            return
        shown_us = max(self._clock.span_us(packet.duration or 0), 0)
        if t_us + shown_us < 0:
            return
        start_us, end_us = max(t_us, 0), t_us + shown_us
        if self._codec is None or self._codec.codec.canonical_name in _AS_IN_FILES:
            self._raw += [_Raw(start_us, end_us, payload) for payload in _texts_in(bytes(packet))]
        else:
            try:
                self._decode(packet, start_us, end_us)
            except MemoryError:
                raise
            except (av.error.FFmpegError, ValueError):
                self._unread += 1

    def finish(self) -> Track:
        """All that the track says, and of which kind it is."""
        cues = [*self._cues, *self._raw_cues()]
        return Track(_kind_of(self._stream), utterances_of(cues, "subtitle", self._language))

    def missed(self, dropped: int, count: int, end_us: int | None, name: str) -> Missed | None:
        """What of the track is not among the rows, or None: packets that are no text, cues past the media's end."""
        if self._unread and not count:
            return _no_text(self._stream, name)
        track = f"{_title(self._stream)} of {name!r}"
        if dropped:
            error = past_the_end(track, dropped, count, end_us or 0)
            return Missed(_part(self._stream), type(error).__name__, str(error))
        if self._unread:
            message = f"{track} is damaged: {self._unread} packets are no text; fetch the file again if they are wanted"
            return Missed(_part(self._stream), "TranscriptionError", message)
        return None

    def _decode(self, packet: av.Packet, start_us: int, end_us: int) -> None:
        plain = plain_ass if self._codec.codec.canonical_name in _ASS_CODECS else plain_text
        for event in self._codec.decode2(packet) or ():
            if event.type in {b"ass", b"text"}:
                fields = event.ass.decode("utf-8", errors="replace").split(",", _ASS_FIELDS)
                if len(fields) > _ASS_FIELDS:
                    speaker = fields[_ASS_NAME].strip() or None
                    self._cues.append(Cue(start_us, end_us, _lines(fields[-1], plain), speaker))

    def _raw_cues(self) -> Iterator[Cue]:
        """Cues of packets that hold text as a file does; the encoding is that of the whole track."""
        encoding = encoding_of(b"\n".join(raw.payload for raw in self._raw), self._language)
        for raw in self._raw:
            text = raw.payload.decode(encoding, errors="replace").replace("\r\n", "\n").replace("\r", "\n")
            if self._codec is None and _NO_TEXT.search(text):
                self._unread += 1
            else:
                yield from cues_of_text(raw.start_us, raw.end_us, text.split("\n"))


def merge_texts(
    collectors: Collection[TextCollector], end_us: int | None, name: str
) -> tuple[tuple[Utterance, ...], tuple[Missed, ...]]:
    """Utterances of all text tracks, each with a `source` of its own; what two tracks say alike is kept once.

    Args:
        collectors: One a track.
        end_us: Where the pictures and the sound end. Text that starts later is dropped, and cut if it lasts far longer.
            None where there are neither.
        name: What to call the media in an error.

    Returns:
        Utterances by start, and what of the tracks is not among them.
    """
    tracks: list[Track] = []
    missed: list[Missed | None] = []
    for collector in sorted(collectors, key=lambda collector: collector.order):
        track = collector.finish()
        kept, dropped = fit_to(track.utterances, end_us, grace_us=_GRACE_US)
        tracks.append(track._replace(utterances=kept))
        missed.append(collector.missed(dropped, len(track.utterances), end_us, name))
    return name_tracks("subtitle", tracks), tuple(one for one in missed if one is not None)


def unread_texts(streams: Sequence[av.stream.Stream], read: Collection[int], name: str) -> tuple[Missed, ...]:
    """Subtitle tracks that hold no text that can be read, such as the pictures of DVD, Blu-ray and DVB.

    Args:
        streams: All streams of a container.
        read: Indices of those that are read.
        name: What to call the media.
    """
    unread = (stream for stream in streams if stream.type == "subtitle" and stream.index not in read)
    return tuple(_no_text(stream, name) for stream in unread)


def _no_text(stream: av.subtitles.stream.SubtitleStream, name: str) -> Missed:
    kind = "pictures, not text" if _codec_name(stream) in _BITMAPS else "no text that can be read"
    message = (
        f"{_title(stream)} of {name!r} is unsupported: it is {kind}, and the media is in without it; where it is "
        "wanted, put its words into the video as a text track and ingest that"
    )
    return Missed(_part(stream), "TranscriptionError", message)


def _part(stream: av.stream.Stream) -> str:
    return f"track:{stream.index}"


def _title(stream: av.subtitles.stream.SubtitleStream) -> str:
    language = language_tag(stream.language)
    return f"subtitle track {stream.index} ({_codec_name(stream)}{f', {language}' if language else ''})"


def _codec_name(stream: av.subtitles.stream.SubtitleStream) -> str:
    return "of unknown codec" if stream.codec_context is None else str(stream.codec_context.codec.canonical_name)


def _kind_of(stream: av.subtitles.stream.SubtitleStream) -> Kind:
    """Kind of a track, by its disposition or, where that is silent, by the words of its title."""
    words = stream.metadata.get("title", "").lower().replace("(", " ").replace(")", " ").split()
    if stream.disposition & Disposition.forced or "forced" in words:
        return "forced"
    if stream.disposition & Disposition.comment or "commentary" in words:
        return "commentary"
    return "sdh" if stream.disposition & Disposition.hearing_impaired or "sdh" in words else ""


def _lines(text: str, plain: Callable[[str], str]) -> tuple[str, ...]:
    """Lines of an event, each for captions that roll; in an ASS text a drawing may go over breaks."""
    lines = [text] if plain is plain_ass else text.replace("\\n", "\\N").split("\\N")
    return tuple(map(plain, lines))


def _texts_in(payload: bytes) -> Iterator[bytes]:
    """Texts of a packet: all of it, or where WebVTT is wrapped into MP4 boxes, what its cues say."""
    if payload[4:_BOX_HEAD] not in _CUE_BOXES:
        yield payload
        return
    for kind, cue in _boxes(payload):
        if kind == b"vttc":
            yield from (text for inner, text in _boxes(cue) if inner == b"payl")


def _boxes(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + _BOX_HEAD <= len(content):
        size = max(int.from_bytes(content[position : position + 4], "big"), _BOX_HEAD)
        yield content[position + 4 : position + _BOX_HEAD], content[position + _BOX_HEAD : position + size]
        position += size
