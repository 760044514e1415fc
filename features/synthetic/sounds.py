"""A voice-like sound whose pitch, loudness and brightness show a mood; its vowels and rhythm are chance."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
_Curve: TypeAlias = NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
"""Rate of every sound made here."""

_NUM_HARMONICS = 12
_VOWELS = ((700.0, 1200.0), (400.0, 2000.0), (300.0, 900.0), (500.0, 1500.0), (600.0, 1000.0))


def make_sound(latent: float, duration_seconds: float, rng: np.random.Generator) -> Samples:
    """Syllable-like bursts of a harmonic tone over noise.

    A positive mood speaks higher, louder and brighter, and its melody rises; a negative one the reverse.

    Args:
        latent: Strength of the mood, about -3 to 3.
        duration_seconds: Length of the sound.
        rng: Source of chance: the speaker's pitch, the rhythm, the vowels, the noise.

    Returns:
        Mono at 16 kHz in [-1, 1], float32, shape [num_samples].
    """
    num_samples = round(duration_seconds * SAMPLE_RATE_HZ)
    mood = math.tanh(latent / 1.6)
    base_hz = 170.0 * 2 ** (rng.normal(0.0, 0.08) + 0.3 * mood)
    voice = np.zeros(num_samples)
    start = round(rng.uniform(0.05, 0.25) * SAMPLE_RATE_HZ)
    while start < num_samples:
        syllable = _syllable(mood, base_hz, rng)[: num_samples - start]
        voice[start : start + len(syllable)] += syllable
        start += len(syllable) + _pause(rng)
    loudness = 0.16 * 10 ** ((5.0 * mood + rng.normal(0.0, 1.0)) / 20)
    noise = rng.normal(0.0, rng.uniform(0.001, 0.003), num_samples)
    return np.clip(loudness * voice + noise, -1.0, 1.0).astype(np.float32)


def _pause(rng: np.random.Generator) -> int:
    seconds = rng.uniform(0.2, 0.45) if rng.random() < 0.2 else rng.uniform(0.01, 0.06)
    return round(float(seconds) * SAMPLE_RATE_HZ)


def _syllable(mood: float, base_hz: float, rng: np.random.Generator) -> _Curve:
    """One burst, largest sample about 1."""
    num_samples = round(float(rng.uniform(0.12, 0.26)) * SAMPLE_RATE_HZ)
    along = np.linspace(0.0, 1.0, num_samples)
    glide = 0.18 * mood * along + rng.normal(0.0, 0.06)
    pitch_hz = base_hz * 2**glide
    phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
    harmonics = np.arange(1.0, _NUM_HARMONICS + 1)
    weights = _timbre(np.float64(pitch_hz.mean()) * harmonics, mood, rng)
    tone = weights @ np.sin(harmonics[:, None] * phase)
    envelope = np.minimum(1.0, along / 0.15) * np.minimum(1.0, (1.0 - along) / 0.4)
    burst: _Curve = tone * envelope / np.abs(weights).sum()
    return burst


def _timbre(frequencies_hz: _Curve, mood: float, rng: np.random.Generator) -> _Curve:
    """Weight of each harmonic: two formants of a random vowel, tilted by the mood."""
    first, second = _VOWELS[int(rng.integers(len(_VOWELS)))]
    formants = np.exp(-(((frequencies_hz - first) / 250) ** 2)) + 0.6 * np.exp(
        -(((frequencies_hz - second) / 350) ** 2)
    )
    tilt = (frequencies_hz / 200.0) ** (-1.1 + 0.5 * mood)
    weights: _Curve = (0.12 + formants) * tilt
    return weights
