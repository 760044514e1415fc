"""Sound: samples in, chunks of mono FLAC on the timeline out, and back to samples."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from features.errors import DecodeError
from features.identity import MICROSECONDS
from features.media.loudness import SoundMeter
from features.records import AudioChunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]
    Pcm = npt.NDArray[np.int16]

_SILENCE_SAMPLES = 1 << 20


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
    parts = [(num_samples_of(chunk.start_us - start_us, rate), decode_flac(chunk)) for chunk in chunks]
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
        return self.start_us + span_us_of(sample, self._rate_hz)

    def _border_after(self, sample: int) -> int:
        """Index of the first sample at or after the next border of the grid."""
        border_us = (self._time_us(sample) // self._chunk_us + 1) * self._chunk_us
        return max(sample + 1, -(-(border_us - self.start_us) * self._rate_hz // MICROSECONDS))


def num_samples_of(span_us: int, rate_hz: int) -> int:
    """Samples nearest to a span of time."""
    return (2 * span_us * rate_hz + MICROSECONDS) // (2 * MICROSECONDS)


def span_us_of(num_samples: int, rate_hz: int) -> int:
    """Microseconds nearest to the length of a number of samples."""
    return (2 * num_samples * MICROSECONDS + rate_hz) // (2 * rate_hz)
