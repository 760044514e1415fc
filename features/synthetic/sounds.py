"""A small melody whose pitch, loudness and brightness show a mood; its notes and rhythm are chance.

It is plucked, not spoken, so that a speech recogniser that listens to it rightly hears nothing.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Samples: TypeAlias = NDArray[np.float32]
_Curve: TypeAlias = NDArray[np.float64]

SAMPLE_RATE_HZ = 16_000
"""Rate of every sound made here."""

_BASE_HZ = 520.0
_SCALE = (0, 2, 4, 7, 9, 12)  # semitones of a pentatonic scale: no chance melody sounds wrong
_NUM_HARMONICS = 4


def make_sound(latent: float, duration_seconds: float, rng: np.random.Generator) -> Samples:
    """Plucked notes over faint noise.

    A positive mood plays higher, louder, brighter and longer notes; a negative one the reverse.

    Args:
        latent: Strength of the mood, about -3 to 3.
        duration_seconds: Length of the sound.
        rng: Source of chance: the instrument's pitch, the melody, the rhythm, the noise.

    Returns:
        Mono at 16 kHz in [-1, 1], float32, shape [num_samples].
    """
    num_samples = round(duration_seconds * SAMPLE_RATE_HZ)
    mood = math.tanh(latent / 1.6)
    base_hz = _BASE_HZ * 2 ** (rng.normal(0.0, 0.08) + 0.3 * mood)
    melody = np.zeros(num_samples)
    start = round(rng.uniform(0.05, 0.25) * SAMPLE_RATE_HZ)
    while start < num_samples:
        note = _note(mood, base_hz, rng)[: num_samples - start]
        melody[start : start + len(note)] += note
        start += len(note) + round(float(rng.uniform(0.0, 0.08)) * SAMPLE_RATE_HZ)
    loudness = 0.3 * 10 ** ((5.0 * mood + rng.normal(0.0, 1.0)) / 20)
    noise = rng.normal(0.0, rng.uniform(0.001, 0.003), num_samples)
    return np.clip(loudness * melody + noise, -1.0, 1.0).astype(np.float32)


def _note(mood: float, base_hz: float, rng: np.random.Generator) -> _Curve:
    """One plucked note of the scale, largest sample about 1."""
    seconds = np.arange(round(float(rng.uniform(0.18, 0.4)) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    pitch_hz = base_hz * 2 ** (rng.choice(_SCALE) / 12)
    harmonics = np.arange(1.0, _NUM_HARMONICS + 1)
    weights = (0.5 + 0.15 * mood) ** (harmonics - 1)
    tone = weights @ np.sin(2 * np.pi * pitch_hz * harmonics[:, None] * seconds)
    envelope = np.minimum(1.0, seconds / 0.008) * np.exp(-seconds * (6.0 - 2.0 * mood))
    note: _Curve = tone * envelope / weights.sum()
    return note
