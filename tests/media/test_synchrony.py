"""Flashes and beeps at known times come out at these times, in every container and over every kind of clock."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.media.decode import decode_media
from features.media.options import DecodeOptions
from features.media.pictures import decode_jpeg
from features.media.sound import join_sound
from tests.media.generate import SECOND, Cue, Shown, Sound, tone, write_media

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from features.records import DecodedMedia

AT = (1_000_000, 2_320_000, 4_040_000)
ALL = DecodeOptions(frame_interval_us=1)
CONTAINERS = {
    "a.mp4": ("libx264", "aac", 44_100),
    "a.mov": ("libx264", "pcm_s16le", 44_100),
    "a.mkv": ("libx264", "libmp3lame", 48_000),
    "b.mkv": ("libx264", "flac", 44_100),
    "a.webm": ("libvpx", "libopus", 48_000),
    "b.webm": ("libvpx-vp9", "libopus", 48_000),
    "a.ts": ("libx264", "aac", 48_000),
    "b.ts": ("libx264", "mp2", 48_000),
    "a.avi": ("libx264", "pcm_s16le", 16_000),
    "b.avi": ("mpeg4", "pcm_mulaw", 44_100),
    "a.flv": ("flv", "libmp3lame", 44_100),
}
EXACT_US = 10_000
STEADY = [index * 40_000 for index in range(130)]


def uneven(end_us: int = 5_200_000) -> list[int]:
    """Times of pictures at a rate that varies, each flash on a picture of its own."""
    steps = np.random.default_rng(5).integers(17, 160, 200) * 1000
    times = {0, *AT, *(t + 40_000 for t in AT), *np.cumsum(steps).tolist()}
    return sorted(t for t in times if t < end_us and not any(flash < t < flash + 40_000 for flash in AT))


def pictures(times: Sequence[int], at: Sequence[int] = AT, start_us: int = 0) -> list[Shown]:
    """White in the picture on screen at each time of `at`, else black."""
    spans = pairwise([*times, times[-1] + 40_000])
    return [Shown(start_us + a, 235 if any(a <= flash < b for flash in at) else 16) for a, b in spans]


def beeps(rate_hz: int, at: Sequence[int] = AT, start_us: int = 0, late_us: int = 0) -> Sound:
    """40 ms of tone at each time of `at`, in sound that starts `late_us` after the pictures."""
    samples = np.zeros(round(5.2 * rate_hz) - late_us * rate_hz // SECOND, np.int16)
    beep = tone(0.04, hz=1000, rate_hz=rate_hz, level=0.8)
    for t_us in at:
        begin = (t_us - late_us) * rate_hz // SECOND
        samples[begin : begin + len(beep)] = beep
    return Sound(start_us + late_us, samples, rate_hz)


def flashes_of(decoded: DecodedMedia) -> list[int]:
    """When a black picture is followed by a white one."""
    bright = [decode_jpeg(frame.jpeg).mean() > 128 for frame in decoded.frames]
    return [
        frame.t_us
        for before, now, frame in zip([False, *bright], bright, decoded.frames, strict=False)
        if now and not before
    ]


def beeps_of(decoded: DecodedMedia) -> list[int]:
    """When sound starts after 200 ms of silence."""
    start_us, samples = join_sound(decoded.audio)
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    first = np.flatnonzero(np.diff(loud, prepend=-10_000) > 3200)
    return [start_us + int(sample) * SECOND // 16_000 for sample in loud[first]]


def _check(decoded: DecodedMedia, at: Sequence[int] = AT, first_us: int = 0) -> None:
    """Flashes and beeps are at these times after the first picture, which was made for `first_us`.

    Where the container cannot tell that codecs put some silence before the sound, the timeline starts with that.
    """
    lead_us = decoded.frames[0].t_us - first_us
    assert 0 <= lead_us < 60_000
    assert flashes_of(decoded) == pytest.approx([t + lead_us for t in at], abs=1_000)
    assert beeps_of(decoded) == pytest.approx([t + lead_us for t in at], abs=EXACT_US)


@pytest.mark.parametrize("name", CONTAINERS)
def test_steady(tmp_path: Path, name: str) -> None:
    video, audio, rate = CONTAINERS[name]
    path = write_media(
        tmp_path / name, pictures=pictures(STEADY), sounds=[beeps(rate)], video_codec=video, audio_codec=audio
    )
    _check(decode_media(path, ALL))


@pytest.mark.parametrize("name", [name for name in CONTAINERS if "avi" not in name])
def test_variable_rate(tmp_path: Path, name: str) -> None:
    video, audio, rate = CONTAINERS[name]
    path = write_media(
        tmp_path / name, pictures=pictures(uneven()), sounds=[beeps(rate)], video_codec=video, audio_codec=audio
    )
    _check(decode_media(path, ALL))


@pytest.mark.parametrize("name", [name for name in CONTAINERS if "avi" not in name])
def test_late_sound(tmp_path: Path, name: str) -> None:
    video, audio, rate = CONTAINERS[name]
    path = write_media(
        tmp_path / name,
        pictures=pictures(STEADY),
        sounds=[beeps(rate, late_us=730_000)],
        video_codec=video,
        audio_codec=audio,
    )
    decoded = decode_media(path, ALL)
    _check(decoded)
    assert decoded.audio[0].start_us == pytest.approx(730_000, abs=60_000)


@pytest.mark.parametrize("name", [name for name in CONTAINERS if "avi" not in name])
def test_late_pictures(tmp_path: Path, name: str) -> None:
    video, audio, rate = CONTAINERS[name]
    late = pictures([t for t in STEADY if t >= 400_000])
    path = write_media(tmp_path / name, pictures=late, sounds=[beeps(rate)], video_codec=video, audio_codec=audio)
    decoded = decode_media(path, ALL)
    _check(decoded, first_us=400_000)


@pytest.mark.parametrize("name", ["a.mkv", "a.webm", "a.ts", "b.ts", "a.flv"])
def test_a_start_that_is_not_zero(tmp_path: Path, name: str) -> None:
    video, audio, rate = CONTAINERS[name]
    start = 97_000_000
    path = write_media(
        tmp_path / name,
        pictures=pictures(STEADY, start_us=start),
        sounds=[beeps(rate, start_us=start)],
        cues=[Cue(start + AT[0], start + AT[1], "word")] if name == "a.mkv" else (),
        text_codec="subrip",
        video_codec=video,
        audio_codec=audio,
    )
    decoded = decode_media(path, ALL)
    _check(decoded)
    for utterance in decoded.utterances:
        assert utterance.start_us - decoded.frames[0].t_us == pytest.approx(AT[0], abs=1_000)


@pytest.mark.parametrize("jump_us", [0, 3_600_000_000, 95_440_000_000])
@pytest.mark.parametrize("audio", ["aac", "mp2"])
def test_a_transport_stream_whose_clock_jumps(tmp_path: Path, jump_us: int, audio: str) -> None:
    content = b""
    for number in range(2):
        start = number * jump_us
        part = write_media(
            tmp_path / f"{number}.ts",
            pictures=pictures(STEADY, start_us=start),
            sounds=[beeps(48_000, start_us=start)],
            audio_codec=audio,
        )
        content += part.read_bytes()
    path = tmp_path / "joined.ts"
    path.write_bytes(content)
    decoded = decode_media(path, ALL)
    seen, heard = flashes_of(decoded), beeps_of(decoded)
    first = decoded.frames[0].t_us
    assert seen[:3] == pytest.approx([t + first for t in AT], abs=1_000)
    assert heard == pytest.approx(seen, abs=EXACT_US)
    assert np.diff(seen[3:]) == pytest.approx(np.diff(AT), abs=1_000)
    assert seen[3] - seen[0] == pytest.approx(5_200_000, abs=100_000)
    assert decoded.info.duration_us == pytest.approx(10_400_000, abs=150_000)


def test_a_gap_in_a_transport_stream_keeps_its_length(tmp_path: Path) -> None:
    gap = 6_000_000
    parts = [
        write_media(
            tmp_path / f"{number}.ts",
            pictures=pictures(STEADY, start_us=start),
            sounds=[beeps(48_000, start_us=start)],
            audio_codec="mp2",
        )
        for number, start in enumerate((SECOND, SECOND + 5_200_000 + gap))
    ]
    path = tmp_path / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    decoded = decode_media(path, ALL)
    _check(decoded, [*AT, *(t + 5_200_000 + gap for t in AT)])


@pytest.mark.parametrize("gap_us", [8_000, 20_000, 35_000, 700_000])
def test_gaps_of_the_sound_are_not_lost(tmp_path: Path, gap_us: int) -> None:
    def beeping(num_beeps: int) -> np.ndarray:
        second = np.concatenate([tone(0.04, hz=1000, level=0.8), np.zeros(16_000 - 640, np.int16)])
        return np.tile(second, num_beeps)

    sounds = [Sound(0, beeping(3)), Sound(3_000_000 + gap_us, beeping(4))]
    decoded = decode_media(write_media(tmp_path / "a.mkv", sounds=sounds, audio_codec="pcm_s16le"))
    late = [5_000_000 + gap_us, 6_000_000 + gap_us]
    assert beeps_of(decoded)[-2:] == pytest.approx(late, abs=EXACT_US)


@pytest.mark.parametrize("rate", [15_960, 16_040])
def test_a_sound_clock_that_runs_wrong_is_followed(tmp_path: Path, rate: int) -> None:
    # 0.25 % off: after a minute, 150 ms.
    second = np.concatenate([tone(0.04, hz=1000, level=0.8), np.zeros(rate - 640, np.int16)])
    samples = np.tile(second, 60)
    step = rate // 10
    sounds = [Sound(index * SECOND // 10, samples[index * step : (index + 1) * step]) for index in range(600)]
    decoded = decode_media(write_media(tmp_path / "a.mkv", sounds=sounds, audio_codec="pcm_s16le"))
    heard = beeps_of(decoded)
    assert heard == pytest.approx([number * SECOND for number in range(60)], abs=2 * EXACT_US)
