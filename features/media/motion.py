"""Motion: how fast a video's content moves, from optical flow between adjacent frames.

Flow, and not the motion vectors of the codec: those are there for MPEG and H.264 alone, speak of frames that may lie
far away in time, and are chosen to save bits.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from features.identity import MICROSECONDS
from features.media.convert import FrameConverter, turn_of
from features.media.shots import ShotDetector
from features.media.thumbnail import Thumbnailer
from features.records import Motion

if TYPE_CHECKING:
    from collections.abc import Sequence

    import av
    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]
    Numbers = npt.NDArray[np.float32]

_LONG_SIDE = 160
_SHORTEST_SIDE = 16  # of less, OpenCV's flow crashes
_FINEST_SCALE = 1  # half the size: the preset's quarter is off by a sixth at half a pixel a frame
_LONGEST_PAIR_US = 500_000
_TEXTURE = 24  # of the gradient: where less is to be seen, flow is a guess
_SAMPLED_EACH = 4


class _Pair(NamedTuple):
    """Movement between two frames, in picture heights; `distances` is that of a few pixels."""

    before_us: int
    t_us: int
    mean: float
    camera: float
    distances: Numbers

    @property
    def second(self) -> int:
        """The stretch that it belongs to: where its middle lies."""
        return (self.before_us + self.t_us) // 2 // MICROSECONDS


class MotionMeter:
    """Measures the movement between adjacent frames, a row a second of the timeline.

    Frames on both sides of a cut are no pair, nor are frames over half a second apart. Speeds are distances over
    true time, so a variable frame rate does not change them. A second without a pair has no row.

    Args:
        stream: The video stream.
        detector: Finds the cuts, and sees each frame before this does; by default it has one of its own.
    """

    def __init__(self, stream: av.VideoStream, detector: ShotDetector | None = None) -> None:
        rate = stream.guessed_rate
        self._own = ShotDetector(float(rate) if rate else None) if detector is None else None
        self._detector = detector or self._own
        self._converter = FrameConverter(stream)
        self._thumbnail = Thumbnailer("gray")
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._flow.setFinestScale(_FINEST_SCALE)
        self._before: tuple[int, Picture] | None = None
        self._pairs: deque[_Pair] = deque()
        self._motions: list[Motion] = []
        self._first_us = 0

    def add(self, frame: av.VideoFrame, t_us: int) -> None:
        """Take the next frame, shown from `t_us` on."""
        if self._own is not None:
            self._own.add(frame, t_us)
        width, height = self._converter.square_size(frame)
        scale = _LONG_SIDE / max(width, height)
        small = self._thumbnail(frame, *(max(_SHORTEST_SIDE, round(n * scale)) for n in (width, height)))
        if self._before is None:
            self._first_us = t_us
        else:
            self._compare(*self._before, small, t_us, is_turned=turn_of(frame).transpose)
        self._before = t_us, small
        self._close()

    def finish(self, end_us: int) -> tuple[Motion, ...]:
        """The rows; a detector that was given must have finished.

        Args:
            end_us: End of the last frame.
        """
        if self._own is not None:
            self._own.finish(end_us)
        self._close(end_us)
        return tuple(m._replace(end_us=min(m.end_us, end_us)) for m in self._motions)

    def _compare(self, before_us: int, before: Picture, small: Picture, t_us: int, *, is_turned: bool) -> None:
        if before.shape != small.shape or not 0 < t_us - before_us <= _LONGEST_PAIR_US:
            return
        shown_height = small.shape[1] if is_turned else small.shape[0]
        flow = _flow(self._flow, before, small) / shown_height
        distances = np.hypot(flow[..., 0], flow[..., 1])
        sampled = distances[_SAMPLED_EACH // 2 :: _SAMPLED_EACH, _SAMPLED_EACH // 2 :: _SAMPLED_EACH].ravel()
        self._pairs.append(_Pair(before_us, t_us, float(distances.mean()), _shared(flow, before), sampled))

    def _close(self, end_us: int | None = None) -> None:
        """Make rows of the seconds whose cuts are known, or of all."""
        known_us = self._detector.settled_us if end_us is None and self._detector is not None else end_us
        while self._pairs:
            second = self._pairs[0].second
            last_us = (second + 1) * MICROSECONDS + _LONGEST_PAIR_US
            if end_us is None and (known_us is None or known_us <= last_us):
                return
            pairs = []
            while self._pairs and self._pairs[0].second == second:
                pairs.append(self._pairs.popleft())
            cuts = set(self._detector.borders_us) if self._detector is not None else set()
            pairs = [pair for pair in pairs if pair.t_us not in cuts]
            if pairs:
                self._motions.append(_row(second, self._first_us, pairs))


def _flow(engine: cv2.DISOpticalFlow, before: Picture, after: Picture) -> Numbers:
    """Where each pixel goes, in pixels; shape [height, width, 2]."""
    if np.array_equal(before, after):  # often, and there flow is not always nothing
        return np.zeros((*before.shape, 2), np.float32)
    return np.asarray(engine.calc(before, after, None), np.float32)


def _shared(flow: Numbers, before: Picture) -> float:
    """Length of the movement that most of what can be seen to move takes part in."""
    gradient = np.abs(cv2.Sobel(before, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(before, cv2.CV_32F, 0, 1))
    seen = flow[gradient >= _TEXTURE]
    across, down = np.median(seen if len(seen) >= flow.size // 200 else flow.reshape(-1, 2), axis=0)
    return float(np.hypot(across, down))


def _row(second: int, first_us: int, pairs: Sequence[_Pair]) -> Motion:
    times = np.array([(pair.t_us - pair.before_us) / MICROSECONDS for pair in pairs])
    speeds = np.concatenate([pair.distances / time for pair, time in zip(pairs, times, strict=True)])
    return Motion(
        start_us=max(second * MICROSECONDS, first_us),
        end_us=(second + 1) * MICROSECONDS,
        mean=float(sum(pair.mean for pair in pairs) / times.sum()),
        p95=float(np.percentile(speeds, 95)),
        camera=float(sum(pair.camera for pair in pairs) / times.sum()),
        num_pairs=len(pairs),
    )
