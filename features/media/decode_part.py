"""Decoding one part of a long media: the pictures of a span, or all else."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from av.format import Flags

from features.identity import MICROSECONDS
from features.media.coding import coding_of
from features.media.decode import Decoding, sampler_of
from features.media.observers import Observers
from features.media.parts import Part, PartFacts
from features.media.probe import Selection, StreamClock, choose_streams, open_media
from features.media.screen import Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import av

    from features.media.gops import VideoTaker
    from features.media.options import DecodeOptions
    from features.media.pictures import PictureSampler
    from features.media.sink import Sink
    from features.records import AudioChunk, DecodedMedia, Frame, Missed

_PRE_ROLL_US = 2 * MICROSECONDS
_PRE_ROLL_OF_SHOTS_US = 10 * MICROSECONDS
_SURE_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})


def can_be_split(container: av.container.InputContainer, options: DecodeOptions) -> bool:
    """Whether parts of a media give what the whole gives.

    The container's clock must not jump, and it must be found at any time where decoding may start. One picture a shot
    needs whole shots.
    """
    names = set(container.format.name.split(","))
    jumps = bool(container.format.flags & Flags.ts_discont.value)
    video = choose_streams(container, options.audio_language).video
    known = container.start_time is not None and video is not None and video.codec_context is not None
    return known and not jumps and bool(names & _SURE_FORMATS) and options.sampling != "shots"


def decode_part(
    path: Path, options: DecodeOptions, part: Part, *, sink: Sink, on_progress: Callable[[], None]
) -> tuple[DecodedMedia, PartFacts]:
    """Decode a part of a media for which `can_be_split` holds.

    Args:
        path: A local media file.
        options: What to take from it.
        part: Which part.
        sink: Takes the pictures of the span, or the sound.
        on_progress: As in `decode_media`.

    Returns:
        What was decoded, its facts those of the part alone; and what it takes to join them.

    Raises:
        DecodeError: It cannot be opened.
    """
    if part.number == 0:
        return _decode_rest(path, options, sink, on_progress)
    pre_roll_us = _PRE_ROLL_OF_SHOTS_US if options.shots or options.motion else _PRE_ROLL_US
    pre_roll_us += options.frame_interval_us if options.sampling == "interval" else 0
    while True:
        span = _SpanSink(sink, part.window)
        try:
            return _decode_span(path, options, part, span, part.start_us - pre_roll_us, on_progress)
        except _TooLateError:
            pre_roll_us = 4 * pre_roll_us


class _TooLateError(Exception):
    """Decoding began so late that what comes before the span, and bears on it, was not seen."""


class _SpanSink:
    """Lets only pictures of a span through, and sees to it that the one before them was there."""

    def __init__(self, sink: Sink, window: Window) -> None:
        self._sink = sink
        self._window = window
        self.needs_one_before = window.start_us > 0
        self.is_over = False

    def add_frame(self, frame: Frame) -> None:
        """Take a picture."""
        if frame.t_us < self._window.start_us:
            self.needs_one_before = False
            return
        if self.needs_one_before:
            raise _TooLateError
        if frame.t_us in self._window:
            self._sink.add_frame(frame)
        else:
            self.is_over = True

    def add_chunk(self, chunk: AudioChunk) -> None:
        """There is no sound in a span of pictures."""


class _Rest(Decoding):
    """All but the pictures; of these only the end is noted."""

    def _sampler(self, origin_us: int, options: DecodeOptions, sink: Sink) -> PictureSampler | None:
        del origin_us, options, sink
        return None

    def _video_decoder(self, origin_us: int, sampling: str, *, whole: bool) -> VideoTaker | None:
        del sampling, whole
        video = self._selection.video
        self._skipped = None if video is None else _Skipped(StreamClock.of(video.time_base, origin_us))
        return self._skipped

    def _ends(self) -> list[int]:
        return [*super()._ends(), *([self._skipped.end_us] if self._skipped else [])]


class _Skipped:
    """Takes packets without decoding them."""

    def __init__(self, clock: StreamClock) -> None:
        self._clock = clock
        self.end_us = 0

    def add(self, packet: av.Packet) -> None:
        """Note when a packet ends."""
        t_us = self._clock.time_us(packet.pts)
        if t_us is not None:
            self.end_us = max(self.end_us, t_us + self._clock.span_us(packet.duration or 0))

    def finish(self) -> None:
        """There are no more."""


class _Span(Decoding):
    """The pictures of a span."""

    def __init__(self, *given: object, window: Window, **more: object) -> None:
        self.window = window
        super().__init__(*given, **more)  # type: ignore[arg-type]

    def _sampler(self, origin_us: int, options: DecodeOptions, sink: Sink) -> PictureSampler | None:
        video = self._selection.video
        if video is None:
            return None
        if self.window.from_middle:
            self._observers = Observers(video, shots=options.shots, motion=options.motion, is_start=False)
        return sampler_of(video, origin_us, options, sink, self._observers, self.window)

    def _lost(self, has_audio: bool) -> tuple[Missed, ...]:
        del has_audio  # the sound and the text are another part's
        return self._lost_pictures()

    def facts(self, decoded: DecodedMedia) -> PartFacts:
        """What the span contributes to the whole, after `finish`."""
        shots = decoded.shots
        begun = None if shots is None else tuple(shot for shot in shots if shot.start_us in self.window)
        pictures = self._pictures
        return PartFacts(
            num_frames=pictures.num_frames if pictures else 0,
            first_us=pictures.first_us if pictures else 0,
            end_us=pictures.end_us if pictures else 0,
            losses=self.losses,
            num_jumps=self.num_jumps,
            shots=begun,
        )


def _decode_rest(
    path: Path, options: DecodeOptions, sink: Sink, on_progress: Callable[[], None]
) -> tuple[DecodedMedia, PartFacts]:
    with open_media(path) as container:
        decoding = _Rest(
            container, choose_streams(container, options.audio_language), options, on_progress, sink, False
        )
        decoding.run()
        decoded = decoding.finish()
        return replace(decoded, shots=None, motions=None), PartFacts(
            losses=decoding.losses, num_jumps=decoding.num_jumps
        )


def _decode_span(
    path: Path,
    options: DecodeOptions,
    part: Part,
    sink: _SpanSink,
    from_us: int,
    on_progress: Callable[[], None],
) -> tuple[DecodedMedia, PartFacts]:
    """Decode from a restart at or before a time on; from the start of the file where there is none."""
    with open_media(path) as container:
        video = choose_streams(container, options.audio_language).video
        selection = Selection(video, None, ())
        if from_us > 0:
            _seek(container, video, from_us)
        else:
            sink.needs_one_before = False
        window = part.window._replace(from_middle=from_us > 0)
        decoding = _Span(container, selection, options, on_progress, sink, False, window=window)
        decoding.run(lambda: sink.is_over)
        decoded = decoding.finish()
        motions = decoded.motions
        kept = None if motions is None else tuple(one for one in motions if one.start_us in window)
        facts = decoding.facts(decoded)
        info = replace(decoded.info, has_video=facts.num_frames > 0)
        return replace(decoded, info=info, motions=kept), facts


def _seek(container: av.container.InputContainer, video: av.VideoStream, from_us: int) -> None:
    """Go to where decoding may start, at or before a time.

    Raises:
        _TooLateError: It may not start there: the pictures that come need some that came before.
    """
    origin_us = container.start_time or 0
    ticks = (from_us + origin_us) * video.time_base.denominator // (video.time_base.numerator * MICROSECONDS)
    container.seek(ticks, stream=video, backward=True)
    first = next((packet for packet in container.demux(video) if packet.size), None)
    coding = coding_of(video)
    if first is None or first.pts is None or (coding is not None and not coding.facts(first).restarts):
        raise _TooLateError
    t_us = StreamClock.of(video.time_base, origin_us).time_us(first.pts)
    if t_us is None or t_us > from_us + _PRE_ROLL_US // 2:
        raise _TooLateError
    container.seek(ticks, stream=video, backward=True)
