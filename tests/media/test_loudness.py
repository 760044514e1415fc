"""Loudness, peak, clipping and silence against known signals and ffmpeg."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import sosfilt

from features.media.loudness import SoundMeter, impulse_response
from features.media.sound import ChunkWriter

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

RATE = 16_000


def sine(dbfs: float, seconds: float, hz: float = 997) -> npt.NDArray[np.int16]:
    times = np.arange(round(seconds * RATE)) / RATE
    return np.round(32767 * 10 ** (dbfs / 20) * np.sin(2 * np.pi * hz * times)).astype(np.int16)


def speech_like(seconds: int, seed: int = 0) -> npt.NDArray[np.int16]:
    """Noise whose level changes every quarter of a second, with pauses."""
    rng = np.random.default_rng(seed)
    levels = np.repeat(rng.choice([0.0, 0.003, 0.03, 0.1], 4 * seconds), RATE // 4)
    coloured = np.convolve(rng.normal(size=RATE * seconds), np.ones(6) / 6, "same")
    return np.round(32767 * np.clip(levels * coloured, -1, 1)).astype(np.int16)


def loudness(samples: npt.NDArray[np.int16]) -> float:
    found = SoundMeter().measure(samples, RATE).loudness_lufs
    assert found is not None
    return found


def test_a_sine_of_997_hz_is_as_loud_as_its_level() -> None:
    assert loudness(sine(-20, 5)) == pytest.approx(-23.0, abs=0.05)
    assert loudness(sine(-40, 5)) == pytest.approx(-43.0, abs=0.05)


def test_quiet_stretches_do_not_count() -> None:
    """EBU Tech 3341, cases 3 and 4: what is 10 LU below the rest, or below -70 LUFS, is gated."""
    parts = [sine(-36, 10), sine(-23, 60), sine(-36, 10)]
    assert loudness(np.concatenate(parts)) == pytest.approx(-26, abs=0.1)
    parts = [sine(-72, 10), *parts, sine(-72, 10)]
    assert loudness(np.concatenate(parts)) == pytest.approx(-26, abs=0.1)


@pytest.mark.parametrize("samples", [np.zeros(RATE, np.int16), sine(-75, 1), sine(-20, 0.3), np.zeros(0, np.int16)])
def test_what_is_below_the_gate_or_too_short_has_no_loudness(samples: npt.NDArray[np.int16]) -> None:
    assert SoundMeter().measure(samples, RATE).loudness_lufs is None


@pytest.mark.parametrize("seed", range(3))
def test_ffmpeg_finds_it_as_loud(tmp_path: Path, seed: int) -> None:
    samples = speech_like(20, seed)
    soundfile.write(tmp_path / "sound.wav", samples, RATE)
    command = ["ffmpeg", "-hide_banner", "-nostats", "-i", str(tmp_path / "sound.wav"), "-af", "ebur128"]
    told = subprocess.run([*command, "-f", "null", "-"], capture_output=True, text=True, check=True).stderr
    theirs = float(re.findall(r"I:\s+(\S+) LUFS", told)[-1])
    assert loudness(samples) == pytest.approx(theirs, abs=0.1)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 48_000])
def test_the_filter_is_the_standard_one(rate_hz: int) -> None:
    response = np.abs(np.fft.rfft(impulse_response(rate_hz), 10 * rate_hz))
    decibels = 20 * np.log10(np.maximum(response, 1e-9))
    assert decibels[10 * 997] == pytest.approx(0.691, abs=0.05)  # what the offset takes away
    assert decibels[10 * 3000] == pytest.approx(4.0, abs=0.3)
    assert decibels[10 * 20] < -10


def test_the_filter_at_48_khz_has_the_coefficients_of_the_standard() -> None:
    standard = [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1, -1.99004745483398, 0.99007225036621],
    ]
    impulse = np.zeros(4800)
    impulse[0] = 1
    np.testing.assert_allclose(impulse_response(48_000), sosfilt(standard, impulse), atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 10 * RATE), max_size=6))
def test_chunks_join_to_the_whole(cuts: list[int]) -> None:
    samples = speech_like(10)
    whole, parts = SoundMeter(), SoundMeter()
    whole.measure(samples, RATE)
    for part in np.split(samples, sorted(cuts)):
        parts.measure(part, RATE)
    assert parts.loudness_lufs() == pytest.approx(whole.loudness_lufs(), abs=1e-3)
    assert parts.num_samples == whole.num_samples


@pytest.mark.parametrize("start_us", [0, 37_123])
def test_meters_of_two_spans_join_to_the_whole(start_us: int) -> None:
    samples, border_us = speech_like(20), 12_000_000
    first = -(-(border_us - start_us) * RATE // 1_000_000)  # the sample at or after the border
    whole, before = SoundMeter(start_us), SoundMeter(start_us)
    after = SoundMeter(start_us + first * 1_000_000 // RATE)
    whole.measure(samples, RATE)
    before.measure(samples[:first], RATE)
    after.hear(samples[:first])
    after.measure(samples[first:], RATE)
    before.join(after)
    assert before.loudness_lufs() == pytest.approx(whole.loudness_lufs(), abs=1e-3)
    assert (before.num_samples, before.num_clipped) == (whole.num_samples, whole.num_clipped)


def test_only_runs_at_full_scale_are_clipped() -> None:
    samples = np.zeros(1000, np.int16)
    samples[10:12] = 32767  # two in a row: a peak
    samples[100:105] = -32768
    samples[999] = 32767
    quality = SoundMeter().measure(samples, RATE)
    assert quality.clipped_share == 5 / 1000
    assert quality.peak == 1


def test_a_clipped_sine_is_clipped() -> None:
    loud = np.clip(2 * sine(-1, 2).astype(np.int32), -32768, 32767).astype(np.int16)
    assert SoundMeter().measure(loud, RATE).clipped_share == pytest.approx(0.62, abs=0.02)
    assert SoundMeter().measure(sine(-0.1, 2), RATE).clipped_share == 0


def test_silence_is_what_is_below_60_dbfs() -> None:
    parts = [sine(-50, 2), sine(-65, 1), np.zeros(RATE, np.int16)]
    assert SoundMeter().measure(np.concatenate(parts), RATE).silence_share == pytest.approx(0.5, abs=0.01)


def test_a_gap_counts_as_silence_and_chunks_say_what_is_in_them() -> None:
    writer = ChunkWriter(0, rate_hz=RATE, chunk_us=2_000_000)
    writer.write(sine(-20, 1))
    writer.write_silence(RATE)
    writer.write(sine(-20, 1))
    first, second = writer.finish()
    assert first.quality is not None
    assert second.quality is not None
    assert (first.quality.silence_share, second.quality.silence_share) == (0.5, 0)
    assert writer.meter.num_silent == RATE
