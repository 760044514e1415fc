"""Pictures: which decoded frames to keep, and how they become upright JPEGs of a moderate size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import av
import cv2
import numpy as np

from features.errors import DecodeError
from features.identity import MICROSECONDS
from features.media.convert import FrameConverter, turn_of
from features.media.probe import StreamClock
from features.records import Frame

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]

cv2.setNumThreads(1)  # one thread a worker

_DEFAULT_SPAN_US = MICROSECONDS // 25
_LONGEST_STEP_BACK_US = MICROSECONDS


def encode_jpeg(rgb: Picture, quality: int = 90) -> bytes:
    """JPEG of a picture.

    Args:
        rgb: RGB, uint8, shape [height, width, 3].
        quality: 1 to 100.
    """
    return _encode_bgr(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), quality)


def decode_jpeg(jpeg: bytes) -> Picture:
    """Picture of a JPEG.

    Returns:
        RGB, uint8, shape [height, width, 3].

    Raises:
        DecodeError: The bytes are no picture.
    """
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if bgr is None:
        message = f"cannot decode a JPEG of {len(jpeg)} bytes ({jpeg[:8]!r}…); verify the table that holds it"
        raise DecodeError(message)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def fit(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Size with the same shape whose short side is at most `short_side`; never larger than it was."""
    shorter = min(width, height)
    if shorter <= short_side:
        return width, height
    return max(1, round(width * short_side / shorter)), max(1, round(height * short_side / shorter))


@dataclass(frozen=True, slots=True)
class _Sample:
    """A picture that was kept; the stretch it stands for is known only when the next one is."""

    t_us: int
    duration_us: int
    jpeg: bytes
    width: int
    height: int

    def over(self, start_us: int, end_us: int) -> Frame:
        """The picture with the stretch it stands for."""
        return Frame(
            t_us=self.t_us,
            duration_us=self.duration_us,
            valid_start_us=start_us,
            valid_end_us=end_us,
            jpeg=self.jpeg,
            width=self.width,
            height=self.height,
        )


class Observer(Protocol):
    """Sees every frame that is on screen, in order of time."""

    def add(self, frame: av.VideoFrame, t_us: int) -> None:
        """Take the next frame, shown from `t_us` on."""


class _Spans:
    """Gives each sample the stretch that it stands for, which the next one ends."""

    def __init__(self, keep: Callable[[Frame], None]) -> None:
        self._keep = keep
        self._last: _Sample | None = None
        self._start_us = 0
        self.num_samples = 0

    def add(self, sample: _Sample) -> None:
        """Take the next sample."""
        if self._last is None:
            self._start_us = sample.t_us
        else:
            self._close((self._last.t_us + sample.t_us) // 2)
        self._last = sample
        self.num_samples += 1

    def finish(self, end_us: int) -> None:
        """The last sample stands up to the end."""
        if self._last is not None:
            self._close(end_us)
            self._last = None

    def _close(self, border_us: int) -> None:
        if self._last is not None:
            self._keep(self._last.over(self._start_us, border_us))
        self._start_us = border_us


class PictureSampler:
    """Keeps of a video the frame on screen at each multiple of an interval, holding one decoded frame at a time.

    The first picture is always kept: it stands in for the grid time before it. A frame that is on screen at
    two grid times is kept once.

    Args:
        stream: The video stream.
        origin_us: Start of the timeline.
        interval_us: Distance of grid times, microseconds.
        short_side: Largest short side of a kept picture, pixels.
        quality: JPEG quality, 1 to 100.
        keep: Takes each picture when the stretch it stands for is known; without it `finish` returns them.
        observers: See every frame that is on screen, with its time.
    """

    def __init__(
        self,
        stream: av.VideoStream,
        origin_us: int,
        *,
        interval_us: int,
        short_side: int,
        quality: int,
        keep: Callable[[Frame], None] | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self._clock = StreamClock.of(stream.time_base, origin_us)
        self._converter = FrameConverter(stream)
        self._nominal_us = _nominal_span_us(stream)
        self._interval_us = interval_us
        self._short_side = short_side
        self._quality = quality
        self._before: av.VideoFrame | None = None
        self._current: av.VideoFrame | None = None
        self._current_us = 0
        self._size = (0, 0)
        self._shift_us = 0
        self._num_steps = 0
        self._observers = observers
        self._frames: list[Frame] = []
        self._spans = _Spans(keep or self._frames.append)
        self.num_frames = 0
        self.first_us = 0
        self.end_us = 0
        self.width: int | None = None
        self.height: int | None = None
        self.rotation: int | None = None

    @property
    def frame_rate(self) -> float | None:
        """Decoded frames a second of their time, or None before there is one."""
        span_us = self.end_us - self.first_us
        return self.num_frames * MICROSECONDS / span_us if span_us > 0 else None

    def add(self, frame: av.VideoFrame) -> bool:
        """Take the next decoded frame.

        Returns:
            Whether the frame before it was kept.
        """
        t_us = self._time_of(frame)
        kept = False
        if self._current is None:
            self._describe(frame)
            self.first_us = t_us
        elif t_us > self._current_us:
            kept = self._leave(t_us, frame)
            self._num_steps += 1
        self._before = self._current if frame.interlaced_frame else None
        self._current, self._current_us, self._size = frame, t_us, self._converter.square_size(frame)
        self.num_frames += 1
        return kept

    def finish(self) -> tuple[Frame, ...]:
        """Kept pictures by time, each with the stretch that it stands for, but for those that `keep` took."""
        if self._current is not None:
            self.end_us = self._current_us + self._last_span_us(self._current)
            self._leave(self.end_us, None)
            self._before = self._current = None
        self._spans.finish(self.end_us)
        return tuple(self._frames)

    @property
    def has_pictures(self) -> bool:
        """Whether a picture has been kept."""
        return self._spans.num_samples > 0

    def _time_of(self, frame: av.VideoFrame) -> int:
        """Presentation time, 0 for what is before the timeline.

        A missing time, or one that steps back, is taken as one frame after the last. Where the clock jumps back by
        more than a second, the pictures go on from there, as the sound does.
        """
        stated_us = self._clock.time_us(frame.pts)
        if self._current is None:
            return max(stated_us or 0, 0)
        next_us = self._current_us + self._nominal_us
        if stated_us is None:
            return next_us
        t_us = max(stated_us + self._shift_us, 0)
        if t_us < self._current_us - _LONGEST_STEP_BACK_US:
            self._shift_us += next_us - t_us
        return t_us if t_us >= self._current_us else next_us

    def _leave(self, next_us: int, after: av.VideoFrame | None) -> bool:
        """Keep the frame on screen where a grid time falls in its time, or where it is the first."""
        t_us, frame = self._current_us, self._current
        for observer in self._observers:
            observer.add(frame, t_us)
        grid_us = -(-t_us // self._interval_us) * self._interval_us
        if self.has_pictures and grid_us >= next_us:
            return False
        bgr = self._converter.picture(frame, fit(*self._size, self._short_side), self._before, after)
        jpeg = _encode_bgr(bgr, self._quality)
        self._spans.add(_Sample(t_us, next_us - t_us, jpeg, bgr.shape[1], bgr.shape[0]))
        return True

    def _last_span_us(self, frame: av.VideoFrame) -> int:
        """Time on screen of the last frame: as stated, unless it is less than half of what the others had."""
        stated_us = self._clock.span_us(frame.duration or 0)
        shown = self._current_us - self.first_us
        usual_us = shown // self._num_steps if self._num_steps else self._nominal_us
        return stated_us if 2 * stated_us >= usual_us else usual_us

    def _describe(self, frame: av.VideoFrame) -> None:
        self.rotation = turn_of(frame).clockwise_degrees
        width, height = self._converter.square_size(frame)
        self.width, self.height = (height, width) if turn_of(frame).transpose else (width, height)


def _encode_bgr(bgr: npt.NDArray[np.uint8], quality: int) -> bytes:
    done, buffer = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        message = f"cannot encode a picture of shape {bgr.shape} as JPEG; give it three channels of uint8"
        raise DecodeError(message)
    return bytes(buffer.tobytes())


def _nominal_span_us(stream: av.VideoStream) -> int:
    rate = stream.guessed_rate
    return round(MICROSECONDS / rate) if rate and 1 <= rate <= 1000 else _DEFAULT_SPAN_US
