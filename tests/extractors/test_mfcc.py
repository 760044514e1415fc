"""MFCC against librosa itself, and its windows on the timeline."""

from __future__ import annotations

import dataclasses

import librosa
import numpy as np
import pytest

from features.extractors.mfcc import Mfcc, MfccModel
from features.extractors.rows import sound_windows
from features.identity import MICROSECONDS
from features.media.sound import join_sound
from features.records import FeatureRow
from tests.extractors.making import chunks_of, media, run, sine

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000 * 7).astype(np.float32)


@pytest.fixture(scope="module")
def model() -> MfccModel:
    return Mfcc().load("cpu")


def _values(rows: tuple[object, ...]) -> np.ndarray:
    return np.array([row.values for row in rows if isinstance(row, FeatureRow)])


def test_values_are_librosas_for_each_window_alone(model: MfccModel) -> None:
    audio = chunks_of(np.concatenate([NOISE[:40_000], sine(2.5, amplitude=0.001)]))
    (result,) = run(Mfcc(), [media(audio=audio)], model=model)
    _, samples = join_sound(audio)
    for row, begin in zip(result.rows, range(0, len(samples), 16_000), strict=True):
        window = samples[begin : begin + 16_000]
        mfcc = librosa.feature.mfcc(y=window, sr=16_000, n_mfcc=20, n_fft=512, hop_length=160, n_mels=64)
        delta = librosa.feature.delta(mfcc)
        expected = np.concatenate([mfcc.mean(1), mfcc.std(1), delta.mean(1), delta.std(1)])
        assert isinstance(row, FeatureRow)
        np.testing.assert_allclose(row.values, expected, atol=1e-3)


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
