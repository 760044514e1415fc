"""Decoding: one pass over a media file yields its pictures, sound and text, all on one timeline."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import av.error

from features.errors import MissingStreamError
from features.media.complete import Losses, check_complete
from features.media.damage import lost_pictures, lost_sound
from features.media.gops import VideoDecoder, VideoTaker
from features.media.observers import Observers
from features.media.options import DEFAULT_OPTIONS, DecodeOptions
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
from features.media.quality import media_quality
from features.media.screen import ALL, Window
from features.media.sink import Collected, Sink
from features.media.sound_collector import SoundCollector
from features.media.text import TextCollector, merge_texts, unread_texts
from features.media.timeline import DecodingClock, Timeline
from features.records import DecodedMedia, MediaInfo, Missed, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

_PACKETS_A_BEAT = 256
_PACKETS_TO_PEEK = 64


def decode_media(
    path: Path,
    options: DecodeOptions = DEFAULT_OPTIONS,
    *,
    on_progress: Callable[[], None] | None = None,
    sink: Sink | None = None,
    whole: bool = False,
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
        whole: Decode every picture, those too that none that is kept needs; what comes out is the same.

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
        decoding = Decoding(container, selection, options, on_progress or _no_progress, sink or collected, whole)
        decoding.run()
        decoded = decoding.finish()
        check_complete(path, describe_streams(container), selection, decoded.info, decoding.losses)
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


class Decoding:
    """One pass over one container: packets go to the collector of their stream."""

    def __init__(
        self,
        container: av.container.InputContainer,
        selection: Selection,
        options: DecodeOptions,
        on_progress: Callable[[], None],
        sink: Sink,
        whole: bool,
    ) -> None:
        self.errors: list[str] = []
        self._broke_off = False
        self._container = container
        self._timeline = Timeline(container)
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
        self._pictures = self._sampler(origin_us, options, sink)
        self._video = self._video_decoder(origin_us, options.sampling, whole=whole)
        self._sound = _sound_of(selection.audio, origin_us, options, sink)
        self._texts = {stream.index: TextCollector(stream, origin_us) for stream in selection.texts}

    @property
    def losses(self) -> Losses:
        """What went wrong, after `finish`."""
        stated_us = 0 if self._timeline.num_jumps else self._container.duration or 0
        return Losses(tuple(self.errors), stated_us, max(self._ends(), default=0))

    @property
    def num_jumps(self) -> int:
        """Jumps of the container's clock so far."""
        return self._timeline.num_jumps

    def run(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Decode all packets, then what the decoders still hold; no more once it is over."""
        for count, packet in enumerate(self._packets, 1):
            self._take(packet.stream, packet)
            if count % _PACKETS_A_BEAT == 0:
                self._on_progress()
            if is_over():
                return
        if self._broke_off:  # else the demuxer has sent the packets that flush
            for stream in self._selection.streams:
                self._take(stream, None)

    def finish(self) -> DecodedMedia:
        """What was decoded."""
        pictures, sound = self._pictures, self._sound
        for collector in (pictures, sound):
            if collector is not None:
                collector.finish()
        ends, name = self._ends(), self._container.name
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
            quality=media_quality(pictures.meter if pictures else None, sound.meter if sound else None),
        )
        missed += self._lost(info.has_audio)
        shots = self._observers.shots if self._wants_shots else None
        return DecodedMedia(info, utterances=utterances, missed=missed, shots=shots, motions=self._observers.motions)

    def _lost(self, has_audio: bool) -> tuple[Missed, ...]:
        """Text and sound that cannot be read, and damaged pictures."""
        streams, name = self._container.streams, self._container.name
        told = unread_texts(streams, self._texts.keys(), name) + lost_sound(streams, has_audio, name)
        return told + self._lost_pictures()

    def _lost_pictures(self) -> tuple[Missed, ...]:
        video, pictures = self._selection.video, self._pictures
        if video is None or pictures is None or not pictures.has_pictures:
            return ()
        return lost_pictures(pictures.damage, video, self.errors, self._container.name)

    def _ends(self) -> list[int]:
        """Where the pictures and the sound end."""
        return [collector.end_us for collector in (self._pictures, self._sound) if collector]

    def _sampler(self, origin_us: int, options: DecodeOptions, sink: Sink) -> PictureSampler | None:
        return (
            None
            if self._selection.video is None
            else sampler_of(self._selection.video, origin_us, options, sink, self._observers)
        )

    def _video_decoder(self, origin_us: int, sampling: str, *, whole: bool) -> VideoTaker | None:
        del origin_us  # the sampler has it
        stream = self._selection.video
        if stream is None or self._pictures is None:
            return None
        return VideoDecoder(
            stream,
            self._pictures,
            clock=DecodingClock() if self._container.format.name == "avi" else None,
            errors=self.errors,
            on_kept=self._on_progress,
            marks_keys=sampling == "keyframes",
            whole=whole or sampling == "all" or self._observers.sees_all,
        )

    def _demux(self) -> Iterator[av.Packet]:
        """Packets of the chosen streams, up to where the container ends or breaks off."""
        try:
            for packet in self._container.demux(list(self._selection.streams)):
                self._timeline.straighten(packet)
                yield packet
        except MemoryError:  # FFmpeg's is one of its errors too
            raise
        except av.error.FFmpegError as error:
            self.errors.append(reason_of(error))
            self._broke_off = True

    def _take(self, stream: av.stream.Stream, packet: av.Packet | None) -> None:
        """Decode a packet, or with None what the decoder still holds."""
        if self._video is not None and stream.index == self._video_index:
            if packet is None:
                self._video.finish()
            else:
                self._video.add(packet)
            return
        try:
            self._take_other(stream, packet)
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError) as error:
            self.errors.append(reason_of(error))

    def _take_other(self, stream: av.stream.Stream, packet: av.Packet | None) -> None:
        if stream.index in self._texts:
            if packet is not None:
                self._texts[stream.index].add(packet)
        elif self._sound is not None:
            for frame in stream.decode(packet):
                self._sound.add(frame)


def sampler_of(
    stream: av.VideoStream,
    origin_us: int,
    options: DecodeOptions,
    sink: Sink,
    observers: Observers,
    window: Window = ALL,
) -> PictureSampler:
    """A sampler as the options have it, of the frames of a window."""
    return PictureSampler(
        stream,
        origin_us,
        interval_us=options.frame_interval_us,
        short_side=options.frame_short_side,
        quality=options.jpeg_quality,
        sampling=options.sampling,
        keep=sink.add_frame,
        observers=observers if observers.sees_all else None,
        window=window,
    )


def _sound_of(
    stream: av.AudioStream | None, origin_us: int, options: DecodeOptions, sink: Sink
) -> SoundCollector | None:
    if stream is None:
        return None
    return SoundCollector(
        stream, origin_us, rate_hz=options.audio_rate_hz, chunk_us=options.audio_chunk_us, keep=sink.add_chunk
    )


def _no_progress() -> None:
    """Tell nobody."""
