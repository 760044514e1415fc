"""What looks at every decoded frame of a video, as far as it is asked for: the shot detector, the motion meter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import av

    from features.media.motion import MotionMeter
    from features.media.shots import ShotDetector
    from features.records import Motion, Shot


class Observers:
    """Sees each frame of a video that is on screen, in order of time.

    Args:
        stream: The video stream; None where there is none.
        shots: Find the shots.
        motion: Measure the movement between adjacent frames.
        is_start: The first frame is the first of the video.

    Attributes:
        shots: The shots, when all is done; None where they were not asked for.
        motions: Movement, likewise.
    """

    def __init__(self, stream: av.VideoStream | None, *, shots: bool, motion: bool, is_start: bool = True) -> None:
        self.detector = _detector(stream, is_start=is_start) if shots and stream is not None else None
        self._meter = _meter(stream, self.detector) if motion and stream is not None else None
        self.shots: tuple[Shot, ...] | None = None if self.detector is None else ()
        self.motions: tuple[Motion, ...] | None = None if self._meter is None else ()

    @property
    def sees_all(self) -> bool:
        """Whether every frame is wanted."""
        return self.detector is not None or self._meter is not None

    def add(self, frame: av.VideoFrame, t_us: int) -> None:
        """Take the next frame, shown from `t_us` on."""
        if self.detector is not None:
            self.detector.add(frame, t_us)
        if self._meter is not None:
            self._meter.add(frame, t_us)

    def finish(self, end_us: int) -> None:
        """The last frame ends here."""
        if self.detector is not None:
            self.shots = self.detector.finish(end_us)
        if self._meter is not None:
            self.motions = self._meter.finish(end_us)


def _detector(stream: av.VideoStream, *, is_start: bool) -> ShotDetector:
    from features.media.shots import ShotDetector  # its libraries are loaded for those who ask

    rate = stream.guessed_rate
    return ShotDetector(float(rate) if rate else None, is_start=is_start)


def _meter(stream: av.VideoStream, detector: ShotDetector | None) -> MotionMeter:
    from features.media.motion import MotionMeter

    return MotionMeter(stream, detector)
