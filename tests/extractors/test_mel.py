"""Log-mel statistics against librosa itself, and against what a tone must give."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from features.extractors.mel import Mel
from features.extractors.rows import SoundWindow
from features.extractors.spectra import LogMel
from features.identity import MICROSECONDS
from features.records import FeatureRow
from tests.extractors.making import chunks_of, media, run, sine

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000 * 3).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> LogMel:
    return Mel().load("cpu")


def _windows(*sounds: np.ndarray) -> list[SoundWindow]:
    return [SoundWindow(index * MICROSECONDS, (index + 1) * MICROSECONDS, sound) for index, sound in enumerate(sounds)]


@pytest.mark.parametrize("num_samples", [4_000, 9_999, 16_000])
def test_values_are_librosas_for_each_window_alone(model: LogMel, num_samples: int) -> None:
    sounds = [NOISE[:num_samples], NOISE[:num_samples] * np.float32(1e-4), sine(1)[:num_samples]]
    for values, sound in zip(Mel()(model, _windows(*sounds)), sounds, strict=True):
        mel = librosa.feature.melspectrogram(y=sound, sr=16_000, n_fft=512, hop_length=160, n_mels=64)
        log_mel = librosa.power_to_db(mel)
        np.testing.assert_allclose(values, np.concatenate([log_mel.mean(1), log_mel.std(1)]), atol=1e-3)


@pytest.mark.parametrize("hertz", [300.0, 1_000.0, 4_000.0])
def test_a_tone_is_loudest_in_its_own_band(model: LogMel, hertz: float) -> None:
    (values,) = Mel()(model, _windows(sine(1, hertz)))
    centres = librosa.mel_frequencies(n_mels=66, fmax=8_000)[1:-1]
    assert abs(int(np.argmax(values[:64])) - int(np.argmin(np.abs(centres - hertz)))) <= 1


def test_ten_times_the_amplitude_is_20_decibels_more(model: LogMel) -> None:
    soft, loud = Mel()(model, _windows(NOISE[:16_000] * np.float32(0.1), NOISE[:16_000]))
    np.testing.assert_allclose(loud[:64] - soft[:64], 20, atol=1e-2)
    np.testing.assert_allclose(loud[64:], soft[64:], atol=1e-2)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_neighbours_in_a_batch_change_nothing(model: LogMel, batch_size: int) -> None:
    quiet, loud = chunks_of(sine(2.7, amplitude=0.001)), chunks_of(NOISE)
    alone = run(Mel(), [media("quiet", audio=quiet)], model=model)
    both = run(Mel(), [media("loud", audio=loud), media("quiet", audio=quiet)], model=model, batch_size=batch_size)
    for row, other in zip(both[1].rows, alone[0].rows, strict=True):
        assert isinstance(row, FeatureRow)
        assert isinstance(other, FeatureRow)
        np.testing.assert_allclose(row.values, other.values, rtol=0, atol=1e-5)


def test_silence_has_a_row_at_the_floor(model: LogMel) -> None:
    (result,) = run(Mel(), [media(audio=chunks_of(np.zeros(16_000, np.float32)))], model=model)
    (row,) = result.rows
    assert isinstance(row, FeatureRow)
    np.testing.assert_allclose(row.values, np.repeat([-100.0, 0.0], 64), atol=1e-4)
