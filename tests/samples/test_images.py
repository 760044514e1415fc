"""Image files: each kind shows what was put into it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image

from features.errors import DecodeError, LimitExceeded
from features.media.decode import decode_media
from features.samples import images
from features.samples.images import num_pictures, read_animation, read_still
from tests.samples.making import write_animation, write_image

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

SIZE = (64, 48)
NUM_STEPS = 64


def ramp() -> npt.NDArray[np.uint8]:
    """Grey from left to right, shape [48, 64]."""
    return np.tile(np.arange(NUM_STEPS, dtype=np.uint8) * 4, (48, 1))


def rgb() -> Image.Image:
    return Image.fromarray(np.dstack([ramp(), ramp() // 2, 255 - ramp()]))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.gif", "a.webp", "a.jpg"])
def test_all_kinds_show_the_same(tmp_path: Path, name: str) -> None:
    lossless = (
        {"lossless": True} if name.endswith("webp") else {"quality": 100, "subsampling": 0} if "jpg" in name else {}
    )
    rgb().save(tmp_path / name, **lossless)
    bgr, facts = read_still(tmp_path / name, 360)
    assert (facts.width, facts.height) == SIZE
    assert bgr.shape == (48, 64, 3)
    error = np.abs(bgr[..., ::-1].astype(int) - np.asarray(rgb(), int))
    assert error.mean() < (6 if name.endswith("gif") else 2), "a GIF has 256 colours"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_as_opencv_does(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    rgb().save(path, exif=exif, quality=100, subsampling=0)
    bgr, facts = read_still(path, 360)
    reference = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert bgr.shape == reference.shape
    assert (facts.height, facts.width) == reference.shape[:2]
    assert np.abs(bgr.astype(int) - reference).mean() < 2


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    wide = ramp().astype(np.uint16) * 257
    Image.fromarray(wide).save(tmp_path / "grey.png")
    cv2.imwrite(str(tmp_path / "colour.png"), np.dstack([wide, wide, wide]))
    for name in ("grey.png", "colour.png"):
        bgr, _ = read_still(tmp_path / name, 360)
        assert np.abs(bgr[..., 0].astype(int) - ramp()).max() <= 1, name


def test_a_palette_and_four_inks(tmp_path: Path) -> None:
    grey = Image.fromarray(ramp()).convert("RGB")
    grey.quantize(256).save(tmp_path / "palette.png")
    grey.convert("CMYK").save(tmp_path / "inks.jpg", quality=100)
    for name, most in (("palette.png", 2), ("inks.jpg", 4)):
        bgr, _ = read_still(tmp_path / name, 360)
        assert np.abs(bgr[..., 1].astype(int) - ramp()).mean() < most, name


def test_what_is_transparent_stands_over_black_as_in_a_video(tmp_path: Path) -> None:
    Image.new("RGBA", SIZE, (200, 100, 50, 128)).save(tmp_path / "half.png")
    bgr, _ = read_still(tmp_path / "half.png", 360)
    assert bgr[0, 0] == pytest.approx([25, 50, 100], abs=1)
    (frame,) = decode_media(tmp_path / "half.png").frames
    shown = cv2.imdecode(np.frombuffer(frame.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(shown.astype(int) - bgr).mean() < 3


def test_the_short_side_is_bounded(tmp_path: Path) -> None:
    write_image(tmp_path / "large.jpg", size=(1600, 1200))
    bgr, facts = read_still(tmp_path / "large.jpg", 360)
    assert bgr.shape == (360, 480, 3)
    assert (facts.width, facts.height) == (1600, 1200)


def test_an_animated_webp_has_its_own_times(tmp_path: Path) -> None:
    path = write_animation(tmp_path / "moving.webp", (500, 1000, 1500))
    shown = list(read_animation(path, 360))
    assert [(one.t_us, one.next_us) for one in shown] == [(0, 500_000), (500_000, 1_500_000), (1_500_000, 3_000_000)]
    assert [round(float(one.bgr[..., 2].mean()), -1) for one in shown] == [250, 190, 130]
    assert num_pictures(path) == 3


def test_pages_are_no_animation(tmp_path: Path) -> None:
    rgb().save(tmp_path / "pages.tif", save_all=True, append_images=[rgb(), rgb()])
    assert num_pictures(tmp_path / "pages.tif") == 1


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM"])
def test_no_image(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.png").write_bytes(content)
    with pytest.raises(DecodeError, match=r"bad\.png"):
        read_still(tmp_path / "bad.png", 360)


@pytest.mark.parametrize("name", ["cut.jpg", "cut.png", "cut.webp", "cut.gif", "cut.tif", "cut.bmp"])
def test_a_cut_image(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / name).write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DecodeError, match=r"cut\."):
            read_still(tmp_path / name, 360)


def test_too_many_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_image(tmp_path / "large.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 64 * 48 - 1)
    with pytest.raises(LimitExceeded, match=r"large\.png.*64 x 48 pixels"):
        read_still(path, 360)
