"""`log_mel_128`: a tone stands in its row, loudness does not matter, and it is what librosa says."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from features.raw import log_mel_128
from features.raw.sound import NUM_SAMPLES, num_frames_of
from tests.extractors.making import RATE_HZ, sine

CENTRES_HZ = librosa.mel_frequencies(130, fmin=0, fmax=RATE_HZ / 2)[1:-1]


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, num_samples).astype(np.float32)


@pytest.mark.parametrize("hertz", [200, 440, 1_000, 3_000, 7_000])
def test_a_tone_is_loudest_in_its_row(hertz: float) -> None:
    patch = log_mel_128(sine(4.096, hertz))
    assert patch.shape == (128, 128)
    assert patch.dtype == np.float32
    rows = patch[:, 4:-4].argmax(axis=0)
    nearest = int(np.abs(CENTRES_HZ - hertz).argmin())
    assert set(np.abs(rows - nearest).tolist()) <= {0, 1}
    assert patch.max() == pytest.approx(1, abs=1e-6)


def test_equals_librosa() -> None:
    samples = noise(NUM_SAMPLES) * np.linspace(0.01, 1, NUM_SAMPLES, dtype=np.float32)
    power = librosa.feature.melspectrogram(y=samples, sr=RATE_HZ, n_fft=1024, hop_length=512, n_mels=128)[:, :128]
    right = librosa.power_to_db(power, ref=np.max, top_db=80) / 80 + 1
    np.testing.assert_allclose(log_mel_128(samples), right, atol=1e-5)


@pytest.mark.parametrize("gain", [0.01, 0.5, 3])
def test_loudness_does_not_matter(gain: float) -> None:
    np.testing.assert_allclose(log_mel_128(noise(50_000) * np.float32(gain)), log_mel_128(noise(50_000)), atol=1e-4)


def test_time_runs_to_the_right() -> None:
    patch = log_mel_128(np.concatenate([sine(2.048, 300), sine(2.048, 5_000)]))
    rows = patch.argmax(axis=0)
    assert rows[:60].max() < rows[68:].min()


def test_the_middle_of_a_longer_sound_counts() -> None:
    long = np.concatenate([noise(20_000, 1), noise(NUM_SAMPLES, 2), noise(20_000, 3)])
    np.testing.assert_array_equal(log_mel_128(long), log_mel_128(noise(NUM_SAMPLES, 2)))


@pytest.mark.parametrize(("num_samples", "count"), [(0, 0), (1, 1), (512, 1), (513, 2), (16_000, 32), (10**6, 128)])
def test_after_the_end_of_a_shorter_sound_there_is_nothing(num_samples: int, count: int) -> None:
    assert num_frames_of(num_samples) == count
    patch = log_mel_128(noise(num_samples))
    assert not patch[:, count:].any()
    assert patch[:, :count].any(axis=0).all()
    assert 0 <= patch.min() <= patch.max() <= 1


@pytest.mark.parametrize("level", [0, 1e-9])
def test_silence_is_zeros(level: float) -> None:
    assert not log_mel_128(np.full(30_000, level, np.float32)).any()
