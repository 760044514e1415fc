"""Pictures come out upright, in shape, and without the combs of interlacing."""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import av.filter
import numpy as np
import pytest

from features.media.decode import decode_media
from features.media.options import DecodeOptions
from features.media.pictures import decode_jpeg
from tests.media.generate import Sound, steady, tone, write_media

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Rgb = npt.NDArray[np.uint8]

ONE = 1 << 16
# Display matrices (a, b, c, d) and what NumPy does to a picture to obey them.
TURNS = {
    "as it is": ((ONE, 0, 0, ONE), lambda p: p, 0),
    "quarter clockwise": ((0, ONE, -ONE, 0), lambda p: np.rot90(p, -1), 90),
    "half": ((-ONE, 0, 0, -ONE), lambda p: np.rot90(p, 2), 180),
    "quarter counterclockwise": ((0, -ONE, ONE, 0), lambda p: np.rot90(p, 1), 270),
    "left to right": ((-ONE, 0, 0, ONE), np.fliplr, 0),
    "upside down": ((ONE, 0, 0, -ONE), np.flipud, 180),
    "transposed": ((0, ONE, ONE, 0), lambda p: p.transpose(1, 0, 2), 90),
    "transposed the other way": ((0, -ONE, -ONE, 0), lambda p: np.rot90(p, 2).transpose(1, 0, 2), 270),
}


def corners() -> Rgb:
    """Four quarters of different grey."""
    picture = np.full((48, 64, 3), 20, np.uint8)
    picture[:24, 32:], picture[24:, :32], picture[24:, 32:] = 90, 160, 230
    return picture


def write_pictures(path: Path, pictures: list[Rgb], codec: str = "libx264", **options: str) -> Path:
    """Pictures at five a second, as good as the codec can."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=5, options={"crf": "4", **options})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return path


def write_fields(path: Path, pictures: list[Rgb], *, top_first: bool) -> Path:
    """Interlaced pictures at five a second."""
    graph = av.filter.Graph()
    height, width = pictures[0].shape[:2]
    source = graph.add_buffer(width=width, height=height, format="yuv420p", time_base=Fraction(1, 5))
    order = graph.add("setfield", "tff" if top_first else "bff")
    graph.link_nodes(source, order, graph.add("buffersink")).configure()
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=5, options={"crf": "4", "flags": "+ildct+ilme"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 5)
            graph.vpush(frame)
            output.mux(stream.encode(graph.vpull()))
        output.mux(stream.encode(None))
    return path


def _all_pictures(path: Path) -> list[Rgb]:
    decoded = decode_media(path, DecodeOptions(frame_interval_us=1, jpeg_quality=98))
    return [decode_jpeg(frame.jpeg) for frame in decoded.frames]


@pytest.mark.parametrize("turn", TURNS)
def test_display_matrices_are_obeyed(tmp_path: Path, turn: str) -> None:
    (a, b, c, d), expected, degrees = TURNS[turn]
    path = write_pictures(tmp_path / "a.mp4", [corners()])
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4 + 40
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    decoded = decode_media(path)
    picture = decode_jpeg(decoded.frames[0].jpeg)
    wanted = expected(corners())
    assert picture.shape == wanted.shape
    assert np.abs(picture.astype(int) - wanted).mean() < 4
    assert (decoded.info.height, decoded.info.width) == wanted.shape[:2]
    assert decoded.info.rotation == degrees


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_pixels_that_are_not_square_are_made_so(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=5)
        stream.width, stream.height, stream.pix_fmt = 72, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 72, 3), np.uint8), format="rgb24")))
        output.mux(stream.encode(None))
    decoded = decode_media(path)
    assert (decoded.info.width, decoded.info.height) == (96, 48)
    assert (decoded.frames[0].width, decoded.frames[0].height) == (96, 48)


@pytest.mark.parametrize(("aspects", "widths"), [((1, 2), {64, 128}), ((2, 1), {128, 64})])
def test_a_change_of_size_or_shape_in_mid_stream_is_followed(
    tmp_path: Path, aspects: tuple[int, int], widths: set[int]
) -> None:
    content = b""
    for number, aspect in enumerate(aspects):
        part = tmp_path / f"{number}.264"
        with av.open(str(part), "w", format="h264") as output:
            stream = output.add_stream("libx264", rate=5, options={"bf": "0"})
            stream.width, stream.height, stream.pix_fmt = 64, 48 + 16 * number, "yuv420p"
            stream.codec_context.sample_aspect_ratio = Fraction(aspect)
            for _ in range(10):
                grey = np.full((48 + 16 * number, 64, 3), 100, np.uint8)
                output.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            output.mux(stream.encode(None))
        content += part.read_bytes()
    path = tmp_path / "a.264"
    path.write_bytes(content)
    sizes = [(frame.width, frame.height) for frame in decode_media(path, DecodeOptions(frame_interval_us=1)).frames]
    assert sizes == [(64 * aspects[0], 48)] * 10 + [(64 * aspects[1], 64)] * 10
    assert {width for width, _ in sizes} == widths


def test_odd_sizes(tmp_path: Path) -> None:
    rgb = np.random.default_rng(1).integers(0, 255, (37, 53, 3), np.uint8)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 53, 37, "bgr0"
        output.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        output.mux(stream.encode(None))
    assert _all_pictures(path)[0].shape == (37, 53, 3)


def _woven(number: int, *, top_first: bool = True) -> Rgb:
    """A bright bar that moves 8 pixels a field, two fields in a frame."""
    fields = []
    for field in (2 * number, 2 * number + 1):
        picture = np.full((64, 160, 3), 30, np.uint8)
        picture[:, 8 * field : 8 * field + 24] = 220
        fields.append(picture)
    woven = fields[0].copy()
    woven[1 if top_first else 0 :: 2] = fields[1][1 if top_first else 0 :: 2]
    return woven


def _combs(picture: Rgb) -> float:
    """How much neighbouring lines differ."""
    return float(np.abs(np.diff(picture.astype(int), axis=0)).mean())


@pytest.mark.parametrize("top_first", [True, False])
def test_interlaced_video_is_deinterlaced(tmp_path: Path, top_first: bool) -> None:
    woven = [_woven(number, top_first=top_first) for number in range(8)]
    pictures = _all_pictures(write_fields(tmp_path / "a.mp4", woven, top_first=top_first))
    assert len(pictures) == 8
    for number, picture in enumerate(pictures):
        assert _combs(woven[number]) > 15
        assert _combs(picture) < 8
        bar = np.flatnonzero(picture[20:44].mean(axis=(0, 2)) > 125)
        assert bar.mean() == pytest.approx(16 * number + 11.5, abs=3)  # where the first field shows it


def test_progressive_video_is_left_alone(tmp_path: Path) -> None:
    woven = [_woven(number) for number in range(4)]
    pictures = _all_pictures(write_pictures(tmp_path / "a.mp4", woven, preset="slow"))
    assert _combs(pictures[2]) > 15


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    with av.open(str(path), "w") as output:
        audio = output.add_stream("libmp3lame", rate=16_000)
        cover = output.add_stream("png", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = cover.encode(av.VideoFrame.from_ndarray(corners(), format="rgb24"))
        frame = av.AudioFrame.from_ndarray(tone(1)[None], format="s16p", layout="mono")
        frame.sample_rate = 16_000
        sound = [*audio.encode(frame), *audio.encode(None)]
        output.mux([*picture, *cover.encode(None), *sound])
    decoded = decode_media(path)
    assert (decoded.info.has_video, decoded.info.has_audio, decoded.info.width) == (False, True, None)


def test_cover_art_does_not_hide_a_video(tmp_path: Path) -> None:
    path = write_media(tmp_path / "a.mp4", pictures=steady(1), sounds=[Sound(0, tone(1))])
    assert decode_media(path).info.has_video


@pytest.mark.parametrize("height", [4, 8])
def test_interlaced_video_of_few_lines(tmp_path: Path, height: int) -> None:
    flat = [np.full((height, 160, 3), 100, np.uint8)] * 3
    assert len(_all_pictures(write_fields(tmp_path / "a.mp4", flat, top_first=True))) == 3
