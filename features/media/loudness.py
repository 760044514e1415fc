"""Loudness (EBU R 128), peak, clipping and silence of sound, a chunk at a time."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from features.identity import MICROSECONDS
from features.records import SoundQuality

if TYPE_CHECKING:
    import numpy.typing as npt

    Pcm = npt.NDArray[np.int16]
    Floats = npt.NDArray[np.float32]

SILENCE_DBFS = -60.0
"""Sound whose level over 20 ms is below this is silence: room tone and tape hiss lie above, dither below."""

CLIPPED_RUN = 3
"""Samples at full scale in a row that count as clipped: a peak that just touches it has one or two."""

_STEP_US = 100_000  # blocks of 400 ms overlap by 75 %, so a block is four steps
_STEPS_A_BLOCK = 4
_ABSOLUTE_GATE_LUFS = -70.0
_RELATIVE_GATE_LU = -10.0
_OFFSET_LUFS = -0.691  # makes the filter's gain at 997 Hz come out as 0
_FULL_SCALE = 32768
_CLIPPED = 32767
_WINDOWS_A_SECOND = 50


class SoundMeter:
    """Measures chunks of one sound in order of time; keeps 40 bytes for each second of it.

    Steps of 100 ms lie on the timeline's own grid, so meters of two stretches join to the meter of both, where
    the second has heard the last 100 ms of the first (`hear`).

    Args:
        start_us: Time of the first sample.

    Attributes:
        num_samples: Samples so far.
        num_clipped: Those of them in runs at full scale.
        num_silent: Those of them in silence.
    """

    def __init__(self, start_us: int = 0) -> None:
        self.num_samples = self.num_clipped = self.num_silent = 0
        self._start_us = start_us
        self._energies: list[Floats] = []
        self._open_energy = 0.0
        self._heard = np.zeros(0, np.float32)

    def measure(self, samples: Pcm, rate_hz: int) -> SoundQuality:
        """Quality of the next chunk.

        Args:
            samples: Mono, int16, shape [num_samples].
            rate_hz: Rate of `samples`, the same for all chunks; 16,000 for what is stored.
        """
        if not len(samples):
            return SoundQuality(loudness_lufs=None, peak=0.0, clipped_share=0.0, silence_share=0.0)
        energies = self._take_energies(samples, rate_hz)
        clipped, silent = _num_clipped(samples), _num_silent(samples, rate_hz)
        self.num_samples += len(samples)
        self.num_clipped += clipped
        self.num_silent += silent
        return SoundQuality(
            loudness_lufs=integrated(energies),
            peak=max(int(samples.max()), -int(samples.min())) / _FULL_SCALE,
            clipped_share=clipped / len(samples),
            silence_share=silent / len(samples),
        )

    def loudness_lufs(self) -> float | None:
        """Integrated loudness of all chunks, None where all is below the gate or there is no block of 400 ms."""
        return integrated(np.concatenate(self._energies)) if self._energies else None

    def hear(self, samples: Pcm) -> None:
        """Take what sounded just before the first chunk, at least 100 ms of it, without counting it."""
        self._heard = samples.astype(np.float32) / np.float32(_FULL_SCALE)

    def join(self, later: SoundMeter) -> None:
        """Take all that a meter of the stretch just after has measured."""
        self._energies += later._energies
        self.num_samples += later.num_samples
        self.num_clipped += later.num_clipped
        self.num_silent += later.num_silent

    def _take_energies(self, samples: Pcm, rate_hz: int) -> Floats:
        """Mean square of each step that ends in these samples; one that began before the sound is left out."""
        borders = self._borders(self.num_samples, self.num_samples + len(samples), rate_hz)
        squares = np.append(self._weighted(samples, rate_hz) ** 2, np.float32(0))
        sums = np.add.reduceat(squares, [0, *(borders - self.num_samples)], dtype=np.float64)
        sums[0] += self._open_energy
        self._open_energy = float(sums[-1])
        whole = sums[0 if self._began_on_border(rate_hz) or self._energies else 1 : -1]
        energies = np.asarray(whole * MICROSECONDS / (_STEP_US * rate_hz), np.float32)
        if len(borders):
            self._energies.append(energies)
        return energies

    def _borders(self, begin: int, end: int, rate_hz: int) -> npt.NDArray[np.int64]:
        """Samples after `begin`, up to `end`, at which a step begins: the first at or after its time."""
        first = self._start_us // _STEP_US
        last = first + 2 + end * MICROSECONDS // (rate_hz * _STEP_US)
        first += begin * MICROSECONDS // (rate_hz * _STEP_US)
        times_us = np.arange(first, last + 1) * _STEP_US - self._start_us
        samples = -(-times_us * rate_hz // MICROSECONDS)
        return samples[(samples > begin) & (samples <= end)]

    def _began_on_border(self, rate_hz: int) -> bool:
        return self._start_us % _STEP_US * rate_hz < MICROSECONDS

    def _weighted(self, samples: Pcm, rate_hz: int) -> Floats:
        """The samples as the ear weights them (K-weighting)."""
        taps = len(impulse_response(rate_hz))
        heard = np.concatenate([np.zeros(taps, np.float32), self._heard, samples.astype(np.float32) / _FULL_SCALE])
        self._heard = heard[-taps + 1 :]
        return _filtered(heard[-(len(samples) + taps - 1) :], rate_hz)


def integrated(energies: Floats) -> float | None:
    """Integrated loudness from the mean square of steps of 100 ms.

    Args:
        energies: K-weighted, shape [num_steps].

    Returns:
        LUFS, or None where all blocks are below the gate or there are fewer than four steps.

    Reference:
        ITU-R BS.1770-4 (2015), annex 1; EBU R 128 (2014).
    """
    if len(energies) < _STEPS_A_BLOCK:
        return None
    blocks = np.convolve(energies.astype(np.float64), np.full(_STEPS_A_BLOCK, 1 / _STEPS_A_BLOCK), "valid")
    blocks = blocks[blocks > _energy(_ABSOLUTE_GATE_LUFS)]
    if not len(blocks):
        return None
    return _loudness(blocks[blocks > _energy(_loudness(blocks.mean()) + _RELATIVE_GATE_LU)].mean())


def _loudness(energy: float) -> float:
    return _OFFSET_LUFS + 10 * math.log10(energy)


def _energy(loudness_lufs: float) -> float:
    return float(10 ** ((loudness_lufs - _OFFSET_LUFS) / 10))


def _num_clipped(samples: Pcm) -> int:
    """Samples in runs at full scale."""
    full = (samples >= _CLIPPED) | (samples <= -_CLIPPED)
    if not full.any():
        return 0
    edges = np.flatnonzero(np.diff(np.concatenate([[0], full.astype(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2]
    return int(lengths[lengths >= CLIPPED_RUN].sum())


def _num_silent(samples: Pcm, rate_hz: int) -> int:
    """Samples in windows of 20 ms that are silent."""
    starts = np.arange(0, len(samples), max(rate_hz // _WINDOWS_A_SECOND, 1))
    lengths = np.diff(starts, append=len(samples))
    squares = np.add.reduceat(samples.astype(np.float32) ** 2, starts) / lengths
    return int(lengths[squares < (_FULL_SCALE * 10 ** (SILENCE_DBFS / 20)) ** 2].sum())


def _filtered(samples: Floats, rate_hz: int) -> Floats:
    """K-weighted sound by overlap-save; all but the first 100 ms less a sample, which are what was heard before."""
    taps = len(impulse_response(rate_hz))
    size, spectrum = _spectrum(rate_hz)
    hop = size - taps + 1
    count = -(-(len(samples) - taps + 1) // hop)
    padded = np.zeros(count * hop + taps - 1, np.float32)
    padded[: len(samples)] = samples
    pieces = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    filtered = np.fft.irfft(np.fft.rfft(pieces) * spectrum, size)[:, taps - 1 :]
    return np.asarray(filtered.reshape(-1)[: len(samples) - taps + 1], np.float32)


@functools.lru_cache(maxsize=4)
def _spectrum(rate_hz: int) -> tuple[int, npt.NDArray[np.complex64]]:
    """Size of the transform, and the filter's."""
    impulse = impulse_response(rate_hz)
    size = 4 << (len(impulse) - 1).bit_length()
    return size, np.fft.rfft(impulse, size).astype(np.complex64)


@functools.lru_cache(maxsize=4)
def impulse_response(rate_hz: int) -> Floats:
    """Response of the K-weighting filter to an impulse, 100 ms: there it has died away to below 1e-9.

    As a finite filter it needs no state but the sound just before, and no SciPy, whose import alone costs a child
    process over a second and 80 MB.

    Reference:
        ITU-R BS.1770-4, annex 1; for other rates than 48 kHz by the bilinear transform, as in libebur128.
    """
    impulse = np.zeros(rate_hz * _STEP_US // MICROSECONDS)
    impulse[0] = 1.0
    for numerator, denominator in (_shelf(rate_hz), _high_pass(rate_hz)):
        impulse = _recursive(impulse, numerator, denominator)
    return impulse.astype(np.float32)


_Coefficients = tuple[float, float, float]


def _shelf(rate_hz: int) -> tuple[_Coefficients, _Coefficients]:
    """The head's effect: +4 dB above 1.7 kHz."""
    k = math.tan(math.pi * 1681.974450955533 / rate_hz)
    gain = 10 ** (3.999843853973347 / 20)
    middle, quality = gain**0.4996667741545416, 0.7071752369554196
    a0 = 1 + k / quality + k * k
    b0, b2 = (gain + middle * k / quality + k * k) / a0, (gain - middle * k / quality + k * k) / a0
    return (b0, 2 * (k * k - gain) / a0, b2), (1.0, 2 * (k * k - 1) / a0, (1 - k / quality + k * k) / a0)


def _high_pass(rate_hz: int) -> tuple[_Coefficients, _Coefficients]:
    """The ear's deafness below 38 Hz."""
    k, quality = math.tan(math.pi * 38.13547087602444 / rate_hz), 0.5003270373238773
    a0 = 1 + k / quality + k * k
    return (1.0, -2.0, 1.0), (1.0, 2 * (k * k - 1) / a0, (1 - k / quality + k * k) / a0)


def _recursive(
    samples: npt.NDArray[np.float64], numerator: _Coefficients, denominator: _Coefficients
) -> npt.NDArray[np.float64]:
    """A filter of second order, in direct form."""
    filtered = np.zeros(len(samples) + 2)
    padded = np.concatenate([[0.0, 0.0], samples])
    for n in range(2, len(padded)):
        forward = numerator[0] * padded[n] + numerator[1] * padded[n - 1] + numerator[2] * padded[n - 2]
        filtered[n] = forward - denominator[1] * filtered[n - 1] - denominator[2] * filtered[n - 2]
    return filtered[2:]
