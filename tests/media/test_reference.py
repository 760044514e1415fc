"""The ffmpeg command and the facts of the shared files agree with what we decode."""

from __future__ import annotations

import csv
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from features.errors import DecodeError
from features.media.decode import decode_media
from features.media.options import DecodeOptions
from features.media.pictures import decode_jpeg
from features.media.sound import join_sound
from features.records import DecodedMedia
from tests.media.generate import SECOND, Shown, Sound, steady, tone, write_media

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
needs_ffmpeg = pytest.mark.skipif(
    shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None, reason="no ffmpeg on PATH"
)
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}")

# The measured truth differs from what ffprobe says of the container.
_LYING_DURATION = {
    "RRSF49-short.mp4",
    "sample_fragmented.mp4",
    "nasa_13013.mp4",
    "video_without_audio_stream.mp4",
    "te[s]t_ video ' _ .flv",
}
_LYING_COUNT = {"nasa_13013.mp4"}  # the facts count the other one of its two default videos
_BROKEN = {"broken.mp4", "empty.flv", "sample_fragmented_clearkey.mp4"}


def _output_of(*command: str) -> bytes:
    return subprocess.run(command, check=True, capture_output=True).stdout


def _frame_times_us(path: Path) -> list[int]:
    """Presentation times by ffprobe, from the start of the container."""
    probe = ("ffprobe", "-v", "error", "-of", "csv=p=0")
    frames = _output_of(
        *probe, "-select_streams", "v:0", "-show_entries", "frame=best_effort_timestamp_time", str(path)
    )
    start = _output_of(*probe, "-show_entries", "format=start_time", str(path))
    times = [line.strip(",") for line in frames.decode().split() if line.strip(",")]
    return [round((float(time) - float(start)) * SECOND) for time in times]


def _expected_samples(times_us: list[int], end_us: int) -> list[int]:
    wanted = [
        max((time for time in times_us if time <= grid), default=times_us[0]) for grid in range(0, end_us, SECOND)
    ]
    return sorted(set(wanted))


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_times_agree_with_ffprobe(tmp_path: Path, name: str) -> None:
    random = np.random.default_rng(3)
    times = np.cumsum(random.integers(20_000, 400_000, 40)) + 3_000_000
    pictures = [Shown(int(t_us), 40 + 4 * index) for index, t_us in enumerate(times)]
    path = write_media(tmp_path / name, pictures=pictures)
    decoded = decode_media(path)
    expected = _expected_samples(_frame_times_us(path), decoded.info.duration_us)
    assert [frame.t_us for frame in decoded.frames] == pytest.approx(expected, abs=1)


@needs_ffmpeg
def test_sound_agrees_with_ffmpeg(tmp_path: Path) -> None:
    path = write_media(
        tmp_path / "a.mp4", pictures=steady(1), sounds=[Sound(0, tone(3, hz=330, rate_hz=44_100), 44_100)]
    )
    raw = _output_of("ffmpeg", "-v", "error", "-i", str(path), "-vn", "-ac", "1", "-ar", "16000", "-f", "s16le", "-")
    theirs = np.frombuffer(raw, np.int16) / 32768
    _, ours = join_sound(decode_media(path).audio)
    assert len(ours) == pytest.approx(len(theirs), abs=1024)
    both = min(len(ours), len(theirs))
    assert np.corrcoef(ours[:both], theirs[:both])[0, 1] > 0.999


@needs_ffmpeg
@needs_data
@pytest.mark.data
@pytest.mark.parametrize(
    "name", ["media/bt709_full_range.mp4", "media/rotated_video.mp4", "media/video.webm", "ekman6/joy.mp4"]
)
def test_pictures_agree_with_ffmpeg(name: str) -> None:
    frame = decode_media(DATA / name, DecodeOptions(jpeg_quality=98)).frames[0]
    scale = f"scale={frame.width}:{frame.height}:flags=bilinear"
    raw = _output_of(
        "ffmpeg", "-v", "error", "-i", str(DATA / name), "-frames:v", "1", "-vf", scale,
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-",
    )  # fmt: skip
    theirs = np.frombuffer(raw, np.uint8).reshape(frame.height, frame.width, 3)
    ours = decode_jpeg(frame.jpeg)
    small = (frame.width // 4, frame.height // 4)  # versions differ in how they draw edges of saturated colours
    error = cv2.resize(ours, small, interpolation=cv2.INTER_AREA).astype(float)
    error -= cv2.resize(theirs, small, interpolation=cv2.INTER_AREA)
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 35


def _facts() -> list[dict[str, str]]:
    table = DATA / "media" / "media.csv"
    if not table.is_file():
        return []
    with table.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if "/media/" in row["path"]]
    return [row for row in rows if (DATA / "media" / Path(row["path"]).name).is_file()]


def _name(fact: dict[str, str]) -> str:
    return Path(fact["path"]).name


@needs_data
@pytest.mark.data
@pytest.mark.parametrize("fact", _facts(), ids=_name)
def test_every_shared_file_is_rows_that_agree_with_its_facts_or_one_error(fact: dict[str, str]) -> None:
    path = DATA / "media" / _name(fact)
    if path.name in _BROKEN:
        with pytest.raises(DecodeError, match="cannot open"):
            decode_media(path)
        return
    decoded = decode_media(path)
    _check_consistent(decoded)
    has_video = bool(fact["vcodec"]) and "cover_art" not in fact["category"]
    assert (decoded.info.has_video, decoded.info.has_audio) == (has_video, bool(fact["acodec"]))
    assert decoded.info.has_text == bool(fact["has_subtitles"])
    if path.name not in _LYING_DURATION:
        assert decoded.info.duration_us == pytest.approx(float(fact["duration"]) * SECOND, abs=130_000)
    if has_video and path.name not in _LYING_COUNT:
        _check_video(decoded, fact)


def _check_video(decoded: DecodedMedia, fact: dict[str, str]) -> None:
    info = decoded.info
    assert info.rotation == {"": 0, "-90": 90, "90": 270, "180": 180}[fact["rotation"]]
    width, height = int(fact["w"]), int(fact["h"])
    aspect = [int(part) for part in (fact["sar"] or "1:1").split(":")]
    shown = (round(width * aspect[0] / aspect[1]), height)
    assert (info.width, info.height) == (shown[::-1] if info.rotation in {90, 270} else shown)
    span_us = decoded.frames[-1].valid_end_us - decoded.frames[0].t_us
    assert info.frame_rate is not None
    assert round(info.frame_rate * span_us / SECOND) == int(fact["decoded_frames_ffmpeg5"])


def _check_consistent(decoded: DecodedMedia) -> None:
    """What must hold of any media."""
    times = [frame.t_us for frame in decoded.frames]
    assert times == sorted(set(times))
    for frame in decoded.frames:
        assert 0 <= frame.valid_start_us <= frame.t_us < frame.valid_end_us <= decoded.info.duration_us
        assert frame.duration_us > 0
        assert decode_jpeg(frame.jpeg).shape == (frame.height, frame.width, 3)
        assert min(frame.height, frame.width) <= 360
    start_us, samples = join_sound(decoded.audio)
    assert start_us + len(samples) * SECOND / 16_000 <= decoded.info.duration_us + 63
    for utterance in decoded.utterances:
        assert utterance.text
        assert 0 <= utterance.start_us < utterance.end_us <= decoded.info.duration_us


@needs_data
@pytest.mark.data
def test_a_truncated_webm_keeps_what_is_there() -> None:
    decoded = decode_media(DATA / "media" / "RRSF49-short.mp4")  # states 31.8 s
    assert decoded.info.duration_us == pytest.approx(4_474_000, abs=40_000)
    assert decoded.info.container == "matroska,webm"


@needs_data
@pytest.mark.data
def test_odd_metadata_is_no_obstacle() -> None:
    assert decode_media(DATA / "media" / "video_desks.3gp").info.has_video  # its tags are no UTF-8


@needs_data
@pytest.mark.data
def test_text_of_a_real_track() -> None:
    decoded = decode_media(DATA / "media" / "nasa_13013.mp4")
    first = decoded.utterances[0]
    assert len(decoded.utterances) == 4  # two tracks say the same
    assert (first.start_us, first.end_us, first.language) == (210_000, 4_260_000, "en")
    assert first.text == "NAR: This is the optical and science segment of the Webb"
