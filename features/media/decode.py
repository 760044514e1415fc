"""Decoding: one pass over a media file yields its pictures, sound and text, all on one timeline."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import av
import av.error

from features.errors import DecodeError, MissingStreamError
from features.identity import MICROSECONDS
from features.media.observers import Observers
from features.media.pictures import PictureSampler
from features.media.probe import (
    Selection,
    choose_streams,
    describe_streams,
    first_time_us,
    language_of,
    open_media,
    reason_of,
)
from features.media.sink import Collected, Sink
from features.media.sound import SoundCollector
from features.media.text import TextCollector, merge_texts, unread_texts
from features.media.timeline import DecodingClock, Timeline
from features.records import DecodedMedia, MediaInfo, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

_PACKETS_A_BEAT = 256
_PACKETS_TO_PEEK = 64
_TRUNCATED_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What to take from a media.

    Attributes:
        frame_interval_us: Distance of the grid times at which the frame on screen is kept, microseconds.
        frame_short_side: Largest short side of a kept picture, pixels; pictures are never enlarged.
        jpeg_quality: 1 to 100.
        audio_rate_hz: Rate of the mono sound.
        audio_chunk_us: Length of a chunk of sound, on a grid that starts with the timeline, microseconds.
        audio_language: Language of the sound to take where a media has several, BCP 47 or ISO 639; the default
            track where none speaks it.
        sampling: Which pictures are kept: those on screen at grid times (`interval`), `keyframes`, one of each shot
            (`shots`), or `all`.
        shots: Find the shots.
        motion: Measure the movement between adjacent frames.
    """

    frame_interval_us: int = 1_000_000
    frame_short_side: int = 360
    jpeg_quality: int = 90
    audio_rate_hz: int = 16_000
    audio_chunk_us: int = 60_000_000
    audio_language: str | None = None
    sampling: str = "interval"
    shots: bool = False
    motion: bool = False


DEFAULT_OPTIONS = DecodeOptions()
"""A picture a second of short side 360; sound at 16 kHz in chunks of a minute."""


def decode_media(
    path: Path,
    options: DecodeOptions = DEFAULT_OPTIONS,
    *,
    on_progress: Callable[[], None] | None = None,
    sink: Sink | None = None,
) -> DecodedMedia:
    """Pictures, sound and text of a media file, from one pass over it.

    The default video track, the default sound track and all text tracks are used. The timeline starts where the
    container does: at its first picture or sound. Damaged packets are skipped; what was decoded of a file that
    ends early is kept, unless decoding failed and a good part of it is missing.

    Args:
        path: A local media file.
        options: What to take from it.
        on_progress: Called at every kept picture and every few hundred packets, as a sign of life.
        sink: Takes pictures and chunks of sound as they are made, and `frames` and `audio` stay empty; memory is
            then flat in the media's length. What it has taken counts only when this returns.

    Raises:
        DecodeError: It cannot be opened, is truncated, or nothing or no picture of its video can be decoded.
        MissingStreamError: It has neither pictures nor sound nor text.
    """
    with open_media(path) as container:
        selection = choose_streams(container, options.audio_language)
        if not selection.streams:
            message = (
                f"no video, sound or text in {str(path)!r} (streams: {describe_streams(container)}); "
                "leave it out of the sources"
            )
            raise MissingStreamError(message)
        collected = Collected()
        decoding = _Decoding(container, selection, options, on_progress or _no_progress, sink or collected)
        decoding.run()
        decoded = decoding.finish()
        _check_complete(path, describe_streams(container), selection, decoded.info, decoding)
        return replace(decoded, frames=tuple(collected.frames), audio=tuple(collected.chunks))


def end_of(decoded: DecodedMedia) -> int | None:
    """Where the pictures and the sound of a media end, and its text at the latest; None without both."""
    info = decoded.info
    return info.duration_us if info.has_video or info.has_audio else None


def with_text(decoded: DecodedMedia, utterances: Sequence[Utterance]) -> DecodedMedia:
    """A media with more text, as of its sidecars: text by start, `has_text` and the duration as they then are."""
    once = dict.fromkeys((*decoded.utterances, *utterances))  # the same words in a .srt and a .vtt are one utterance
    merged = sorted(once, key=lambda utterance: (utterance.start_us, utterance.end_us))
    end_us = max((utterance.end_us for utterance in merged), default=0)
    languages = (utterance.language for utterance in merged if utterance.language)
    info = replace(
        decoded.info,
        has_text=bool(merged),
        duration_us=max(decoded.info.duration_us, end_us),
        language=decoded.info.language or next(languages, None),
    )
    return replace(decoded, info=info, utterances=tuple(merged))


class _Decoding:
    """One pass over one container: packets go to the collector of their stream."""

    def __init__(
        self,
        container: av.container.InputContainer,
        selection: Selection,
        options: DecodeOptions,
        on_progress: Callable[[], None],
        sink: Sink,
    ) -> None:
        self.errors: list[str] = []
        self._broke_off = False
        self._container = container
        self._timeline = Timeline(container)
        self._clock = DecodingClock() if container.format.name == "avi" else None
        self._selection = selection
        self._on_progress = on_progress
        packets = self._demux()
        peeked: list[av.Packet] = []
        origin_us = container.start_time
        if origin_us is None:
            peeked = list(itertools.islice(packets, _PACKETS_TO_PEEK))
            origin_us = first_time_us(peeked)
        self._packets: Iterable[av.Packet] = itertools.chain(peeked, packets)
        self._video_index = None if selection.video is None else selection.video.index
        wants_shots = options.shots or options.sampling == "shots"
        self._observers = Observers(selection.video, shots=wants_shots, motion=options.motion)
        self._wants_shots = options.shots
        self._pictures = _sampler_of(selection.video, origin_us, options, sink, self._observers)
        self._sound = _sound_of(selection.audio, origin_us, options, sink)
        self._texts = {stream.index: TextCollector(stream, origin_us) for stream in selection.texts}

    @property
    def stated_us(self) -> int:
        """Length as the container states it, 0 where its clock jumps."""
        return 0 if self._timeline.num_jumps else self._container.duration or 0

    @property
    def end_us(self) -> int:
        """End of the pictures and the sound so far, 0 before there are any."""
        return max((collector.end_us for collector in (self._pictures, self._sound) if collector), default=0)

    def run(self) -> None:
        """Decode all packets, then what the decoders still hold."""
        for count, packet in enumerate(self._packets, 1):
            self._try(packet.stream, packet)
            if count % _PACKETS_A_BEAT == 0:
                self._on_progress()
        if self._broke_off:  # else the demuxer has sent the packets that flush
            for stream in self._selection.streams:
                self._try(stream, None)

    def finish(self) -> DecodedMedia:
        """What was decoded."""
        pictures, sound = self._pictures, self._sound
        for collector in (pictures, sound):
            if collector is not None:
                collector.finish()
        ends = [collector.end_us for collector in (pictures, sound) if collector]
        name = self._container.name
        utterances, missed = merge_texts(self._texts.values(), max(ends, default=None), name)
        info = MediaInfo(
            container=self._container.format.name,
            duration_us=max([*ends, *(utterance.end_us for utterance in utterances)], default=0),
            width=pictures.width if pictures else None,
            height=pictures.height if pictures else None,
            rotation=pictures.rotation if pictures else None,
            frame_rate=pictures.frame_rate if pictures else None,
            sample_rate_hz=sound.sample_rate_hz if sound else None,
            has_video=pictures is not None and pictures.has_pictures,
            has_audio=sound is not None and sound.has_samples,
            has_text=bool(utterances),
            language=language_of(self._selection),
        )
        missed += unread_texts(self._container.streams, self._texts.keys(), name)
        end_us = pictures.end_us if pictures else 0
        shots = self._observers.shots(end_us) if self._wants_shots else None
        return DecodedMedia(
            info, utterances=utterances, missed=missed, shots=shots, motions=self._observers.motions(end_us)
        )

    def _demux(self) -> Iterator[av.Packet]:
        """Packets of the chosen streams, up to where the container ends or breaks off."""
        try:
            for packet in self._container.demux(list(self._selection.streams)):
                self._timeline.straighten(packet)
                yield packet
        except av.error.FFmpegError as error:
            self.errors.append(reason_of(error))
            self._broke_off = True

    def _try(self, stream: av.stream.Stream, packet: av.Packet | None) -> None:
        try:
            self._take(stream, packet)
        except (av.error.FFmpegError, ValueError) as error:
            self.errors.append(reason_of(error))

    def _take(self, stream: av.stream.Stream, packet: av.Packet | None) -> None:
        """Decode a packet, or with None what the decoder still holds."""
        if stream.index == self._video_index and self._pictures is not None:
            self._take_pictures(self._pictures, stream, packet)
        elif stream.index in self._texts:
            if packet is not None:
                self._texts[stream.index].add(packet)
        elif self._sound is not None:
            for frame in stream.decode(packet):
                self._sound.add(frame)

    def _take_pictures(self, pictures: PictureSampler, stream: av.VideoStream, packet: av.Packet | None) -> None:
        if self._clock is not None and packet is not None:
            self._clock.fed(packet)
        for frame in stream.decode(packet):
            if self._clock is not None:
                self._clock.set_time(frame)
            if pictures.add(frame):
                self._on_progress()


def _sampler_of(
    stream: av.VideoStream | None, origin_us: int, options: DecodeOptions, sink: Sink, observers: Observers
) -> PictureSampler | None:
    if stream is None:
        return None
    return PictureSampler(
        stream,
        origin_us,
        interval_us=options.frame_interval_us,
        short_side=options.frame_short_side,
        quality=options.jpeg_quality,
        keep=sink.add_frame,
        observers=[observers] if observers.sees_all else (),
    )


def _sound_of(
    stream: av.AudioStream | None, origin_us: int, options: DecodeOptions, sink: Sink
) -> SoundCollector | None:
    if stream is None:
        return None
    return SoundCollector(
        stream, origin_us, rate_hz=options.audio_rate_hz, chunk_us=options.audio_chunk_us, keep=sink.add_chunk
    )


def _check_complete(path: Path, streams: str, selection: Selection, info: MediaInfo, decoding: _Decoding) -> None:
    """Refuse a media of which nothing, no picture, or too little came out."""
    reason = f"{decoding.errors[0]}; streams: {streams}" if decoding.errors else f"streams: {streams}"
    is_empty = not (info.has_video or info.has_audio or info.has_text)
    if is_empty and not (decoding.errors or selection.video):
        message = f"no picture, sound or text in {str(path)!r} ({reason}); leave it out of the sources"
        raise MissingStreamError(message)
    if selection.video is not None and not info.has_video:
        message = f"not one picture of {str(path)!r} can be decoded ({reason}); re-encode it or leave it out"
        raise DecodeError(message)
    if is_empty:
        message = f"nothing of {str(path)!r} can be decoded ({reason}); re-encode it or leave it out"
        raise DecodeError(message)
    _check_length(path, decoding)


def _check_length(path: Path, decoding: _Decoding) -> None:
    """Refuse a media where decoding failed and a good part of its stated length is missing."""
    missing_us = decoding.stated_us - decoding.end_us
    if decoding.errors and missing_us > max(MICROSECONDS, _TRUNCATED_SHARE * decoding.stated_us):
        there, stated = decoding.end_us / MICROSECONDS, decoding.stated_us / MICROSECONDS
        message = (
            f"{str(path)!r} is truncated: {there:.1f} s of {stated:.1f} s can be decoded ({decoding.errors[0]}); "
            "fetch the whole file again"
        )
        raise DecodeError(message)


def _no_progress() -> None:
    """Tell nobody."""
