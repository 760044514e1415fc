"""Prosody against sounds whose pitch, level, pauses and syllables are known."""

from __future__ import annotations

import librosa
import numpy as np
import pytest

from features.extractors.prosody import STATISTICS, UNVOICED_SEMITONES, Prosody, prosody_of
from features.extractors.voice import VoiceModel
from features.records import FeatureRow
from tests.benchmarks import quality_ravdess
from tests.extractors.making import RATE_HZ, chunks_of, media, run, sine

SECONDS = np.arange(2 * RATE_HZ) / RATE_HZ
NOISE = np.random.default_rng(0).normal(0, 0.1, RATE_HZ * 5).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> VoiceModel:
    return Prosody().load("cpu")


def _named(model: VoiceModel, sound: np.ndarray) -> dict[str, float]:
    values = prosody_of(model(sound.astype(np.float32)))
    assert np.isfinite(values).all()
    return dict(zip(STATISTICS, map(float, values), strict=True))


def _voice(pitch_hz: np.ndarray | float, harmonics: int = 8) -> np.ndarray:
    """Harmonics of a pitch, falling by 6 dB an octave."""
    phase = 2 * np.pi * np.cumsum(np.broadcast_to(pitch_hz, SECONDS.shape)) / RATE_HZ
    numbers = np.arange(1, harmonics + 1)[:, None]
    return np.asarray(0.2 * (np.sin(numbers * phase) / numbers).sum(axis=0))


@pytest.mark.parametrize("hertz", [90.0, 220.0, 440.0])
def test_a_steady_voice_has_its_pitch(model: VoiceModel, hertz: float) -> None:
    found = _named(model, _voice(hertz))
    semitones = 12 * np.log2(hertz / 100)
    assert [found[f"pitch_{name}"] for name in ("mean", "median", "p5", "p95")] == pytest.approx(
        [semitones] * 4, abs=0.2
    )
    assert found["pitch_std"] < 0.2
    assert abs(found["pitch_slope"]) < 0.2
    assert found["voiced_share"] > 0.95
    assert found["periodicity_mean"] > 0.9


def test_a_glide_of_an_octave_a_second_has_its_slope(model: VoiceModel) -> None:
    found = _named(model, _voice(100 * 2**SECONDS))
    assert found["pitch_slope"] == pytest.approx(12, abs=0.5)
    assert found["pitch_change"] == pytest.approx(12, abs=1)
    assert found["pitch_p95"] - found["pitch_p5"] == pytest.approx(0.9 * 24, abs=1)


def test_level_is_that_of_the_root_mean_square(model: VoiceModel) -> None:
    found = _named(model, sine(2, 300, amplitude=0.3))
    expected = 10 * np.log10(0.3**2 / 2)
    assert [found["level_mean"], found["level_p5"], found["speech_level_mean"]] == pytest.approx(
        [expected] * 3, abs=0.1
    )


def test_20_decibels_less_change_the_level_alone(model: VoiceModel) -> None:
    sound = _voice(150 * 2 ** (0.2 * np.sin(2 * np.pi * 3 * SECONDS)), 30) * (1 + np.sin(2 * np.pi * 4 * SECONDS)) / 2
    loud, soft = _named(model, sound), _named(model, 0.1 * sound)
    for name in STATISTICS:
        is_level = name in {"level_mean", "level_p5", "level_median", "level_p95", "speech_level_mean"}
        assert soft[name] == pytest.approx(loud[name] - 20 * is_level, abs=0.05), name


@pytest.mark.parametrize("rate_hz", [3, 5])
def test_syllables_are_counted(model: VoiceModel, rate_hz: int) -> None:
    found = _named(model, _voice(140) * (1 - np.cos(2 * np.pi * rate_hz * SECONDS)) / 2)
    assert found["syllables_a_second"] == rate_hz


def test_noise_has_no_syllables_however_it_pulses(model: VoiceModel) -> None:
    found = _named(model, NOISE[: len(SECONDS)] * (1 - np.cos(2 * np.pi * 4 * SECONDS)) / 2)
    assert found["voiced_share"] == 0
    assert found["syllables_a_second"] == 0


def test_pauses_are_found(model: VoiceModel) -> None:
    is_on = (SECONDS < 0.5) | ((SECONDS >= 0.9) & (SECONDS < 1.6)) | (SECONDS >= 1.7)  # 0.4 s, and 0.1 s that is none
    found = _named(model, _voice(200) * is_on)
    assert found["pauses_a_second"] == 0.5
    assert found["longest_pause_seconds"] == pytest.approx(0.4, abs=0.06)  # the level spreads sound by its window
    assert found["pause_share"] == pytest.approx(0.2, abs=0.03)


def test_effort_is_the_share_of_high_frequencies(model: VoiceModel) -> None:
    """Two tones of known amplitude, one on each side of 1 kHz and of 2 kHz."""
    found = _named(model, 0.3 * np.sin(2 * np.pi * 250 * SECONDS) + 0.03 * np.sin(2 * np.pi * 3_000 * SECONDS))
    assert found["alpha_ratio_mean"] == pytest.approx(-20, abs=0.2)
    assert found["hammarberg_mean"] == pytest.approx(-20, abs=0.2)


@pytest.mark.parametrize("amplitude", [0.0, 1e-4, 1.0])
def test_silence_and_noise_are_finite_unvoiced_and_not_all_zeros(model: VoiceModel, amplitude: float) -> None:
    found = _named(model, amplitude * NOISE[: len(SECONDS)])
    assert found["voiced_share"] == 0
    assert found["pitch_mean"] == pytest.approx(UNVOICED_SEMITONES)
    assert found["level_mean"] < 0
    assert found["pause_share"] == (amplitude < 1)


def test_pitch_is_librosas_where_it_is_steady(model: VoiceModel) -> None:
    sound = _voice(100 * 2 ** (0.3 * SECONDS)).astype(np.float32)
    theirs = librosa.yin(sound, fmin=60, fmax=600, sr=RATE_HZ, frame_length=1024, hop_length=160)
    np.testing.assert_allclose(model(sound).pitch_hz, theirs[: len(SECONDS) // 160], rtol=5e-3)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_neighbours_in_a_batch_change_nothing(model: VoiceModel, batch_size: int) -> None:
    voice, noise = chunks_of(_voice(180).astype(np.float32)), chunks_of(NOISE)
    alone = run(Prosody(), [media("voice", audio=voice)], model=model)
    both = run(
        Prosody(), [media("noise", audio=noise), media("voice", audio=voice)], model=model, batch_size=batch_size
    )
    assert both[1] == alone[0]


@pytest.mark.parametrize(("seconds", "num_rows"), [(0.4, 0), (0.5, 1), (2.4, 1), (2.5, 2), (4.0, 2)])
def test_a_row_is_two_seconds(model: VoiceModel, seconds: float, num_rows: int) -> None:
    (result,) = run(Prosody(), [media(audio=chunks_of(NOISE[: round(seconds * RATE_HZ)]))], model=model)
    assert [row.start_us for row in result.rows] == [0, 2_000_000][:num_rows]
    assert all(isinstance(row, FeatureRow) and row.values.shape == (len(STATISTICS),) for row in result.rows)


@pytest.mark.data
@pytest.mark.skipif(not quality_ravdess.FOLDER.is_dir(), reason="no shared data folder")
def test_a_probe_tells_emotions_of_actors_that_it_never_heard() -> None:
    clips = quality_ravdess.clips_of(range(1, 5))  # 240 of the 720, in two folds
    alone, best = quality_ravdess.accuracies(clips, [("mfcc",), ("mfcc", "prosody", "mel")])
    assert alone.plain > 0.28  # the most frequent emotion: .133
    assert best.plain > 0.36
    assert best.per_actor > 0.42
    assert best.per_actor > alone.plain + 0.05
