"""Spectra of many windows of sound at once, each with the values that it has alone; for `mfcc` and `mel`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.extractors.groups import in_groups
from features.extractors.rows import SAMPLE_RATE_HZ
from features.identity import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from features.extractors.rows import SoundWindow

    Array = npt.NDArray[np.float32]

N_FFT = 512
HOP_LENGTH = 160
N_MELS = 64
WINDOW_US = MICROSECONDS
SHORTEST_US = MICROSECONDS // 4

LOWEST_POWER = 1e-10
TOP_DB = 80.0

TOGETHER_SAMPLES = 2 * SAMPLE_RATE_HZ
"""Samples that are transformed at once. More gains nothing, and from 4 s glibc hands each array's pages back to the
kernel: 135 page faults a window, which take longer than the transform."""


class LogMel:
    """Log-mel spectrograms as of librosa 0.11, with the filters made once; librosa makes them anew at each call."""

    def __init__(self) -> None:
        from librosa.filters import get_window, mel

        self._window = get_window("hann", N_FFT).astype(np.float32)
        filters = mel(sr=SAMPLE_RATE_HZ, n_fft=N_FFT, n_mels=N_MELS)
        self._filters = np.ascontiguousarray(filters.T)  # [N_FFT // 2 + 1, N_MELS]

    def __call__(self, samples: Array) -> Array:
        """Power in mel bands, as librosa's `power_to_db(melspectrogram(y))` gives it for each window alone.

        Frames of 512 samples every 160, the first and last around the window's ends, with zeros beyond them.

        Args:
            samples: Float32 in [-1, 1] at 16 kHz, shape [num_windows, num_samples]; a window may be of any length.

        Returns:
            Decibels relative to a power of 1, at least -100 and at least the window's own maximum less 80, float32,
            shape [num_windows, 1 + num_samples // 160, 64].
        """
        from scipy.fft import rfft

        padded = np.pad(samples, ((0, 0), (N_FFT // 2, N_FFT // 2)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=1)[:, ::HOP_LENGTH]
        spectrum = rfft(frames * self._window, overwrite_x=True)
        power = spectrum.real**2 + spectrum.imag**2
        decibels = _to_decibels(power @ self._filters)  # a product a window: no rounding depends on the neighbours
        lowest = decibels.max(axis=(1, 2), keepdims=True) - np.float32(TOP_DB)
        clipped: Array = np.maximum(decibels, lowest, out=decibels)
        return clipped


def for_each_length(items: Sequence[SoundWindow], work: Callable[[Array], Array]) -> list[Array]:
    """Results of a function that takes windows of equal length together.

    Args:
        items: Windows of any lengths.
        work: From samples, float32, shape [num_windows, num_samples], to an array whose first axis is the windows.

    Returns:
        A result a window, in the order of `items`.
    """
    return in_groups(
        items,
        lambda item: len(item.samples),
        lambda group: work(np.stack([item.samples for item in group])),
        most=lambda item: TOGETHER_SAMPLES // len(item.samples),
    )


def _to_decibels(power: Array) -> Array:
    decibels: Array = np.log10(np.maximum(power, np.float32(LOWEST_POWER)))
    decibels *= np.float32(10)
    return decibels
