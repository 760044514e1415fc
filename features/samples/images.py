"""Image files: still pictures and animations, upright, with three colours."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from features.errors import DecodeError, LimitExceeded
from features.media.pictures import fit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy.typing as npt
    from PIL import Image

    Picture = npt.NDArray[np.uint8]

MAX_PIXELS = 1 << 28
"""Pixels of an image at most: larger than any camera's, and what a child of the sandbox can hold."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
_ANIMATED = frozenset({"GIF", "PNG", "WEBP"})
_UNSTATED_MS = 100
_SHORTEST_MS = 20


class Shown(NamedTuple):
    """A picture of an animation.

    Attributes:
        bgr: Uint8, shape [height, width, 3], upright, the short side as asked.
        t_us: When it is shown.
        next_us: When it goes.
    """

    bgr: Picture
    t_us: int
    next_us: int


class ImageFacts(NamedTuple):
    """What an image file says of itself: its format, and its upright size in pixels."""

    container: str
    width: int
    height: int


def num_pictures(path: Path) -> int:
    """Pictures of an animation; 1 for a still, also for one of several pages.

    Raises:
        DecodeError: It is no image.
        LimitExceeded: It has too many pixels.
    """
    with _opened(path) as image:
        return int(getattr(image, "n_frames", 1)) if image.format in _ANIMATED else 1


def read_still(path: Path, short_side: int) -> tuple[Picture, ImageFacts]:
    """The picture of an image file, of an animation the first.

    It is turned upright as its EXIF says. What is transparent stands over black, as in a video. 16 bits become 8.

    Args:
        path: A JPEG, PNG, BMP, GIF, WebP or TIFF file.
        short_side: Largest short side, pixels.

    Returns:
        BGR, uint8, shape [height, width, 3], and facts of the whole.

    Raises:
        DecodeError: It cannot be read, or is no such image, or damaged.
        LimitExceeded: It has too many pixels.
    """
    with _opened(path) as image:
        container = (image.format or "image").lower()
        width, height = _upright_size(image)
        if image.mode in {"L", "RGB"}:
            least = fit(*image.size, short_side)
            image.draft(None, least)  # a JPEG is decoded at a half, a quarter or an eighth
        bgr = _fitted(_bgr(image), short_side, (width, height))
    return bgr, ImageFacts(container, width, height)


def read_animation(
    path: Path, short_side: int, is_chosen: Callable[[int, int], bool] = lambda _start, _end: True
) -> Iterator[Shown]:
    """Pictures of an animation with their times, one after the other.

    A picture that states less than 20 ms is shown for 100 ms, as browsers do.

    Args:
        path: An animated GIF, PNG or WebP file.
        short_side: Largest short side, pixels.
        is_chosen: Asked for each picture, with when it comes and goes, microseconds, whether it is wanted.

    Raises:
        DecodeError: As `read_still`.
        LimitExceeded: As `read_still`.
    """
    t_us = 0
    with _opened(path) as image:
        for number in range(int(getattr(image, "n_frames", 1))):
            image.seek(number)
            image.load()  # a WebP states its times only then
            stated_ms = float(image.info.get("duration") or 0)
            next_us = t_us + round(1000 * (stated_ms if stated_ms >= _SHORTEST_MS else _UNSTATED_MS))
            if is_chosen(t_us, next_us):
                yield Shown(_fitted(_bgr(image), short_side, _upright_size(image)), t_us, next_us)
            t_us = next_us


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """An image whose header was read; what goes wrong while it is open is told as its damage."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # the look below is ours, and names the file
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                message = (
                    f"{str(path)!r} states {width} x {height} pixels, {MAX_PIXELS} at most are decoded; scale it down, "
                    "or leave it out"
                )
                raise LimitExceeded(message)
            yield image
    except (DecodeError, LimitExceeded, MemoryError):
        raise
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        message = f"cannot decode {str(path)!r} ({reason}); give a whole JPEG, PNG, BMP, GIF, WebP or TIFF file"
        raise DecodeError(message) from error
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _upright_size(image: Image.Image) -> tuple[int, int]:
    turned = image.getexif().get(0x0112, 1) in {5, 6, 7, 8}
    return (image.height, image.width) if turned else (image.width, image.height)


def _fitted(bgr: Picture, short_side: int, displayed: tuple[int, int]) -> Picture:
    size = fit(*displayed, short_side)
    if size == bgr.shape[1::-1]:
        return bgr
    return np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)


def _bgr(image: Image.Image) -> Picture:
    """The picture of an open image, upright."""
    from PIL import ImageOps

    whole = _narrow(image) if image.mode.startswith(("I", "F")) else image
    upright = ImageOps.exif_transpose(whole)
    if upright.has_transparency_data:
        rgba = np.asarray(upright.convert("RGBA"))
        rgb = cv2.multiply(rgba[..., :3], rgba[..., 3:].repeat(3, 2), scale=1 / 255)
    else:
        rgb = np.asarray(upright.convert("RGB"))
    return np.ascontiguousarray(rgb[..., ::-1])


def _narrow(image: Image.Image) -> Image.Image:
    """Grey of 16 or 32 bits, or of floats from 0 to 1, as 8 bits: Pillow would clip it."""
    from PIL import Image

    values = np.asarray(image)
    if values.dtype.kind == "f":
        full = 1.0
    else:
        full = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0) > 255 else 255.0
    grey = np.clip(np.nan_to_num(values.astype(np.float64)) * (255 / full), 0, 255).round().astype(np.uint8)
    made = Image.fromarray(grey)
    made.info["exif"] = image.getexif().tobytes()
    return made
