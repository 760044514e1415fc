"""MFCC against librosa itself, and its windows on the timeline."""

from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest

from features.extractors.mfcc import Mfcc, MfccModel
from features.extractors.rows import SoundWindow, sound_windows
from features.identity import MICROSECONDS
from features.media.loudness import SoundMeter
from features.media.sound import join_sound
from features.records import FeatureRow, MediaRows
from tests.extractors.making import chunks_of, media, run, sine

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000 * 7).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> MfccModel:
    return Mfcc().load("cpu")


def _values(rows: tuple[object, ...]) -> np.ndarray:
    return np.array([row.values for row in rows if isinstance(row, FeatureRow)])


def _by_librosa(window: np.ndarray) -> np.ndarray:
    mfcc = librosa.feature.mfcc(y=window, sr=16_000, n_mfcc=20, n_fft=512, hop_length=160, n_mels=64)
    delta = librosa.feature.delta(mfcc)
    return np.concatenate([mfcc.mean(1), mfcc.std(1), delta.mean(1), delta.std(1)])


def _windows(*sounds: np.ndarray) -> list[SoundWindow]:
    return [SoundWindow(index * MICROSECONDS, (index + 1) * MICROSECONDS, sound) for index, sound in enumerate(sounds)]


def _varied() -> list[SoundWindow]:
    """Quiet tones, loud noise and silence of several lengths, so that batches mix them."""
    sounds = []
    for index in range(40):
        size = (16_000, 16_000, 4_000, 9_999)[index % 4]
        sounds.append(
            (NOISE[index : index + size], sine(1, 200 + 90 * index, 0.001)[:size], NOISE[:size] * 0)[index % 3]
        )
    return _windows(*sounds)


def test_values_are_librosas_for_each_window_alone(model: MfccModel) -> None:
    audio = chunks_of(np.concatenate([NOISE[:40_000], sine(2.5, amplitude=0.001)]))
    (result,) = run(Mfcc(), [media(audio=audio)], model=model)
    _, samples = join_sound(audio)
    for row, begin in zip(result.rows, range(0, len(samples), 16_000), strict=True):
        assert isinstance(row, FeatureRow)
        np.testing.assert_allclose(row.values, _by_librosa(samples[begin : begin + 16_000]), atol=1e-3)


@pytest.mark.parametrize("num_samples", [4_000, 4_001, 7_777, 15_999, 16_000, 32_000])
def test_values_are_librosas_for_any_length(model: MfccModel, num_samples: int) -> None:
    fading = NOISE[:num_samples] * np.geomspace(1, 1e-5, num_samples, dtype=np.float32)  # 100 dB, more than is kept
    sounds = [NOISE[:num_samples], sine(2, 300)[:num_samples], fading]
    for values, sound in zip(Mfcc()(model, _windows(*sounds)), sounds, strict=True):
        np.testing.assert_allclose(values, _by_librosa(sound), atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_window_has_the_values_that_it_has_alone(model: MfccModel, batch_size: int) -> None:
    windows = _varied()
    alone = [Mfcc()(model, [window])[0] for window in windows]
    order = np.random.default_rng(batch_size).permutation(len(windows))
    for begin in range(0, len(windows), batch_size):
        some = order[begin : begin + batch_size]
        for index, values in zip(some, Mfcc()(model, [windows[index] for index in some]), strict=True):
            np.testing.assert_allclose(values, alone[index], rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_neighbours_in_a_batch_change_nothing(model: MfccModel, batch_size: int) -> None:
    quiet, loud = chunks_of(sine(3, amplitude=0.001)), chunks_of(NOISE)
    alone = run(Mfcc(), [media("quiet", audio=quiet)], model=model)
    both = run(Mfcc(), [media("loud", audio=loud), media("quiet", audio=quiet)], model=model, batch_size=batch_size)
    assert both[1] == alone[0]


def test_rows_lie_on_the_seconds_of_the_timeline(model: MfccModel) -> None:
    audio = chunks_of(NOISE[: 16_000 * 3], start_us=300_000)  # 0.3 s to 3.3 s
    (result,) = run(Mfcc(), [media(audio=audio)], model=model)
    spans = [(row.start_us, row.end_us) for row in result.rows]
    assert spans == [(300_000, 1_000_000), (1_000_000, 2_000_000), (2_000_000, 3_000_000), (3_000_000, 3_300_000)]


@pytest.mark.parametrize(("seconds", "num_rows"), [(0.2, 0), (0.25, 1), (1.2, 1), (1.25, 2), (2.0, 2)])
def test_a_short_end_is_kept_from_a_quarter_of_a_second(model: MfccModel, seconds: float, num_rows: int) -> None:
    (result,) = run(Mfcc(), [media(audio=chunks_of(sine(seconds)))], model=model)
    assert len(result.rows) == num_rows
    assert result.status == ("ok" if num_rows else "empty")


def test_chunks_make_no_difference(model: MfccModel) -> None:
    results = [
        run(Mfcc(), [media(audio=chunks_of(NOISE, start_us=123_456, chunk_seconds=seconds))], model=model)
        for seconds in (0.7, 3.0, 60.0)
    ]
    for other in results[1:]:
        np.testing.assert_allclose(_values(results[0][0].rows), _values(other[0].rows), atol=1e-4)


def test_digital_silence_has_finite_rows(model: MfccModel) -> None:
    (result,) = run(Mfcc(), [media(audio=chunks_of(np.zeros(32_000, np.float32)))], model=model)
    assert result.status == "ok"
    assert len(result.rows) == 2


def test_windows_are_cut_where_chunks_do_not_join() -> None:
    audio = chunks_of(sine(1.5)) + chunks_of(sine(1.0), start_us=5_500_000)
    spans = [(window.start_us, window.end_us) for window in sound_windows(media(audio=audio), window_us=MICROSECONDS)]
    assert spans == [(0, 1_000_000), (1_000_000, 1_500_000), (5_500_000, 6_000_000), (6_000_000, 6_500_000)]


def _at_loudness(sound: np.ndarray, loudness_lufs: float | None, target_lufs: float | None) -> np.ndarray:
    """Samples of the first window of a media whose loudness is said to be so."""
    rows: MediaRows = dataclasses.replace(media(audio=chunks_of(sound)), loudness_lufs=loudness_lufs)
    return next(iter(sound_windows(rows, window_us=MICROSECONDS, loudness_lufs=target_lufs))).samples


def test_sound_is_brought_to_a_target_loudness() -> None:
    plain = _at_loudness(sine(1, amplitude=0.05), -30.0, None)
    louder = _at_loudness(sine(1, amplitude=0.05), -30.0, -24.0)
    softer = _at_loudness(sine(1, amplitude=0.05), -30.0, -50.0)
    np.testing.assert_allclose(louder, plain * 10 ** (6 / 20), rtol=1e-6)
    np.testing.assert_allclose(softer, plain * 0.1, rtol=1e-6)


def test_measured_loudness_reaches_the_target() -> None:
    meter = SoundMeter()
    sound = sine(3, 997, amplitude=0.02)
    meter.measure((sound * 32767).astype(np.int16), 16_000)
    rows = dataclasses.replace(media(audio=chunks_of(sound)), loudness_lufs=meter.loudness_lufs())
    windows = sound_windows(rows, window_us=MICROSECONDS, loudness_lufs=-23.0)
    after = SoundMeter()
    after.measure((np.concatenate([window.samples for window in windows]) * 32767).astype(np.int16), 16_000)
    assert after.loudness_lufs() == pytest.approx(-23.0, abs=0.05)


def test_no_sample_is_driven_beyond_full_scale() -> None:
    sound = sine(1, amplitude=0.01)
    sound[5_000] = 0.5  # a click; 40 dB more would clip it
    raised = _at_loudness(sound, -60.0, -20.0)
    assert np.abs(raised).max() == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(raised, _at_loudness(sound, None, None) * 2, atol=1e-3)


def test_sound_of_unknown_loudness_stays_as_it_is() -> None:
    sound = sine(1)
    np.testing.assert_array_equal(_at_loudness(sound, None, -23.0), _at_loudness(sound, None, None))


def test_damaged_sound_costs_its_media_only(model: MfccModel) -> None:
    (chunk,) = chunks_of(sine(1))
    bad = media("bad", audio=(dataclasses.replace(chunk, flac=b"no flac"),))
    slow = media("slow", audio=(dataclasses.replace(chunk, sample_rate_hz=8_000),))
    results = run(Mfcc(), [bad, slow, media("good", audio=(chunk,))], model=model)
    assert [(result.status, result.error) for result in results] == [
        ("failed", "DecodeError"),
        ("failed", "ExtractionError"),
        ("ok", None),
    ]
