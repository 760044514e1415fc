"""A made-up media to measure extractors on: drawn pictures, babble that a detector takes for speech, sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.extractors.rows import SAMPLE_RATE_HZ
from features.identity import MICROSECONDS
from features.media.pictures import encode_jpeg
from features.media.sound import encode_flac
from features.records import AudioChunk, Frame, MediaRows, Utterance
from features.synthetic.faces import draw_face, make_look
from features.synthetic.sentences import make_sentence

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

MEDIA_SECONDS = 8
"""Length of the media: a picture a second, sound all through, an utterance every two seconds."""

_WIDTH, _HEIGHT = 640, 360
_UTTERANCE_SECONDS = 2
_VOWELS_HZ = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))
_BANDWIDTHS_HZ = (80, 100, 140)


def make_media(seed: int = 0) -> MediaRows:
    """Eight seconds of a media as the store keeps them, the same for the same seed."""
    rng = np.random.default_rng(seed)
    pcm = np.round(babble(MEDIA_SECONDS, rng) * 32767).astype(np.int16)
    duration_us = MEDIA_SECONDS * MICROSECONDS
    return MediaRows(
        media_id="made up",
        duration_us=duration_us,
        has_video=True,
        has_audio=True,
        has_text=True,
        frames=_frames(rng),
        audio=(AudioChunk(0, duration_us, encode_flac(pcm, SAMPLE_RATE_HZ), SAMPLE_RATE_HZ),),
        utterances=_utterances(rng),
    )


def babble(seconds: float, rng: np.random.Generator) -> Samples:
    """Syllables without a meaning: hiss, then a vowel of three formants at a falling pitch.

    Args:
        seconds: Length.
        rng: Source of chance: which vowels, at which pitch, how long.

    Returns:
        Float32 in [-0.3, 0.3], shape [seconds * 16,000].

    Reference:
        Peterson & Barney (1952), doi:10.1121/1.1906875: the formants of the vowels.
    """
    wanted, parts, num_made = round(seconds * SAMPLE_RATE_HZ), [], 0
    while num_made < wanted:
        hiss = 0.1 * rng.normal(size=int(rng.uniform(0.03, 0.09) * SAMPLE_RATE_HZ)).clip(-3, 3)
        parts += [hiss, _vowel(rng)]
        num_made += len(parts[-2]) + len(parts[-1])
    return np.asarray(0.3 * np.concatenate(parts)[:wanted], np.float32)


def _vowel(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    from scipy.signal import lfilter

    num_samples = int(rng.uniform(0.12, 0.28) * SAMPLE_RATE_HZ)
    pitch_hz = rng.uniform(95, 150) * np.linspace(1.05, 0.92, num_samples)
    pulses = np.diff(np.floor(np.cumsum(pitch_hz / SAMPLE_RATE_HZ)), prepend=0)
    sound = pulses + 0.01 * rng.normal(size=num_samples)
    for formant_hz, bandwidth_hz in zip(_VOWELS_HZ[rng.integers(len(_VOWELS_HZ))], _BANDWIDTHS_HZ, strict=True):
        radius = np.exp(-np.pi * bandwidth_hz / SAMPLE_RATE_HZ)
        turn = 2 * np.cos(2 * np.pi * formant_hz / SAMPLE_RATE_HZ)
        sound = lfilter([1 - radius], [1, -radius * turn, radius**2], sound)
    sound = sound * np.sqrt(np.hanning(num_samples))
    return np.asarray(sound / np.abs(sound).max(), np.float64)


def _frames(rng: np.random.Generator) -> tuple[Frame, ...]:
    look = make_look(rng, width=_WIDTH, height=_HEIGHT)
    pictures = [encode_jpeg(draw_face(0.5, float(second), look)) for second in range(MEDIA_SECONDS)]
    starts = [second * MICROSECONDS for second in range(MEDIA_SECONDS)]
    return tuple(
        Frame(start, MICROSECONDS, start, start + MICROSECONDS, jpeg, _WIDTH, _HEIGHT)
        for start, jpeg in zip(starts, pictures, strict=True)
    )


def _utterances(rng: np.random.Generator) -> tuple[Utterance, ...]:
    step_us = _UTTERANCE_SECONDS * MICROSECONDS
    starts = range(0, MEDIA_SECONDS * MICROSECONDS, step_us)
    return tuple(Utterance(start, start + step_us, make_sentence(0.5, rng), "subtitle", "en") for start in starts)
