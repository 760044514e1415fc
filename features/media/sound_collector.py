"""Decoded frames of sound in, chunks that keep their time out: gaps, overlaps, jumps, a clock that runs wrong."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import av
import numpy as np

from features.identity import MICROSECONDS
from features.media.probe import StreamClock
from features.media.sound import ChunkWriter, num_samples_of, span_us_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.media.loudness import SoundMeter
    from features.records import AudioChunk

_JITTER_US = 40_000
_EXACT_US = 6_000
_LASTING_US = MICROSECONDS
_LONGEST_OVERLAP_US = MICROSECONDS
_LONGEST_GAP_US = 3600 * MICROSECONDS
_RESAMPLED_SAMPLES = 1 << 13  # a piece of input and of output: fewer and larger ones cost less


class SoundCollector:
    """Turns decoded sound into mono chunks that keep their time.

    A late start is kept. Gaps over 40 ms become silence of their true length; what overlaps more than that is
    dropped. Less is jitter, unless it lasts for a second, as a small gap or a clock that runs wrong does. A jump
    of the clock (back by over a second, ahead by over an hour) is no gap: the sound goes on.

    Args:
        stream: The audio stream.
        origin_us: Start of the timeline.
        rate_hz: Rate of the chunks.
        chunk_us: Length of a full chunk.
        keep: Takes each chunk as it is full; without it they are kept, and `finish` returns them.
    """

    def __init__(
        self,
        stream: av.AudioStream,
        origin_us: int,
        *,
        rate_hz: int,
        chunk_us: int,
        keep: Callable[[AudioChunk], None] | None = None,
    ) -> None:
        self._clock = StreamClock.of(stream.time_base, origin_us)
        self._rate_hz = rate_hz
        self._chunk_us = chunk_us
        self._keep = keep
        self._writer: ChunkWriter | None = None
        self._resampler: av.AudioResampler | None = None
        self._waiting = av.AudioFifo()
        self._layout: tuple[str, str, int] | None = None
        self._anchor_us = 0
        self._fed_samples = 0
        self._drop = 0
        self._shift_us = 0
        self._lasting_off_us = 0
        self._off_since_us = 0
        self.sample_rate_hz: int | None = None

    @property
    def end_us(self) -> int:
        """End of the sound so far, 0 before there is any."""
        return self._writer.end_us if self._writer else 0

    @property
    def _fed_us(self) -> int:
        """Where the next frame is due."""
        rate = self._layout[2] if self._layout else self._rate_hz
        return self._anchor_us + span_us_of(self._fed_samples, rate)

    def add(self, frame: av.AudioFrame) -> None:
        """Take the next decoded frame of sound."""
        if not frame.samples or not frame.sample_rate:
            return
        self._follow_format(frame)
        if self._writer is None:
            self._begin(frame)
        else:
            self._keep_time(self._clock.time_us(frame.pts))
        self._fed_samples += frame.samples
        self._resample(frame)

    @property
    def has_samples(self) -> bool:
        """Whether there is any sound so far."""
        return self._writer is not None and self._writer.num_samples > 0

    @property
    def meter(self) -> SoundMeter | None:
        """What the sound is like, all of it after `finish`; None where there is none."""
        return self._writer.meter if self._writer else None

    def finish(self) -> tuple[AudioChunk, ...]:
        """All chunks by time, but for those that `keep` took."""
        self._flush()
        return self._writer.finish() if self._writer else ()

    def _begin(self, frame: av.AudioFrame) -> None:
        start_us = self._clock.time_us(frame.pts) or 0
        if start_us < -_LONGEST_OVERLAP_US:
            self._shift_us, start_us = -start_us, 0
        self.sample_rate_hz = frame.sample_rate
        self._writer = ChunkWriter(max(start_us, 0), rate_hz=self._rate_hz, chunk_us=self._chunk_us, keep=self._keep)
        self._drop = num_samples_of(max(-start_us, 0), self._rate_hz)
        self._anchor_at(start_us)

    def _keep_time(self, stated_us: int | None) -> None:
        """Make the sound so far end where the next frame starts, if it is off by more than jitter."""
        if stated_us is None:
            return
        t_us = stated_us + self._shift_us
        off_us = t_us - self._fed_us
        if abs(off_us) <= _JITTER_US:
            off_us = self._lasting(off_us)
            if not off_us:
                return
            t_us = self._fed_us + off_us
        self._lasting_off_us = 0
        if not -_LONGEST_OVERLAP_US <= off_us <= _LONGEST_GAP_US:
            self._shift_us -= off_us
            return
        self._flush()
        if self._writer is not None:
            missing = num_samples_of(t_us - self._writer.start_us, self._rate_hz) - self._writer.num_samples
            self._writer.write_silence(max(missing, 0))
            self._drop = max(-missing, 0)
        self._anchor_at(t_us)

    def _lasting(self, off_us: int) -> int:
        """By how much the sound has been off, to the same side, for a second; else 0."""
        if abs(off_us) <= _EXACT_US:
            self._lasting_off_us = 0
        elif off_us * self._lasting_off_us <= 0:
            self._lasting_off_us, self._off_since_us = off_us, self._fed_us
        else:
            self._lasting_off_us = min(self._lasting_off_us, off_us, key=abs)
        lasts = self._lasting_off_us and self._fed_us - self._off_since_us >= _LASTING_US
        return self._lasting_off_us if lasts else 0

    def _anchor_at(self, t_us: int) -> None:
        self._anchor_us, self._fed_samples = t_us, 0

    def _follow_format(self, frame: av.AudioFrame) -> None:
        layout = (frame.format.name, frame.layout.name, frame.sample_rate)
        if layout != self._layout:
            self._flush()
            self._anchor_at(self._fed_us)
            self._layout = layout

    def _resample(self, frame: av.AudioFrame) -> None:
        if self._resampler is None:
            self._resampler = av.AudioResampler("s16", "mono", self._rate_hz, frame_size=_RESAMPLED_SAMPLES)
            self._waiting = av.AudioFifo()
        frame.pts = None  # the time is kept here
        self._waiting.write(frame)
        if self._waiting.samples >= _RESAMPLED_SAMPLES:
            self._write(self._resampler.resample(self._waiting.read()))

    def _flush(self) -> None:
        if self._resampler is not None:
            resampler, self._resampler = self._resampler, None
            with contextlib.suppress(av.error.FFmpegError):  # one that has failed before holds nothing more
                if self._waiting.samples:
                    self._write(resampler.resample(self._waiting.read()))
                self._write(resampler.resample(None))

    def _write(self, frames: list[av.AudioFrame | None]) -> None:
        for frame in frames:
            if frame is None or self._writer is None:
                continue
            samples = np.frombuffer(frame.planes[0], np.int16, frame.samples)
            dropped = min(self._drop, len(samples))
            self._drop -= dropped
            self._writer.write(samples[dropped:].copy())
