"""Motion against pictures that move by a known number of pixels."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
import pytest

from features.media.motion import MotionMeter
from features.media.shots import ShotDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from features.records import Motion

    Picture = npt.NDArray[np.uint8]

SECOND = 1_000_000
WIDTH, HEIGHT = 320, 180


def scenery(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    size = (3 * WIDTH, 3 * HEIGHT)
    layers = [cv2.resize(rng.normal(0, 1, (n, n)), size, interpolation=cv2.INTER_CUBIC) for n in (6, 24, 80)]
    return np.asarray(np.clip(128 + 30 * sum(layers), 0, 255), np.uint8)


def window(picture: Picture, x: float, y: float) -> Picture:
    move = np.array([[1, 0, WIDTH + x], [0, 1, HEIGHT + y]], np.float32)
    return cv2.warpAffine(picture, move, (WIDTH, HEIGHT), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR)


def measure(times_us: Sequence[int], picture_at: Callable[[int], Picture], end_us: int) -> tuple[Motion, ...]:
    """Movement in a losslessly coded video."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as made:
        stream = made.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for t_us in times_us:
            frame = av.VideoFrame.from_ndarray(picture_at(t_us), "gray")
            frame.pts, frame.time_base = t_us // 1000, Fraction(1, 1000)
            made.mux(stream.encode(frame))
        made.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        stream = container.streams.video[0]
        meter = MotionMeter(stream)
        for t_us, frame in zip(times_us, container.decode(stream), strict=True):
            meter.add(frame, t_us)
        return meter.finish(end_us)


def at_rate(fps: int, seconds: float) -> list[int]:
    return [index * SECOND // fps for index in range(round(fps * seconds))]


@pytest.mark.parametrize(("across", "down"), [(30.0, 0.0), (0.0, 90.0), (200.0, -100.0)])
def test_a_pan_has_its_speed(across: float, down: float) -> None:
    picture, speed = scenery(1), np.hypot(across, down) / HEIGHT
    rows = measure(at_rate(25, 1), lambda t: window(picture, across * t / SECOND, down * t / SECOND), SECOND)
    assert [(row.start_us, row.end_us, row.num_pairs) for row in rows] == [(0, SECOND, 24)]
    assert rows[0].camera == pytest.approx(speed, rel=0.05)
    assert rows[0].mean == pytest.approx(speed, rel=0.1)
    assert rows[0].p95 == pytest.approx(speed, rel=0.3)


def test_what_stands_still_has_none() -> None:
    picture = window(scenery(2), 0, 0)
    (row,) = measure(at_rate(25, 1), lambda _: picture, SECOND)
    assert (row.mean, row.p95, row.camera) == (0, 0, 0)


def test_a_thing_that_moves_is_no_camera() -> None:
    picture, thing = window(scenery(3), 0, 0), scenery(4)

    def at(t_us: int) -> Picture:
        shown = picture.copy()
        x = 20 + 100 * t_us // SECOND
        shown[60:120, x : x + 60] = thing[:60, :60]
        return shown

    (row,) = measure(at_rate(25, 1), at, SECOND)
    assert row.camera < 0.02
    assert row.mean > 0.02
    assert row.p95 > 0.2


def test_speed_goes_by_true_time_at_a_variable_rate() -> None:
    picture = scenery(5)
    times = [0, 40_000, 120_000, 140_000, 260_000, 300_000, 400_000, 420_000, 480_000]
    (row,) = measure(times, lambda t: window(picture, 90 * t / SECOND, 0), 520_000)
    assert (row.start_us, row.end_us) == (0, 520_000)
    assert row.camera == pytest.approx(0.5, rel=0.05)


def test_rows_lie_on_the_absolute_grid_and_a_cut_is_no_movement() -> None:
    one, other = window(scenery(6), 0, 0), window(scenery(7), 0, 0)
    times = [300_000 + t for t in at_rate(25, 2)]
    rows = measure(times, lambda t: one if t < 1_500_000 else other, 2_300_000)
    assert [(row.start_us, row.end_us) for row in rows] == [
        (300_000, SECOND),
        (SECOND, 2 * SECOND),
        (2 * SECOND, 2_300_000),
    ]
    assert [row.mean for row in rows] == [0, 0, 0]
    assert sum(row.num_pairs for row in rows) == len(times) - 2


def test_pictures_far_apart_are_no_pair() -> None:
    picture = scenery(8)
    assert measure([0, SECOND, 2 * SECOND], lambda t: window(picture, t / SECOND, 0), 3 * SECOND) == ()


def test_a_given_detector_is_used() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as made:
        stream = made.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        made.mux(stream.encode(av.VideoFrame.from_ndarray(window(scenery(9), 0, 0), "gray")))
        made.mux(stream.encode(None))
    file.seek(0)
    with av.open(file) as container:
        detector = ShotDetector(25)
        meter = MotionMeter(container.streams.video[0], detector)
        for frame in container.decode(video=0):
            detector.add(frame, 0)
            meter.add(frame, 0)
        detector.finish(40_000)
        assert meter.finish(40_000) == ()
