"""Loose samples on one timeline."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from features.errors import MissingStreamError, TranscriptionError
from features.media.decode import decode_media
from features.media.options import DecodeOptions
from features.media.sink import Collected
from features.samples.decode import DecodedSample, decode_sample
from features.samples.loose import read_loose
from features.samples.record import Sample
from tests.media.generate import Sound, tone, write_media
from tests.samples.making import write_animation, write_image, write_sound

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = DecodeOptions(audio_chunk_us=500_000)


def decode(options: DecodeOptions = OPTIONS, **parts: object) -> tuple[DecodedSample, Collected]:
    sink = Collected()
    sample = Sample(**{name: str(part) for name, part in parts.items()})
    return decode_sample(sample, options, name="m.csv#x", sink=sink, on_progress=lambda: None), sink


def test_a_still_lasts_as_long_as_its_sound(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "a.wav", seconds=1.25)
    (media, bad), sink = decode(image=write_image(tmp_path / "a.png"), audio=sound, text="so  it\nis")
    assert (media.info.duration_us, bad) == (1_250_000, ())
    (frame,) = sink.frames
    assert (frame.t_us, frame.duration_us, frame.valid_start_us, frame.valid_end_us) == (0, 1_250_000, 0, 1_250_000)
    assert [(one.start_us, one.end_us, one.text) for one in media.utterances] == [(0, 1_250_000, "so it is")]
    alone = decode_media(sound, OPTIONS)
    assert tuple(sink.chunks) == alone.audio
    assert media.info.quality is not None
    assert alone.info.quality is not None
    assert media.info.quality.loudness_lufs == alone.info.quality.loudness_lufs


def test_without_sound_a_second(tmp_path: Path) -> None:
    (media, _), sink = decode(image=write_image(tmp_path / "a.png"))
    assert (media.info.duration_us, sink.frames[0].valid_end_us) == (1_000_000, 1_000_000)
    assert (media.info.has_audio, media.info.has_text, sink.chunks) == (False, False, [])


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_an_animation_is_sampled_as_a_video(tmp_path: Path, name: str) -> None:
    path = write_animation(tmp_path / name, (500, 1000, 1000, 400))
    (media, _), sink = decode(image=path)
    spans = [(one.t_us, one.duration_us, one.valid_start_us, one.valid_end_us) for one in sink.frames]
    assert spans == [
        (0, 500_000, 0, 250_000),
        (500_000, 1_000_000, 250_000, 1_000_000),
        (1_500_000, 1_000_000, 1_000_000, 2_900_000),
    ], "the last is on screen at no grid time"
    assert media.info.duration_us == 2_900_000
    (longer, _), sink = decode(image=path, audio=write_sound(tmp_path / "a.wav", seconds=4), text="hm")
    assert (longer.info.duration_us, sink.frames[-1].valid_end_us) == (4_000_000, 4_000_000)
    (_, _), sink = decode(replace(OPTIONS, sampling="all"), image=path)
    assert [one.t_us for one in sink.frames] == [0, 500_000, 1_500_000, 2_500_000]


def test_text_spans_an_animation_that_is_longer_than_its_sound(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "a.webp", (1000, 1000))
    (media, _), _ = decode(image=path, audio=write_sound(tmp_path / "a.wav", seconds=1), text="hm")
    assert (media.utterances[0].end_us, media.info.duration_us) == (2_000_000, 2_000_000)


def test_a_video_that_is_named_for_its_sound_shows_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.srt").write_text("1\n00:00:00,200 --> 00:00:00,900\nYes.\n", encoding="utf-8")
    path = write_media(tmp_path / "v.mkv", sounds=[Sound(0, tone(1.0))])
    (media, _), sink = decode(audio=path, text_file=tmp_path / "t.srt")
    assert (sink.frames, media.info.has_video, media.info.has_audio) == ([], False, True)
    assert [(one.start_us, one.end_us) for one in media.utterances] == [(200_000, 900_000)]


def test_no_sound_where_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingStreamError, match=r"a\.gif"):
        decode(image=write_image(tmp_path / "a.png"), audio=write_animation(tmp_path / "a.gif"))


def test_a_bad_text_costs_itself_beside_others(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(bytes(1000))
    (media, bad), sink = decode(image=write_image(tmp_path / "a.png"), text_file=tmp_path / "t.txt")
    assert (media.info.has_video, media.info.has_text, len(sink.frames)) == (True, False, 1)
    assert [(one.part, one.error) for one in bad] == [(str(tmp_path / "t.txt"), "TranscriptionError")]
    with pytest.raises(TranscriptionError, match=r"t\.txt"):
        decode(text_file=tmp_path / "t.txt")


def test_shots_and_motion_of_a_still(tmp_path: Path) -> None:
    (media, _), _ = decode(replace(OPTIONS, shots=True, motion=True), image=write_image(tmp_path / "a.png"))
    assert ([(*shot,) for shot in media.shots or ()], media.motions) == ([(0, 1_000_000, "start")], ())


def test_predict_sees_what_ingest_does(tmp_path: Path) -> None:
    image, sound = write_image(tmp_path / "a.jpg", size=(800, 600)), write_sound(tmp_path / "a.wav")
    (tmp_path / "t.txt").write_text("so be it", encoding="utf-8")
    (media, _), sink = decode(image=image, audio=sound, text_file=tmp_path / "t.txt")
    seen = read_loose(image, sound, tmp_path / "t.txt", OPTIONS)
    assert [frame.jpeg for frame in seen.frames] == [frame.jpeg for frame in sink.frames]
    assert [chunk.flac for chunk in seen.audio] == [chunk.flac for chunk in sink.chunks]
    assert seen.utterances == media.utterances
