"""Pictures of known colours, written in every way that files hold them, come out in these colours."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc

from features.media.decode import decode_media
from features.media.hdr import hlg_light, pq_light, pq_signal
from features.media.options import DecodeOptions
from features.media.pictures import decode_jpeg

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from features.records import DecodedMedia

    Rgb = npt.NDArray[np.float64]

COLOURS = np.array(
    [[200, 40, 40], [40, 180, 40], [40, 60, 200], [220, 220, 220], [128, 128, 128], [30, 30, 30]], np.float64
)
BLOCK = 32
BT601, BT709, BT2020 = (0.299, 0.114), (0.2126, 0.0722), (0.2627, 0.0593)


def blocks(colours: Rgb = COLOURS) -> Rgb:
    """A row of squares, one a colour, shape [BLOCK, BLOCK * 6, 3]."""
    return np.tile(np.repeat(colours[None], BLOCK, axis=1), (BLOCK, 1, 1))


def yuv_of(rgb: Rgb, luma: tuple[float, float], *, full: bool = False, bits: int = 8) -> npt.NDArray[Any]:
    """Planes Y, Cb, Cr of a signal in [0, 255], by the definition of BT.601, 709 or 2020; 4:4:4."""
    red, blue = luma
    signal = rgb / 255
    y = signal @ np.array([red, 1 - red - blue, blue])
    cb, cr = (signal[..., 2] - y) / (2 * (1 - blue)), (signal[..., 0] - y) / (2 * (1 - red))
    step = 2 ** (bits - 8)
    if full:
        largest = 2**bits - 1
        planes = y * largest, cb * largest + 128 * step, cr * largest + 128 * step
    else:
        planes = (16 + 219 * y) * step, (128 + 224 * cb) * step, (128 + 224 * cr) * step
    return np.clip(np.round(np.stack(planes)), 0, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)


def write_frames(path: Path, frames: list[av.VideoFrame], codec: str = "ffv1", **context: Any) -> Path:
    """Frames as a video of five a second."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=5)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, frames[0].format.name
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for index, frame in enumerate(frames):
            frame.pts, frame.time_base = index, Fraction(1, 5)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def write_yuv(path: Path, planes: npt.NDArray[Any], pix_fmt: str = "yuv444p", **context: Any) -> Path:
    """One picture of given planes, without loss, with the given tags."""
    frame = av.VideoFrame(planes.shape[2], planes.shape[1], pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        plane.update(values.tobytes())  # the widths used here need no padding
    for name, value in context.items():
        setattr(frame, name, value)
    return write_frames(path, [frame], **context)


def shown(path: Path) -> Rgb:
    """Mean colour of each square of the first picture, shape [6, 3]."""
    return squares(decode_media(path, DecodeOptions(jpeg_quality=100)))


def squares(decoded: DecodedMedia) -> Rgb:
    picture = decode_jpeg(decoded.frames[0].jpeg)
    step = picture.shape[1] / len(COLOURS)
    middles = [picture[8:-8, round(step * index + 8) : round(step * (index + 1) - 8)] for index in range(len(COLOURS))]
    return np.array([middle.mean(axis=(0, 1)) for middle in middles])


@pytest.mark.parametrize(
    ("luma", "colorspace"), [(BT601, 6), (BT601, 5), (BT709, 1), (BT2020, 9), (BT601, 2), (BT601, 3)]
)
@pytest.mark.parametrize("full", [False, True])
def test_matrix_and_range_are_undone(tmp_path: Path, luma: tuple[float, float], colorspace: int, full: bool) -> None:
    tags = {"colorspace": colorspace, "color_range": ColorRange.JPEG if full else ColorRange.MPEG}
    path = write_yuv(tmp_path / "a.mkv", yuv_of(blocks(), luma, full=full), **tags)
    assert shown(path) == pytest.approx(COLOURS, abs=4)


def test_hd_without_a_stated_matrix_is_taken_for_bt709(tmp_path: Path) -> None:
    planes = yuv_of(np.repeat(np.repeat(blocks(), 20, axis=0), 20, axis=1), BT709)
    assert shown(write_yuv(tmp_path / "a.mkv", planes)) == pytest.approx(COLOURS, abs=4)


@pytest.mark.parametrize("pix_fmt", ["yuv444p10le", "yuv444p16le"])
def test_more_than_eight_bits(tmp_path: Path, pix_fmt: str) -> None:
    bits = 10 if "10" in pix_fmt else 16
    path = write_yuv(tmp_path / "a.mkv", yuv_of(blocks(), BT709, bits=bits), pix_fmt, colorspace=1)
    assert shown(path) == pytest.approx(COLOURS, abs=4)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "name"),
    [
        ("ffv1", "yuv420p10le", "a.mkv"),
        ("ffv1", "yuv422p", "a.mkv"),
        ("ffv1", "bgr0", "a.mkv"),
        ("ffv1", "gbrp10le", "a.mkv"),
        ("libx264rgb", "rgb24", "a.mkv"),
        ("png", "rgb24", "a.mov"),
        ("png", "rgb48be", "a.mov"),
        ("qtrle", "rgb24", "a.mov"),
        ("qtrle", "rgb555be", "a.mov"),
        ("huffyuv", "rgb24", "a.avi"),
        ("rawvideo", "bgr24", "a.avi"),
        ("rawvideo", "yuyv422", "a.mov"),
        ("mjpeg", "yuvj444p", "a.avi"),
        ("libvpx-vp9", "yuv444p", "a.webm"),
        ("libvpx-vp9", "gbrp", "a.webm"),
        ("libx264", "yuv444p", "a.mp4"),
    ],
)
def test_every_way_to_store_a_pixel(tmp_path: Path, codec: str, pix_fmt: str, name: str) -> None:
    rgb = av.VideoFrame.from_ndarray(blocks().astype(np.uint8), format="rgb24")
    path = write_frames(tmp_path / name, [rgb.reformat(format=pix_fmt)], codec)
    assert shown(path) == pytest.approx(COLOURS, abs=9)


def test_a_palette(tmp_path: Path) -> None:
    indices = np.repeat(np.tile(np.repeat(np.arange(6, dtype=np.uint8), BLOCK), (BLOCK, 1))[None], 1, axis=0)[0]
    palette = np.zeros((256, 4), np.uint8)
    palette[:6] = np.column_stack([np.full(6, 255), COLOURS])
    path = write_frames(tmp_path / "a.mov", [av.VideoFrame.from_ndarray((indices, palette), format="pal8")], "png")
    assert shown(path) == pytest.approx(COLOURS, abs=4)


@pytest.mark.parametrize(("codec", "pix_fmt", "name"), [("png", "rgba", "a.mov"), ("ffv1", "yuva444p", "a.mkv")])
def test_what_is_transparent_stands_over_black(tmp_path: Path, codec: str, pix_fmt: str, name: str) -> None:
    alpha = np.full((BLOCK, BLOCK * 6, 1), 255.0)
    alpha[:, : BLOCK * 3] = 102
    rgba = np.concatenate([blocks(), alpha], axis=2).astype(np.uint8)
    frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=pix_fmt)
    wanted = COLOURS * np.array([[0.4]] * 3 + [[1.0]] * 3)
    assert shown(write_frames(tmp_path / name, [frame], codec)) == pytest.approx(wanted, abs=4)


def test_transfer_functions_agree_with_their_published_points() -> None:
    # BT.2408: 58 % PQ is 203 nits, 75 % HLG is the same white; ST 2084: 100 nits are 50.8 %.
    assert pq_light(np.array([0.5807, 0.0, 1.0])) == pytest.approx([203, 0, 10_000], rel=2e-3)
    assert pq_signal(np.array([100.0])) == pytest.approx([0.5081], abs=1e-4)
    assert 1000 * hlg_light(np.array([0.75])) ** 1.2 == pytest.approx([203], rel=5e-3)
    assert hlg_light(np.array([0.5, 1.0])) == pytest.approx([1 / 12, 1.0], rel=1e-5)


def _linear(srgb: Rgb) -> Rgb:
    return np.where(srgb <= 10.3, srgb / 255 / 12.92, ((srgb / 255 + 0.055) / 1.055) ** 2.4)


_TO_2020 = np.array([[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]])


def _hlg_signal(scene: Rgb) -> Rgb:
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.asarray(np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright))


@pytest.mark.parametrize("transfer", [ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67, ColorTrc.BT709])
def test_hdr_and_wide_gamut_look_right_on_eight_bits(tmp_path: Path, transfer: ColorTrc) -> None:
    light = blocks(_linear(COLOURS)) @ _TO_2020.T
    if transfer == ColorTrc.SMPTE2084:
        signal = pq_signal(203 * light)
    elif transfer == ColorTrc.ARIB_STD_B67:
        screen = 0.203 * light
        luma = np.maximum(screen @ np.array([0.2627, 0.6780, 0.0593]), 1e-9)[..., None]
        signal = _hlg_signal(screen * luma ** (1 / 1.2 - 1))
    else:
        signal = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    tags = {"colorspace": 9, "color_trc": int(transfer), "color_primaries": int(ColorPrimaries.BT2020)}
    path = write_yuv(tmp_path / "a.mkv", yuv_of(255 * signal, BT2020, bits=10), "yuv444p10le", color_range=1, **tags)
    colours = shown(path)
    # The bright ones give way to highlights; the others stay as they are.
    assert colours[[1, 4, 5]] == pytest.approx(COLOURS[[1, 4, 5]], abs=6)
    assert colours[3] == pytest.approx(COLOURS[3], abs=12)
    assert colours[[0, 2]] == pytest.approx(COLOURS[[0, 2]], abs=12)


def test_highlights_of_hdr_keep_their_order(tmp_path: Path) -> None:
    nits = np.array([50.0, 100.0, 203.0, 400.0, 700.0, 1000.0])
    signal = blocks(np.repeat(255 * pq_signal(nits)[:, None], 3, axis=1))
    tags = {"colorspace": 9, "color_trc": int(ColorTrc.SMPTE2084), "color_primaries": int(ColorPrimaries.BT2020)}
    path = write_yuv(tmp_path / "a.mkv", yuv_of(signal, BT2020, bits=10), "yuv444p10le", color_range=1, **tags)
    grey = shown(path).mean(axis=1)
    assert (np.diff(grey) >= 0).all()
    assert (np.diff(grey)[:4] > 3).all()
    assert 225 < grey[2] < 245
    assert grey[5] > 252
