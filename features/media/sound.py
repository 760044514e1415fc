"""Sound: decoded frames in, chunks of mono FLAC on the media's timeline out, and back to samples."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av
import numpy as np
import soundfile

from features.errors import DecodeError
from features.identity import MICROSECONDS
from features.media.loudness import SoundMeter
from features.media.probe import StreamClock
from features.records import AudioChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]
    Pcm = npt.NDArray[np.int16]

_JITTER_US = 40_000
_EXACT_US = 6_000
_LASTING_US = MICROSECONDS
_LONGEST_OVERLAP_US = MICROSECONDS
_LONGEST_GAP_US = 3600 * MICROSECONDS
_SILENCE_SAMPLES = 1 << 20
_RESAMPLED_SAMPLES = 1 << 13  # a piece of output: fewer and larger ones cost less


def encode_flac(samples: Pcm, sample_rate_hz: int) -> bytes:
    """FLAC of mono sound, 16 bits a sample.

    Args:
        samples: Int16, shape [num_samples].
        sample_rate_hz: Rate of `samples`.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate_hz, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def decode_flac(chunk: AudioChunk) -> Samples:
    """Samples of a chunk.

    Returns:
        Float32 in [-1, 1], shape [num_samples].

    Raises:
        DecodeError: The bytes are no FLAC.
    """
    try:
        samples, _ = soundfile.read(io.BytesIO(chunk.flac), dtype="float32")
    except soundfile.LibsndfileError as error:
        message = (
            f"cannot decode the sound from {chunk.start_us} to {chunk.end_us} µs ({error}); "
            "verify the table that holds it"
        )
        raise DecodeError(message) from error
    return np.asarray(samples, np.float32)


def join_sound(chunks: Sequence[AudioChunk]) -> tuple[int, Samples]:
    """One stretch of sound from chunks of one rate; what no chunk covers is silence.

    Args:
        chunks: Chunks of one media, by start.

    Returns:
        Start on the timeline in microseconds, and float32 samples in [-1, 1], shape [num_samples]; `(0, [])`
        for no chunks.

    Raises:
        DecodeError: The chunks differ in rate, or one is damaged.
    """
    if not chunks:
        return 0, np.zeros(0, np.float32)
    rates = {chunk.sample_rate_hz for chunk in chunks}
    if len(rates) > 1:
        message = f"cannot join sound of several rates ({sorted(rates)} Hz); join the chunks of one media only"
        raise DecodeError(message)
    start_us, rate = chunks[0].start_us, rates.pop()
    parts = [(_num_samples(chunk.start_us - start_us, rate), decode_flac(chunk)) for chunk in chunks]
    joined = np.zeros(max(position + len(part) for position, part in parts), np.float32)
    for position, part in parts:
        joined[position : position + len(part)] = part
    return start_us, joined


class ChunkWriter:
    """Cuts a stretch of samples into FLAC chunks on an absolute grid of time, keeping at most one unencoded.

    Args:
        start_us: Time of the first sample.
        rate_hz: Samples a second.
        chunk_us: Distance of the grid's borders.
        keep: Takes each chunk as it is full; without it they are kept, and `finish` returns them.

    Attributes:
        meter: What the sound is like so far, but for the samples of the chunk that is not full.
    """

    def __init__(
        self, start_us: int, *, rate_hz: int, chunk_us: int, keep: Callable[[AudioChunk], None] | None = None
    ) -> None:
        self.start_us = start_us
        self.num_samples = 0
        self._rate_hz = rate_hz
        self._chunk_us = chunk_us
        self._pending: list[Pcm] = []
        self._chunk_start = 0
        self._chunk_end = self._border_after(0)
        self._chunks: list[AudioChunk] = []
        self._keep = keep or self._chunks.append
        self.meter = SoundMeter(start_us)

    @property
    def end_us(self) -> int:
        """Time of the end of the last sample, from the count of samples."""
        return self._time_us(self.num_samples)

    def write(self, samples: Pcm) -> None:
        """Append samples, int16, shape [num_samples]."""
        while len(samples):
            part = samples[: self._chunk_end - self.num_samples]
            self._pending.append(part)
            self.num_samples += len(part)
            samples = samples[len(part) :]
            if self.num_samples == self._chunk_end:
                self._close_chunk()

    def write_silence(self, num_samples: int) -> None:
        """Append zeros."""
        for begin in range(0, num_samples, _SILENCE_SAMPLES):
            self.write(np.zeros(min(_SILENCE_SAMPLES, num_samples - begin), np.int16))

    def finish(self) -> tuple[AudioChunk, ...]:
        """All chunks by time, but for those that `keep` took."""
        if self._pending:
            self._close_chunk()
        return tuple(self._chunks)

    def _close_chunk(self) -> None:
        samples = np.concatenate(self._pending)
        flac, quality = encode_flac(samples, self._rate_hz), self.meter.measure(samples, self._rate_hz)
        start_us, end_us = self._time_us(self._chunk_start), self._time_us(self.num_samples)
        self._keep(AudioChunk(start_us, end_us, flac, self._rate_hz, quality))
        self._pending = []
        self._chunk_start, self._chunk_end = self.num_samples, self._border_after(self.num_samples)

    def _time_us(self, sample: int) -> int:
        return self.start_us + _span_us(sample, self._rate_hz)

    def _border_after(self, sample: int) -> int:
        """Index of the first sample at or after the next border of the grid."""
        border_us = (self._time_us(sample) // self._chunk_us + 1) * self._chunk_us
        return max(sample + 1, -(-(border_us - self.start_us) * self._rate_hz // MICROSECONDS))


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
        return self._anchor_us + _span_us(self._fed_samples, rate)

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
        self._drop = _num_samples(max(-start_us, 0), self._rate_hz)
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
            missing = _num_samples(t_us - self._writer.start_us, self._rate_hz) - self._writer.num_samples
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
        self._write(self._resampler.resample(frame))

    def _flush(self) -> None:
        if self._resampler is not None:
            resampler, self._resampler = self._resampler, None
            self._write(resampler.resample(None))

    def _write(self, frames: list[av.AudioFrame | None]) -> None:
        for frame in frames:
            if frame is None or self._writer is None:
                continue
            samples = np.frombuffer(frame.planes[0], np.int16, frame.samples)
            dropped = min(self._drop, len(samples))
            self._drop -= dropped
            self._writer.write(samples[dropped:].copy())


def _num_samples(span_us: int, rate_hz: int) -> int:
    """Samples nearest to a span of time."""
    return (2 * span_us * rate_hz + MICROSECONDS) // (2 * MICROSECONDS)


def _span_us(num_samples: int, rate_hz: int) -> int:
    """Microseconds nearest to the length of a number of samples."""
    return (2 * num_samples * MICROSECONDS + rate_hz) // (2 * rate_hz)
