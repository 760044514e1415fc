"""What the simple extractors share: windows of sound on a grid of time, and a feature row an item."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from features.errors import ExtractionError
from features.extractors.shared import sounds
from features.identity import MICROSECONDS, Span
from features.records import FeatureRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from features.records import AudioChunk, MediaRows

    Samples = npt.NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
"""Rate of the sound in the store, and of what the models of sound expect."""

_GAP_US = 1_000


class SoundWindow(NamedTuple):
    """Samples of `[start_us, end_us)`: float32 in [-1, 1], shape [num_samples], at 16 kHz."""

    start_us: int
    end_us: int
    samples: Samples


class HasSpan(Protocol):
    """An item with a place on the timeline."""

    @property
    def start_us(self) -> int:
        """Start, microseconds."""

    @property
    def end_us(self) -> int:
        """End, microseconds."""


def span_of(item: HasSpan) -> Span:
    """The item's place, without its payload."""
    return Span(item.start_us, item.end_us)


def feature_rows(items: Sequence[HasSpan], outputs: Sequence[npt.NDArray[np.float32]]) -> list[FeatureRow]:
    """One row an item.

    Args:
        items: Their places on the timeline, in order.
        outputs: A vector each; any shape, flattened.
    """
    return [
        FeatureRow(item.start_us, item.end_us, np.ravel(output)) for item, output in zip(items, outputs, strict=True)
    ]


def sound_windows(rows: MediaRows, *, window_us: int, loudness_lufs: float | None = None) -> Iterator[SoundWindow]:
    """Cut a media's sound at the multiples of `window_us` of the timeline and wherever chunks do not join.

    One window and one chunk are held at a time, however long the media. The windows at the ends of a stretch
    of sound may be shorter than the rest.

    Args:
        rows: A media with its sound.
        window_us: Length of a full window.
        loudness_lufs: Integrated loudness (EBU R 128) that the media is brought to, one gain for all of it, as far as
            no sample leaves [-1, 1]; None, or a media whose loudness is not known: as it is.

    Yields:
        Windows by start; none is empty.

    Raises:
        ExtractionError: A chunk's rate is not 16 kHz.
        DecodeError: A chunk is damaged, and nobody listens.
    """
    gain = _gain(rows, loudness_lufs)
    start_us, buffer = 0, np.zeros(0, np.float32)
    for chunk, samples in sounds(rows):
        _check_rate(chunk)
        if len(buffer) and abs(chunk.start_us - _end_us(start_us, buffer)) > _GAP_US:
            yield _window(start_us, buffer)
            buffer = buffer[:0]
        if not len(buffer):
            start_us = chunk.start_us
        buffer = np.concatenate([buffer, samples if gain == 1 else samples * np.float32(gain)])
        border_us = (start_us // window_us + 1) * window_us
        while len(buffer) >= (size := _num_samples(border_us - start_us)):
            if size:
                yield SoundWindow(start_us, border_us, buffer[:size])
            start_us, border_us, buffer = border_us, border_us + window_us, buffer[size:]
    if len(buffer):
        yield _window(start_us, buffer)


def _gain(rows: MediaRows, loudness_lufs: float | None) -> float:
    """Factor that brings a media to a loudness; no more than its largest sample allows."""
    if loudness_lufs is None or rows.loudness_lufs is None:
        return 1.0
    wanted = 10 ** ((loudness_lufs - rows.loudness_lufs) / 20)
    peaks = [chunk.quality.peak for chunk in rows.audio if chunk.quality is not None]
    return float(min(wanted, 1 / max(peaks))) if peaks and max(peaks) > 0 else float(wanted)


def _window(start_us: int, samples: Samples) -> SoundWindow:
    return SoundWindow(start_us, _end_us(start_us, samples), samples)


def _end_us(start_us: int, samples: Samples) -> int:
    return start_us + round(len(samples) * MICROSECONDS / SAMPLE_RATE_HZ)


def _num_samples(span_us: int) -> int:
    return round(span_us * SAMPLE_RATE_HZ / MICROSECONDS)


def _check_rate(chunk: AudioChunk) -> None:
    if chunk.sample_rate_hz != SAMPLE_RATE_HZ:
        message = (
            f"sound at {chunk.start_us} µs has {chunk.sample_rate_hz} samples a second, not {SAMPLE_RATE_HZ}; "
            "ingest the media again"
        )
        raise ExtractionError(message)
