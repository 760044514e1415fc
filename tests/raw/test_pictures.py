"""`frame64`: a red picture is red, a gradient stays one, areas are averaged as OpenCV does."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from features.raw import frame64

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "black": (0, 0, 0), "white": (255, 255, 255), "grey": (51, 51, 51)}


@pytest.mark.parametrize("colour", COLOURS)
def test_a_picture_of_one_colour_keeps_it(colour: str) -> None:
    picture = np.full((360, 640, 3), COLOURS[colour], np.uint8)
    got = frame64(picture)
    assert got.shape == (64, 64, 3)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.broadcast_to(np.array(COLOURS[colour]) / 255, got.shape), atol=1e-6)


def test_a_gradient_stays_and_the_whole_picture_is_there() -> None:
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    got = frame64(np.broadcast_to(ramp[None, :, None], (360, 640, 3)))
    assert (np.diff(got[0, :, 0]) > 0).all()
    np.testing.assert_allclose(got[0, :, 0], (np.arange(64) + 0.5) / 64, atol=0.01)
    np.testing.assert_allclose(got, np.broadcast_to(got[:1], got.shape), atol=1e-6)


def test_each_pixel_is_the_mean_of_its_area() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (320, 640, 3), np.uint8)
    blocks = picture.reshape(64, 5, 64, 10, 3).mean(axis=(1, 3)) / 255
    np.testing.assert_allclose(frame64(picture), blocks, atol=1e-5)


@pytest.mark.parametrize("shape", [(360, 480, 3), (97, 31, 3), (64, 64, 3), (1, 1, 3), (20, 500, 3)])
def test_equals_opencv(shape: tuple[int, ...]) -> None:
    picture = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    right = cv2.resize(picture, (64, 64), interpolation=cv2.INTER_AREA) / 255
    got = frame64(picture)
    np.testing.assert_allclose(got, right, atol=1 / 255)  # OpenCV calculates in whole numbers
    assert 0 <= got.min() <= got.max() <= 1
