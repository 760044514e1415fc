"""Decoding of files whose content and times are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from features.media.decode import decode_media, with_text
from features.media.options import DecodeOptions
from features.media.pictures import decode_jpeg
from features.media.sound import join_sound
from features.records import Utterance
from tests.media.generate import (
    SECOND,
    Cue,
    Shown,
    Sound,
    flashes,
    grey_of,
    rotate_clockwise,
    steady,
    tone,
    write_media,
)

if TYPE_CHECKING:
    from pathlib import Path

    from features.records import DecodedMedia, Frame


def _times(frames: tuple[Frame, ...]) -> list[int]:
    return [frame.t_us for frame in frames]


def _greys(decoded: DecodedMedia) -> list[float]:
    return [grey_of(decode_jpeg(frame.jpeg)) for frame in decoded.frames]


def _onset_us(decoded: DecodedMedia) -> int:
    start_us, samples = join_sound(decoded.audio)
    loud = np.flatnonzero(np.abs(samples) > 0.1)
    return start_us + int(loud[0]) * SECOND // 16_000


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.mov", "a.ts"])
def test_a_picture_a_second_shows_the_frame_on_screen(tmp_path: Path, name: str) -> None:
    decoded = decode_media(write_media(tmp_path / name, pictures=steady(3.5)))
    assert _times(decoded.frames) == [0, 1_000_000, 2_000_000, 3_000_000]
    assert _greys(decoded) == pytest.approx([40, 80, 120, 160], abs=3)
    assert {frame.duration_us for frame in decoded.frames} == {100_000}
    assert decoded.info.duration_us == 3_500_000
    assert decoded.info.frame_rate == pytest.approx(10)


def test_samples_stand_for_the_time_up_to_the_midpoints(tmp_path: Path) -> None:
    decoded = decode_media(write_media(tmp_path / "a.mp4", pictures=steady(2.5)))
    spans = [(frame.valid_start_us, frame.valid_end_us) for frame in decoded.frames]
    assert spans == [(0, 500_000), (500_000, 1_500_000), (1_500_000, 2_500_000)]


def test_variable_rate_keeps_true_times_and_no_picture_twice(tmp_path: Path) -> None:
    pictures = [Shown(0, 50), Shown(300_000, 80), Shown(1_700_000, 110), Shown(1_750_000, 140), Shown(3_200_000, 200)]
    decoded = decode_media(write_media(tmp_path / "a.mkv", pictures=pictures))
    # On screen at 0, 1, 2 and 3 s, and then at the last picture's own time.
    assert _times(decoded.frames)[:3] == [0, 300_000, 1_750_000]
    assert _greys(decoded)[:3] == pytest.approx([50, 80, 140], abs=3)
    assert [frame.duration_us for frame in decoded.frames[:3]] == [300_000, 1_400_000, 1_450_000]


def test_flashes_come_out_at_their_seconds_and_only_there(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", pictures=flashes(6, at=[1_000_000, 4_000_000]))
    assert [grey > 200 for grey in _greys(decode_media(path))] == [False, True, False, False, True, False]


def test_every_video_yields_a_picture(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mkv", pictures=[Shown(0, 90)])
    assert len(decode_media(path).frames) == 1


def test_first_picture_stands_in_for_the_grid_time_before_it(tmp_path: Path) -> None:
    late = [Shown(shown.t_us + 300_000, shown.grey) for shown in steady(2)]
    path = write_media(tmp_path / "a.mkv", pictures=late, sounds=[Sound(0, tone(2.3))], audio_codec="pcm_s16le")
    decoded = decode_media(path)
    assert _times(decoded.frames) == [300_000, 1_000_000, 2_000_000]
    assert decoded.frames[0].valid_start_us == 300_000


@pytest.mark.parametrize("name", ["a.ts", "a.mkv"])
def test_the_timeline_starts_where_the_container_does(tmp_path: Path, name: str) -> None:
    late = [Shown(shown.t_us + 10 * SECOND, shown.grey) for shown in steady(2)]
    decoded = decode_media(write_media(tmp_path / name, pictures=late))
    assert _times(decoded.frames) == [0, 1_000_000]
    assert decoded.info.duration_us == 2_000_000


def test_pictures_stand_upright(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", pictures=steady(1), left_white=True)
    rotate_clockwise(path)
    decoded = decode_media(path)
    assert (decoded.info.width, decoded.info.height, decoded.info.rotation) == (48, 64, 90)
    picture = decode_jpeg(decoded.frames[0].jpeg)
    assert picture.shape == (64, 48, 3)
    assert picture[:12].mean() > 240  # the left is now at the top
    assert picture[24:].mean() < 60


@pytest.mark.parametrize(
    ("size", "stored"), [((1280, 720), (640, 360)), ((360, 640), (360, 640)), ((64, 48), (64, 48))]
)
def test_the_short_side_is_bounded_and_never_enlarged(
    tmp_path: Path, size: tuple[int, int], stored: tuple[int, int]
) -> None:
    frame = decode_media(write_media(tmp_path / "a.mp4", pictures=steady(0.3), size=size)).frames[0]
    assert (frame.width, frame.height) == stored
    assert decode_jpeg(frame.jpeg).shape[:2] == (stored[1], stored[0])


def test_options_are_followed(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", pictures=steady(2), sounds=[Sound(0, tone(2))])
    options = DecodeOptions(frame_interval_us=500_000, frame_short_side=24, audio_rate_hz=8_000, audio_chunk_us=500_000)
    decoded = decode_media(path, options)
    assert _times(decoded.frames) == [0, 500_000, 1_000_000, 1_500_000]
    assert decoded.frames[0].height == 24
    assert {chunk.sample_rate_hz for chunk in decoded.audio} == {8_000}
    assert [chunk.end_us for chunk in decoded.audio][:3] == [500_000, 1_000_000, 1_500_000]


@pytest.mark.parametrize(
    ("name", "codec", "rate"), [("a.mp4", "aac", 44_100), ("a.mkv", "libopus", 48_000), ("a.ts", "mp2", 48_000)]
)
def test_sound_keeps_its_offset_to_the_pictures(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    sound = Sound(700_000, tone(1.5, rate_hz=rate), rate)
    path = write_media(tmp_path / name, pictures=flashes(3, at=[1_000_000]), sounds=[sound], audio_codec=codec)
    decoded = decode_media(path)
    assert _greys(decoded)[1] > 200
    assert _onset_us(decoded) == pytest.approx(700_000, abs=10_000)
    assert decoded.audio[0].start_us == pytest.approx(700_000, abs=30_000)  # codecs put some silence before
    assert decoded.info.sample_rate_hz == rate


def test_a_gap_in_the_sound_becomes_silence_of_its_length(tmp_path: Path) -> None:
    sounds = [Sound(0, tone(1)), Sound(2_500_000, tone(1))]
    decoded = decode_media(write_media(tmp_path / "a.mkv", sounds=sounds, audio_codec="pcm_s16le"))
    start_us, samples = join_sound(decoded.audio)
    assert (start_us, len(samples)) == (0, 56_000)
    assert not samples[16_010:39_990].any()
    assert np.abs(samples[40_000:40_100]).max() > 0.3


def test_jitter_of_timestamps_is_no_gap(tmp_path: Path) -> None:
    sounds = [Sound(index * 500_000 + (index % 2) * 15_000, tone(0.5)) for index in range(4)]
    decoded = decode_media(write_media(tmp_path / "a.mkv", sounds=sounds, audio_codec="pcm_s16le"))
    assert decoded.audio[-1].end_us == 2_000_000


def test_sound_is_cut_on_an_absolute_grid(tmp_path: Path) -> None:
    path = write_media(
        tmp_path / "a.mkv", pictures=steady(1), sounds=[Sound(700_000, tone(130))], audio_codec="pcm_s16le"
    )
    spans = [(chunk.start_us, chunk.end_us) for chunk in decode_media(path).audio]
    assert spans == [(700_000, 60_000_000), (60_000_000, 120_000_000), (120_000_000, 130_700_000)]


def test_silence_is_sound(tmp_path: Path) -> None:
    silent = Sound(0, np.zeros(16_000, np.int16))
    decoded = decode_media(write_media(tmp_path / "a.mp4", pictures=steady(1), sounds=[silent]))
    assert decoded.info.has_audio
    assert len(decoded.audio) == 1


def test_absent_tracks_have_no_rows(tmp_path: Path) -> None:
    seen = decode_media(write_media(tmp_path / "a.mp4", pictures=steady(1)))
    assert (seen.info.has_video, seen.info.has_audio, seen.info.has_text, seen.audio) == (True, False, False, ())
    heard = decode_media(write_media(tmp_path / "b.mp4", sounds=[Sound(0, tone(1))]))
    assert (heard.info.has_video, heard.info.has_audio, heard.frames, heard.info.width) == (False, True, (), None)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "mov_text"), ("a.mkv", "subrip"), ("a.mkv", "ass"), ("a.mkv", "webvtt")]
)
def test_text_tracks_are_read_without_styles(tmp_path: Path, name: str, codec: str) -> None:
    cues = [Cue(500_000, 1_500_000, "Oh, {\\i1}so{\\i0} late"), Cue(1_700_000, 2_500_000, "two\\Nlines")]
    path = write_media(tmp_path / name, pictures=steady(3), cues=cues, text_codec=codec, language="eng")
    decoded = decode_media(path)
    assert decoded.utterances == (
        Utterance(500_000, 1_500_000, "Oh, so late", "subtitle", "en"),
        Utterance(1_700_000, 2_500_000, "two lines", "subtitle", "en"),
    )
    assert decoded.info.has_text
    assert decoded.info.language == "en"


def test_more_text_is_merged_and_lengthens_the_media(tmp_path: Path) -> None:
    decoded = decode_media(write_media(tmp_path / "a.mp4", pictures=steady(1)))
    said = (Utterance(900_000, 1_400_000, "late", "sidecar", "de"), Utterance(0, 500_000, "early", "sidecar", "de"))
    merged = with_text(decoded, said)
    assert [utterance.text for utterance in merged.utterances] == ["early", "late"]
    assert (merged.info.has_text, merged.info.duration_us, merged.info.language) == (True, 1_400_000, "de")
    assert with_text(decoded, ()) == decoded


def test_progress_is_told(tmp_path: Path) -> None:
    beats: list[None] = []
    decode_media(write_media(tmp_path / "a.mp4", pictures=steady(5)), on_progress=lambda: beats.append(None))
    assert len(beats) >= 4


def test_the_same_file_gives_the_same_rows(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", pictures=steady(2), sounds=[Sound(0, tone(2))])
    assert decode_media(path) == decode_media(path)
