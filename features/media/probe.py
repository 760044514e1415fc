"""What a media file holds: opening it, its clock, and which of its streams to decode."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import av
import av.error
from av.stream import Discard, Disposition

from features.errors import DecodeError
from features.identity import MICROSECONDS
from features.transcripts.language import language_tag

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from fractions import Fraction

_TEXT_CODECS = frozenset({"subrip", "srt", "mov_text", "ass", "ssa", "webvtt", "text"})
_NOT_A_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails
_NOT_THE_MAIN_SOUND = (
    Disposition.comment | Disposition.visual_impaired | Disposition.hearing_impaired | Disposition.descriptions
)
_MAX_NAMED_STREAMS = 12
_LATEST_US = 366 * 86_400 * MICROSECONDS


@dataclass(frozen=True, slots=True)
class Selection:
    """The streams of a container to decode: the default video, the best sound, all text."""

    video: av.VideoStream | None
    audio: av.AudioStream | None
    texts: tuple[av.subtitles.stream.SubtitleStream, ...]

    @property
    def streams(self) -> tuple[av.stream.Stream, ...]:
        """All of them, in no special order."""
        return tuple(stream for stream in (self.video, self.audio) if stream is not None) + self.texts


@dataclass(frozen=True, slots=True)
class StreamClock:
    """Turns one stream's timestamps into microseconds on the media's timeline, without floats."""

    numerator: int
    denominator: int
    origin_us: int

    @classmethod
    def of(cls, time_base: Fraction, origin_us: int) -> StreamClock:
        """Clock of a stream that counts in `time_base` seconds; the timeline starts at `origin_us`."""
        return cls(time_base.numerator * MICROSECONDS, time_base.denominator, origin_us)

    def time_us(self, pts: int | None) -> int | None:
        """Microseconds since the start of the timeline, negative before it; None for no time, or one beyond sense."""
        if pts is None:
            return None
        t_us = self.span_us(pts) - self.origin_us
        return t_us if abs(t_us) <= _LATEST_US else None

    def span_us(self, ticks: int) -> int:
        """Microseconds nearest to a count of ticks."""
        return (2 * ticks * self.numerator + self.denominator) // (2 * self.denominator)


@contextmanager
def open_media(path: Path | BinaryIO) -> Iterator[av.container.InputContainer]:
    """Open a local file for decoding, and close it whatever happens.

    Nothing but local files is ever opened, even when a playlist names a URL.

    Args:
        path: The file; or one that is open already and can be sought in, with a `name`: it may name no other file.

    Raises:
        DecodeError: It cannot be opened, or is no media file.
    """
    name = str(path) if isinstance(path, Path) else path.name
    try:
        container = (
            av.open(str(path.absolute()), metadata_errors="replace", options={"protocol_whitelist": "file"})
            if isinstance(path, Path)
            else av.open(path, metadata_errors="replace", options={"protocol_whitelist": "data"})
        )
    except (av.error.FFmpegError, OSError, ValueError) as error:
        message = f"cannot open {name!r} ({reason_of(error)}); check that it is a whole media file and not encrypted"
        raise DecodeError(message) from error
    with container:
        yield container


def choose_streams(container: av.container.InputContainer, audio_language: str | None = None) -> Selection:
    """The streams to decode; all others are discarded by the demuxer.

    Cover art and thumbnails are no video; bitmap subtitles are no text.

    Args:
        container: The open container.
        audio_language: Language of the sound to take where there are several; the default one where none speaks it.

    Raises:
        DecodeError: Its only video is of a codec that FFmpeg has no decoder for.
    """
    video = _best_video(container)
    if video is not None and video.codec_context is None:
        message = (
            f"not one picture of {container.name!r} can be decoded (no decoder knows its codec; streams: "
            f"{describe_streams(container)}); re-encode it or leave it out"
        )
        raise DecodeError(message)
    selection = Selection(
        video=video,
        audio=_best_audio(container, video, audio_language),
        texts=tuple(stream for stream in container.streams if stream.type == "subtitle" and _is_text(stream)),
    )
    wanted = {stream.index for stream in selection.streams}
    for stream in container.streams:
        if stream.index not in wanted:
            stream.discard = Discard.all
        elif stream.type in {"video", "audio"} and stream.codec_context is not None:
            stream.codec_context.thread_count = 1  # one thread a worker
    return selection


def describe_streams(container: av.container.InputContainer) -> str:
    """The streams of a container for an error message: `video h264, audio aac`."""
    names = [f"{stream.type} {_codec_name(stream) or 'of unknown codec'}" for stream in container.streams]
    more = [f"and {len(names) - _MAX_NAMED_STREAMS} more"] if len(names) > _MAX_NAMED_STREAMS else []
    return ", ".join(names[:_MAX_NAMED_STREAMS] + more) or "none"


def language_of(selection: Selection) -> str | None:
    """Language of the default text or, where there is none, of the sound; BCP 47."""
    texts = sorted(selection.texts, key=lambda stream: not stream.disposition & Disposition.default)
    tags = (language_tag(stream.language) for stream in (*texts, selection.audio) if stream is not None)
    return next((tag for tag in tags if tag), None)


def first_time_us(packets: Sequence[av.Packet]) -> int:
    """Where the timeline of a container starts that does not say so: its smallest timestamp."""
    times = (StreamClock.of(packet.stream.time_base, 0).time_us(packet.pts) for packet in packets)
    return min((time for time in times if time is not None), default=0)


def reason_of(error: Exception) -> str:
    """FFmpeg's words for an error, without its number and the path."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _best_video(container: av.container.InputContainer) -> av.VideoStream | None:
    """Of the videos that can be decoded the default one, then the largest, then FFmpeg's choice, then the first."""
    videos = [stream for stream in container.streams.video if not stream.disposition & _NOT_A_VIDEO]
    favourite = container.streams.best("video")

    def rank(stream: av.VideoStream) -> tuple[bool, bool, bool, int, bool]:
        codec = stream.codec_context
        return (
            codec is not None,
            not stream.disposition & Disposition.still_image,
            bool(stream.disposition & Disposition.default),
            codec.width * codec.height if codec is not None else 0,
            stream == favourite,
        )

    return max(videos, key=rank, default=None)


def _best_audio(
    container: av.container.InputContainer, video: av.VideoStream | None, language: str | None
) -> av.AudioStream | None:
    """The default sound or, where some speak the language, the default one of these; of the video's program."""
    favourite = container.streams.best("audio", video)
    wanted = _spoken(language)

    def rank(stream: av.AudioStream) -> tuple[bool, bool, bool, bool, bool]:
        return (
            stream.codec_context is not None,
            wanted is not None and _spoken(stream.language) == wanted,
            not stream.disposition & _NOT_THE_MAIN_SOUND,
            bool(stream.disposition & Disposition.default),
            stream == favourite,
        )

    return max(container.streams.audio, key=rank, default=None)


def _spoken(code: str | None) -> str | None:
    """The language without its country or script."""
    tag = language_tag(code)
    return tag.split("-")[0] if tag else None


def _is_text(stream: av.subtitles.stream.SubtitleStream) -> bool:
    """Whether a subtitle stream is text; one that FFmpeg has no name for may be, as WebVTT in Matroska is."""
    name = _codec_name(stream)
    return name is None or name in _TEXT_CODECS


def _codec_name(stream: av.stream.Stream) -> str | None:
    return None if stream.codec_context is None else stream.codec_context.codec.canonical_name
