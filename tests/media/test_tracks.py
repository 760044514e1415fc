"""Of several tracks the right ones are taken."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import av
import numpy as np
import pytest
from av.stream import Disposition

from features.media.decode import decode_media
from features.media.options import DecodeOptions
from features.media.pictures import decode_jpeg
from features.media.sound import join_sound
from pipelines.options import IngestConfig, config_from_mapping, decode_config
from tests.media.generate import tone

if TYPE_CHECKING:
    from pathlib import Path

    from features.records import DecodedMedia


class Track(NamedTuple):
    """A sound of one level, or a picture of one grey."""

    level: float
    language: str = "und"
    disposition: Disposition = Disposition(0)
    size: tuple[int, int] = (64, 48)


def write_tracks(path: Path, videos: list[Track], audios: list[Track]) -> Path:
    """Tracks of one second each."""
    with av.open(str(path), "w") as output:
        made = [(output.add_stream("libx264", rate=5), track) for track in videos]
        heard = [(output.add_stream("flac", rate=16_000), track) for track in audios]
        for stream, track in (*made, *heard):
            stream.disposition = track.disposition
            stream.metadata["language"] = track.language
        for stream, track in made:
            stream.width, stream.height, stream.pix_fmt = *track.size, "yuv420p"
        for stream, _ in heard:
            stream.codec_context.layout = "mono"
        packets = [packet for stream, track in made for packet in _pictures(stream, track)]
        packets += [packet for stream, track in heard for packet in _sound(stream, track)]
        output.mux(packets)
    return path


def _pictures(stream: av.VideoStream, track: Track) -> list[av.Packet]:
    grey = np.full((track.size[1], track.size[0], 3), round(255 * track.level), np.uint8)
    frames = [av.VideoFrame.from_ndarray(grey, format="rgb24") for _ in range(5)]
    for index, frame in enumerate(frames):
        frame.pts, frame.time_base = index, Fraction(1, 5)
    return [packet for frame in (*frames, None) for packet in stream.encode(frame)]


def _sound(stream: av.AudioStream, track: Track) -> list[av.Packet]:
    frame = av.AudioFrame.from_ndarray(tone(1, level=track.level)[None], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
    return [packet for each in (frame, None) for packet in stream.encode(each)]


def _loudness(decoded: DecodedMedia) -> float:
    return float(np.abs(join_sound(decoded.audio)[1]).max())


DEFAULT = Disposition.default
SOUNDS = [
    Track(0.1, "eng"),
    Track(0.3, "deu", Disposition.comment),
    Track(0.5, "fra", DEFAULT),
    Track(0.7, "ger"),
]


@pytest.mark.parametrize(
    ("language", "level"),
    [(None, 0.5), ("eng", 0.1), ("en", 0.1), ("en-US", 0.1), ("de", 0.7), ("fr", 0.5), ("ja", 0.5)],
)
def test_sound_by_language_or_else_the_default_one(tmp_path: Path, language: str | None, level: float) -> None:
    path = write_tracks(tmp_path / "a.mkv", [], SOUNDS)
    decoded = decode_media(path, DecodeOptions(audio_language=language))
    assert _loudness(decoded) == pytest.approx(level, abs=0.02)
    assert decoded.info.language == {0.1: "en", 0.5: "fr", 0.7: "de"}[level]


@pytest.mark.parametrize(
    ("tracks", "chosen"),
    [
        ([Track(0.2), Track(0.6, disposition=DEFAULT)], 1),
        ([Track(0.2, size=(32, 24)), Track(0.6)], 1),
        ([Track(0.2, disposition=DEFAULT, size=(32, 24)), Track(0.6)], 0),
        ([Track(0.2, disposition=DEFAULT, size=(32, 24)), Track(0.6, disposition=DEFAULT)], 1),
        ([Track(0.2), Track(0.6)], 0),
    ],
)
def test_video_by_disposition_then_size(tmp_path: Path, tracks: list[Track], chosen: int) -> None:
    decoded = decode_media(write_tracks(tmp_path / "a.mkv", tracks, []))
    assert decode_jpeg(decoded.frames[0].jpeg).mean() == pytest.approx(255 * tracks[chosen].level, abs=3)
    assert (decoded.info.width, decoded.info.height) == tracks[chosen].size


def test_the_option_reaches_the_decoder() -> None:
    config = config_from_mapping(IngestConfig, {"audio_language": "de"})
    assert '"audio_language": "de"' in decode_config(config)
    assert "audio_language" not in decode_config(IngestConfig())
