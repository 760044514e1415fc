from __future__ import annotations

from fractions import Fraction
from types import SimpleNamespace

import av
import numpy as np
import pytest

from features.errors import DecodeError
from features.media.pictures import PictureSampler, decode_jpeg, encode_jpeg, fit


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


def _sampled(times_ms: list[int | None]) -> tuple[list[int], int]:
    """Times of the kept pictures, and the end, for frames with these timestamps at 10 a second."""
    stream = SimpleNamespace(
        time_base=Fraction(1, 1000),
        sample_aspect_ratio=None,
        guessed_rate=Fraction(10),
        codec_context=SimpleNamespace(sample_aspect_ratio=None),
    )
    sampler = PictureSampler(stream, 0, interval_us=1_000_000, short_side=16, quality=50)
    for pts in times_ms:
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        frame.pts = pts
        sampler.add(frame)
    return [frame.t_us for frame in sampler.finish()], sampler.end_us


def test_missing_timestamps_follow_the_rate() -> None:
    assert _sampled([None] * 25) == ([0, 1_000_000, 2_000_000], 2_500_000)


def test_a_repeated_timestamp_shows_the_later_frame() -> None:
    assert _sampled([0, 0, 100, 100, 200])[1] == 300_000


def test_what_is_before_the_timeline_is_at_its_start() -> None:
    times, end_us = _sampled([-200, -100, *range(0, 2000, 100)])
    assert times == [0, 1_000_000]
    assert end_us == 2_000_000


def test_a_clock_that_jumps_back_goes_on() -> None:
    times, end_us = _sampled([*range(0, 2000, 100), *range(0, 2000, 100)])
    assert times == [0, 1_000_000, 2_000_000, 3_000_000]
    assert end_us == 4_000_000


def test_a_small_step_back_is_not_followed() -> None:
    times, _ = _sampled([0, 100, 200, 150, *range(400, 1200, 100)])
    assert times == [0, 1_000_000]
