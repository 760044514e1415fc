"""What is voiced in a window of sound, at which pitch, how loud and how bright, each 10 ms; for `prosody`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from features.extractors.rows import SAMPLE_RATE_HZ

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]
    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

FRAME_LENGTH = 1024
HOP_LENGTH = 160
FRAMES_A_SECOND = SAMPLE_RATE_HZ / HOP_LENGTH
LOWEST_HZ, HIGHEST_HZ = 60.0, 600.0
MEDIAN_FRAMES = 5

LEAST_PERIODICITY = 0.5
SILENCE_DB = -60.0
SPEECH_RANGE_DB = 25.0
LEAST_PAUSE_SECONDS = 0.2
SYLLABLE_DIP_DB = 2.0
WIDEST_RATIO_DB = 60.0
"""Ratios beyond it tell of filters and of rounding, not of a voice."""

_LOWEST_POWER = 1e-10
_LONGEST_PERIOD = int(np.ceil(SAMPLE_RATE_HZ / LOWEST_HZ)) + 1


class VoiceFrames(NamedTuple):
    """A window of sound each 10 ms from its start; all of shape [num_frames], a frame each 160 samples.

    Attributes:
        level_db: Mean square around the frame, dB relative to full scale, at least -100.
        pitch_hz: Fundamental frequency, 60 to 600; a guess where the frame is not voiced.
        periodicity: Correlation of the frame with itself a period later, -1 to 1.
        alpha_ratio_db: Energy of 1 to 5 kHz over that of 50 Hz to 1 kHz, -60 to 60; higher with vocal effort.
        hammarberg_db: Highest peak of 2 to 5 kHz over that below 2 kHz, -60 to 60.
        is_speech: Whether the level lies within 25 dB of the window's 99th percentile, and above -60 dB.
        is_voiced: Whether it is speech with a periodicity of at least 0.5.
    """

    level_db: Floats
    pitch_hz: Floats
    periodicity: Floats
    alpha_ratio_db: Floats
    hammarberg_db: Floats
    is_speech: Flags
    is_voiced: Flags


class VoiceModel:
    """Follows pitch and level of one window at a time."""

    def __init__(self) -> None:
        from scipy.signal.windows import hann

        self._weights = hann(FRAME_LENGTH, sym=False).astype(np.float32)
        self(np.zeros(FRAME_LENGTH, np.float32))  # compiles librosa's tracker

    def __call__(self, samples: Array) -> VoiceFrames:
        """Pitch, level and voicing of one window.

        Args:
            samples: Float32 in [-1, 1] at 16 kHz, shape [num_samples], not empty.
        """
        frames = _frames(samples)
        level_db = self._level_db(frames, len(samples))
        pitch_hz = _pitch_hz(samples)[: len(frames)]
        periodicity = _periodicity(frames, np.round(SAMPLE_RATE_HZ / pitch_hz).astype(np.intp))
        alpha_ratio_db, hammarberg_db = self._balance_db(frames)
        lowest_db = max(float(np.percentile(level_db, 99)) - SPEECH_RANGE_DB, SILENCE_DB)
        is_speech = level_db > lowest_db
        is_voiced = is_speech & (periodicity >= LEAST_PERIODICITY)
        return VoiceFrames(level_db, pitch_hz, periodicity, alpha_ratio_db, hammarberg_db, is_speech, is_voiced)

    def _level_db(self, frames: Array, num_samples: int) -> Floats:
        """Level over the part of each frame that lies within the sound: its ends are no softer than the rest."""
        weights = _frames(np.ones(num_samples, np.float32)) @ self._weights
        return _decibels(frames**2 @ self._weights / weights)

    def _balance_db(self, frames: Array) -> tuple[Floats, Floats]:
        """Alpha ratio and Hammarberg index."""
        from scipy.fft import rfft

        spectrum = rfft(frames * self._weights, overwrite_x=True)
        power = spectrum.real**2 + spectrum.imag**2
        low, high = power[:, _bins(50, 1_000)].sum(axis=1), power[:, _bins(1_000, 5_000)].sum(axis=1)
        dark, bright = power[:, _bins(0, 2_000)].max(axis=1), power[:, _bins(2_000, 5_000)].max(axis=1)
        return _ratio_db(high, low), _ratio_db(bright, dark)


def _frames(samples: Array) -> Array:
    """Frames around each 160th sample, zeros beyond the ends: shape [num_frames, FRAME_LENGTH]."""
    padded = np.pad(samples, FRAME_LENGTH // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, FRAME_LENGTH)[: len(samples) : HOP_LENGTH]


def _pitch_hz(samples: Array) -> Floats:
    import librosa
    from scipy.ndimage import median_filter

    pitch = librosa.yin(
        samples,
        fmin=LOWEST_HZ,
        fmax=HIGHEST_HZ,
        sr=SAMPLE_RATE_HZ,
        frame_length=FRAME_LENGTH,
        hop_length=HOP_LENGTH,
    )
    smooth: Floats = median_filter(pitch, MEDIAN_FRAMES, mode="nearest")  # the tracker errs by octaves, a frame or two
    return np.clip(smooth, LOWEST_HZ, HIGHEST_HZ)


def _bins(lowest_hz: int, highest_hz: int) -> slice:
    """Bins of a frame's spectrum from one frequency to below another."""
    return slice(*(-(-hertz * FRAME_LENGTH // SAMPLE_RATE_HZ) for hertz in (lowest_hz, highest_hz)))


def _ratio_db(over: Array, under: Array) -> Floats:
    return np.clip(_decibels(over) - _decibels(under), -WIDEST_RATIO_DB, WIDEST_RATIO_DB)


def _decibels(power: Array) -> Floats:
    return 10 * np.log10(np.maximum(power.astype(np.float64), _LOWEST_POWER))


def _periodicity(frames: Array, periods: npt.NDArray[np.intp]) -> Floats:
    """Normalised correlation of each frame with itself, so many samples later."""
    size = FRAME_LENGTH - _LONGEST_PERIOD
    now = frames[:, :size]
    later = np.take_along_axis(frames, periods[:, None] + np.arange(size), axis=1)
    energies = (now**2).sum(axis=1) * (later**2).sum(axis=1)
    products = (now * later).sum(axis=1)
    periodicity: Floats = (products / np.sqrt(np.maximum(energies, _LOWEST_POWER**2))).astype(np.float64)
    return periodicity
