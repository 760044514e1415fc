"""`prosody`: how something is said: pitch, energy, effort, pauses and speaking rate, two seconds at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.extractors.device import limit_threads
from features.extractors.rows import SAMPLE_RATE_HZ, SoundWindow
from features.extractors.simple import RowAWindow
from features.extractors.voice import (
    FRAME_LENGTH,
    FRAMES_A_SECOND,
    HIGHEST_HZ,
    HOP_LENGTH,
    LEAST_PAUSE_SECONDS,
    LEAST_PERIODICITY,
    LOWEST_HZ,
    MEDIAN_FRAMES,
    SILENCE_DB,
    SPEECH_RANGE_DB,
    SYLLABLE_DIP_DB,
    WIDEST_RATIO_DB,
    VoiceFrames,
    VoiceModel,
)
from features.identity import MICROSECONDS
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]
    Floats = npt.NDArray[np.float64]
    Flags = npt.NDArray[np.bool_]

WINDOW_US = 2 * MICROSECONDS
SHORTEST_US = MICROSECONDS // 2

REFERENCE_HZ = 100.0
UNVOICED_SEMITONES = float(12 * np.log2(np.sqrt(LOWEST_HZ * HIGHEST_HZ) / REFERENCE_HZ))
"""Pitch that is written where nothing is voiced: the middle of the tracker's range, 190 Hz."""

_TIE_DB = 1e-9

STATISTICS = (
    *("pitch_mean", "pitch_std", "pitch_p5", "pitch_median", "pitch_p95", "pitch_slope", "pitch_change"),
    *("voiced_share", "periodicity_mean", "periodicity_std"),
    *("level_mean", "level_std", "level_p5", "level_median", "level_p95", "level_slope", "level_change"),
    *("speech_level_mean", "speech_level_std"),
    *("alpha_ratio_mean", "alpha_ratio_std", "hammarberg_mean", "hammarberg_std"),
    *("pause_share", "pauses_a_second", "longest_pause_seconds"),
    *("syllables_a_second", "syllables_a_second_of_speech"),
)
"""Names of the values, in order."""


class Prosody(RowAWindow):
    """Pitch, energy, vocal effort, pauses and speaking rate of two seconds.

    Source: the pitch is `yin` of librosa 0.11, 60 to 600 Hz, a frame of 64 ms each 10 ms, a median of 5 frames; a frame
        is voiced where sound and itself a period later correlate by 0.5 or more, that is, at a harmonics-to-noise
        ratio of 0 dB. The level is the mean square under a Hann window of 64 ms. Speech is what lies within 25 dB of
        the window's 99th percentile and above -60 dB; 0.2 s or more without it is a pause. A syllable is a voiced peak
        of the level, within speech, 2 dB above the dips beside it.
    Shape: [28], as `STATISTICS` names them: pitch in semitones above 100 Hz over voiced frames (mean, standard
        deviation, percentiles, slope a second, mean absolute change a second); share of voiced frames, 0 to 1, and
        their correlation; level in dB relative to full scale (the same statistics over all frames, then mean and
        standard deviation over speech); vocal effort over voiced frames, or all where there are none: alpha ratio (1 to
        5 kHz over 50 Hz to 1 kHz) and Hammarberg index (highest peak of 2 to 5 kHz over that below), dB, -60 to 60;
        share of time in pauses, pauses a second, the longest in seconds; syllables a second, and a second of speech.
    Rate: one row every 2 s, `[2k s, 2k + 2 s)` of the media's timeline: a phrase of 8 to 10 syllables, for a
        second has too few to tell a rate or a pause by, and a stretch as a whole would say nothing of when. Windows
        cut short by the ends of the sound are kept from 0.5 s. Silence and noise have rows: where nothing is voiced the
        voiced share is 0, and the pitch is said to be the middle of its range, steady.
    Licence of the weights: there are none.

    Reference:
        De Cheveigné & Kawahara (2002), doi:10.1121/1.1458024 (pitch); Boersma (1993), Proceedings of the Institute of
        Phonetic Sciences 17 (voicing); de Jong & Wempe (2009), doi:10.3758/BRM.41.2.385 (speech and syllables);
        Eyben et al. (2016), doi:10.1109/TAFFC.2015.2457417 (vocal effort).
    """

    spec = FeatureSpec(
        name="prosody",
        version=1,
        modality="audio",
        inputs="audio",
        shape=(len(STATISTICS),),
        rate="one every 2 seconds",
        units="semitones above 100 Hz, dB relative to full scale, shares, a second",
        source="librosa 0.11: yin; de Jong & Wempe (2009), doi:10.3758/BRM.41.2.385",
        parameters=(
            ("sample_rate_hz", str(SAMPLE_RATE_HZ)),
            ("frame_length", str(FRAME_LENGTH)),
            ("hop_length", str(HOP_LENGTH)),
            ("pitch_hz", f"{LOWEST_HZ:g} to {HIGHEST_HZ:g}"),
            ("least_periodicity", str(LEAST_PERIODICITY)),
            ("median_frames", str(MEDIAN_FRAMES)),
            ("silence_db", str(SILENCE_DB)),
            ("speech_range_db", str(SPEECH_RANGE_DB)),
            ("widest_ratio_db", str(WIDEST_RATIO_DB)),
            ("least_pause_seconds", str(LEAST_PAUSE_SECONDS)),
            ("syllable_dip_db", str(SYLLABLE_DIP_DB)),
            ("window_us", str(WINDOW_US)),
            ("shortest_us", str(SHORTEST_US)),
            ("statistics", ", ".join(STATISTICS)),
        ),
    )

    window_us = WINDOW_US
    shortest_us = SHORTEST_US

    def load(self, device: str) -> VoiceModel:
        """Compile the tracker; it computes on the CPU, whatever the device."""
        model = VoiceModel()
        limit_threads()
        return model

    def __call__(self, model: VoiceModel, items: Sequence[SoundWindow]) -> Sequence[Array]:
        """A vector of 28 a window."""
        return [prosody_of(model(item.samples)) for item in items]


def prosody_of(frames: VoiceFrames) -> Array:
    """The statistics that `STATISTICS` names, float32, all finite, of one window's frames."""
    level, speech = frames.level_db, frames.is_speech
    values = [
        *_pitch(frames),
        *_trend(level, np.arange(len(level)) / FRAMES_A_SECOND),
        *_spread(level, speech),
        *_spread(frames.alpha_ratio_db, frames.is_voiced),
        *_spread(frames.hammarberg_db, frames.is_voiced),
        *_pauses(speech),
        *_syllables(frames),
    ]
    return np.array(values, np.float32)


def _pitch(frames: VoiceFrames) -> list[float]:
    voiced = frames.is_voiced
    if not voiced.any():
        steady = np.full(2, UNVOICED_SEMITONES)
        return [*_trend(steady, np.arange(2.0)), 0.0, 0.0, 0.0]
    semitones = 12 * np.log2(frames.pitch_hz[voiced] / REFERENCE_HZ)
    periodicity = frames.periodicity[voiced]
    times = np.flatnonzero(voiced) / FRAMES_A_SECOND
    return [*_trend(semitones, times), voiced.mean(), periodicity.mean(), periodicity.std()]


def _trend(values: Floats, seconds: Floats) -> list[float]:
    """Mean, standard deviation, 5th, 50th and 95th percentile, slope a second, mean absolute change a second.

    The change is that between frames that follow each other.
    """
    low, middle, high = np.percentile(values, [5, 50, 95])
    spread = seconds - seconds.mean()
    slope = spread @ values / (spread @ spread) if len(values) > 1 else 0.0
    steps = np.abs(np.diff(values))[np.diff(seconds) < 1.5 / FRAMES_A_SECOND]
    change = steps.mean() * FRAMES_A_SECOND if len(steps) else 0.0
    return [values.mean(), values.std(), low, middle, high, slope, change]


def _spread(values: Floats, where: Flags) -> list[float]:
    """Mean and standard deviation of some frames, or of all where there are none."""
    some = values[where] if where.any() else values
    return [some.mean(), some.std()]


def _pauses(speech: Flags) -> list[float]:
    """Share of time, number a second, and the longest in seconds."""
    edges = np.flatnonzero(np.diff(np.r_[True, speech, True].astype(np.int8)))
    lengths = (edges[1::2] - edges[::2]) / FRAMES_A_SECOND
    pauses = lengths[lengths >= LEAST_PAUSE_SECONDS]
    seconds = len(speech) / FRAMES_A_SECOND
    return [pauses.sum() / seconds, len(pauses) / seconds, pauses.max(initial=0.0)]


def _syllables(frames: VoiceFrames) -> list[float]:
    """Syllables a second, and a second of speech."""
    from scipy.signal import find_peaks

    level_db = frames.level_db + _TIE_DB * np.arange(len(frames.level_db))  # else each of equal peaks is one
    peaks, _ = find_peaks(level_db, prominence=SYLLABLE_DIP_DB)
    num_syllables = int((frames.is_voiced & frames.is_speech)[peaks].sum())
    num_speech = int(frames.is_speech.sum())
    return [
        num_syllables * FRAMES_A_SECOND / len(level_db),
        num_syllables * FRAMES_A_SECOND / max(num_speech, 1),
    ]
