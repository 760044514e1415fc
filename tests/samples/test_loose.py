from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from features.errors import DecodeError, MissingStreamError, TranscriptionError
from features.media.pictures import decode_jpeg, encode_jpeg
from features.samples.loose import read_loose
from tests.media.generate import Sound, steady, tone, write_media

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "face.png"
    rgb = np.zeros((720, 1280, 3), np.uint8)
    rgb[..., 0] = 180
    path.write_bytes(cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    return write_media(tmp_path / "voice.wav", sounds=[Sound(0, tone(2.5))], audio_codec="pcm_s16le")


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "said.txt"
    path.write_text("What a\nlovely day.\n", encoding="utf-8")
    return path


def test_three_files_make_one_media(image: Path, sound: Path, text: Path) -> None:
    media = read_loose(image, sound, text)
    frame, utterance = media.frames[0], media.utterances[0]
    assert media.info.duration_us == 2_500_000
    assert (frame.t_us, frame.valid_start_us, frame.valid_end_us, frame.duration_us) == (0, 0, 2_500_000, 2_500_000)
    assert (frame.width, frame.height, media.info.width, media.info.height) == (640, 360, 1280, 720)
    assert decode_jpeg(frame.jpeg).mean(axis=(0, 1)) == pytest.approx([180, 0, 0], abs=4)
    assert (utterance.start_us, utterance.end_us, utterance.text) == (0, 2_500_000, "What a lovely day.")
    assert media.audio[-1].end_us == 2_500_000
    assert (media.info.has_video, media.info.has_audio, media.info.has_text) == (True, True, True)


def test_without_sound_it_lasts_a_second(image: Path, text: Path) -> None:
    media = read_loose(image, None, text)
    assert media.info.duration_us == 1_000_000
    assert (media.info.has_audio, media.audio) == (False, ())
    assert media.utterances[0].end_us == 1_000_000


def test_a_subtitle_file_keeps_its_times(tmp_path: Path, image: Path) -> None:
    path = tmp_path / "said.srt"
    path.write_text("1\n00:00:00,500 --> 00:00:03,000\nWell.\n", encoding="utf-8")
    media = read_loose(image, None, path)
    assert (media.utterances[0].start_us, media.info.duration_us) == (500_000, 3_000_000)
    assert media.frames[0].valid_end_us == 3_000_000


def test_exif_turns_the_image(tmp_path: Path) -> None:
    # An APP1 segment that says orientation 6: a quarter turn clockwise.
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    jpeg = encode_jpeg(np.zeros((40, 80, 3), np.uint8))
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + jpeg[2:])
    frame = read_loose(path, None, None).frames[0]
    assert (frame.width, frame.height) == (40, 80)


def test_nothing_is_an_error() -> None:
    with pytest.raises(MissingStreamError, match="at least one"):
        read_loose(None, None, None)


def test_bad_files_are_errors(tmp_path: Path, image: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(DecodeError, match=r"empty\.txt"):
        read_loose(empty, None, None)
    with pytest.raises(TranscriptionError, match=r"no words in .*empty\.txt"):
        read_loose(image, None, empty)
    with pytest.raises(DecodeError, match=r"none\.png"):
        read_loose(tmp_path / "none.png", None, None)
    silent_film = write_media(tmp_path / "a.mp4", pictures=steady(1))
    with pytest.raises(MissingStreamError, match="no sound"):
        read_loose(None, silent_film, None)
