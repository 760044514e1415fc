from __future__ import annotations

import numpy as np
import pytest

from features.errors import DecodeError
from features.media.pictures import decode_jpeg, encode_jpeg, fit


def test_jpeg_keeps_red_red() -> None:
    rgb = np.zeros((20, 30, 3), np.uint8)
    rgb[..., 0] = 200
    picture = decode_jpeg(encode_jpeg(rgb, 95))
    assert picture.shape == (20, 30, 3)
    assert picture.dtype == np.uint8
    assert picture.mean(axis=(0, 1)) == pytest.approx([200, 0, 0], abs=4)


@pytest.mark.parametrize("jpeg", [b"", b"not a picture"])
def test_what_is_no_jpeg_is_an_error(jpeg: bytes) -> None:
    with pytest.raises(DecodeError, match="cannot decode a JPEG"):
        decode_jpeg(jpeg)


@pytest.mark.parametrize(
    ("size", "wanted"),
    [((1920, 1080), (640, 360)), ((1080, 1920), (360, 640)), ((200, 100), (200, 100)), ((10_000, 400), (9_000, 360))],
)
def test_fit_keeps_the_shape(size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert fit(*size, 360) == wanted
