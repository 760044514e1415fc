"""Files that are broken, cut, or no media at all: one clear error, or the rows that are still good."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
import pytest

from features.errors import DecodeError, MissingStreamError
from features.media.decode import DecodeOptions, decode_media
from tests.media.generate import (
    SECOND,
    Sound,
    steady,
    tone,
    write_media,
)

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("content", [b"", b"FLV", b"no media at all " * 100, bytes(4096)])
def test_what_is_no_media_is_a_decode_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=r"a\.mp4'"):
        decode_media(path)


def test_a_missing_file_is_a_decode_error(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="No such file"):
        decode_media(tmp_path / "none.mp4")


def test_a_folder_is_a_decode_error(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="cannot open"):
        decode_media(tmp_path)


def test_a_playlist_opens_nothing_over_the_network(tmp_path: Path) -> None:
    path = tmp_path / "a.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")
    with pytest.raises((DecodeError, MissingStreamError)):
        decode_media(path)


def test_truncation_before_the_index_is_a_decode_error(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", pictures=steady(5))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DecodeError, match="cannot open"):
        decode_media(path)


def _cut(path: Path, share: float) -> Path:
    """Cut a file with its index in front so that this share of its samples is left."""
    content = path.read_bytes()
    begin = content.index(b"mdat")
    path.write_bytes(content[: begin + round((len(content) - begin) * share)])
    return path


def test_truncation_of_a_good_part_is_a_decode_error(tmp_path: Path) -> None:
    path = write_media(
        tmp_path / "a.mp4", pictures=steady(10), sounds=[Sound(0, tone(10))], options={"movflags": "faststart"}
    )
    with pytest.raises(DecodeError, match=r"a\.mp4' is truncated: .* of 10\.\d s"):
        decode_media(_cut(path, 0.4))


def test_truncation_at_the_end_keeps_what_is_there(tmp_path: Path) -> None:
    path = write_media(
        tmp_path / "a.mp4", pictures=steady(10), sounds=[Sound(0, tone(10))], options={"movflags": "faststart"}
    )
    decoded = decode_media(_cut(path, 0.93))
    assert 8_000_000 < decoded.info.duration_us < 10_000_000
    assert len(decoded.frames) in {9, 10}


def test_damage_inside_costs_only_what_it_hits(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mkv", pictures=steady(10), sounds=[Sound(0, tone(10))], audio_codec="pcm_s16le")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2_000] = bytes(range(250)) * 8
    path.write_bytes(content)
    decoded = decode_media(path)
    assert len(decoded.frames) >= 9
    assert decoded.info.duration_us == pytest.approx(10 * SECOND, abs=200_000)


def test_a_video_without_one_good_picture_is_a_decode_error(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", pictures=steady(2), options={"movflags": "faststart"})
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat") + 4
    content[begin:] = b"\xff" * (len(content) - begin)
    path.write_bytes(content)
    with pytest.raises(DecodeError, match=r"not one picture of .*a\.mp4.*video h264"):
        decode_media(path)


@pytest.mark.parametrize("sampling", ["interval", "keyframes", "all"])
def test_a_video_of_a_codec_that_nobody_knows_is_a_decode_error(tmp_path: Path, sampling: str) -> None:
    path = write_media(tmp_path / "a.mp4", pictures=steady(1), sounds=[Sound(0, tone(1))])
    content = path.read_bytes()
    path.write_bytes(content.replace(b"avc1", b"nocd"))
    with pytest.raises(DecodeError, match=r"not one picture of .*a\.mp4.*no decoder.*video of unknown codec"):
        decode_media(path, DecodeOptions(sampling=sampling))


def test_a_media_without_usable_streams_says_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "a.lrc"
    path.write_text("[ti:nothing]\n[00:01.00]\n")
    with pytest.raises((MissingStreamError, DecodeError), match=r"a\.lrc"):
        decode_media(path)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", pictures=steady(0.1), sounds=[Sound(0, tone(1))], video_codec="mjpeg")
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.mp4"), "w") as output:
        streams = {stream.index: output.add_stream_from_template(stream) for stream in source.streams}
        streams[0].disposition = av.stream.Disposition.attached_pic
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    decoded = decode_media(tmp_path / "b.mp4")
    assert not decoded.info.has_video
    assert decoded.info.has_audio
