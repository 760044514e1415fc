"""Pictures: which decoded frames to keep, and how they become upright JPEGs of a moderate size."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import av
import cv2
import numpy as np

from features.errors import DecodeError
from features.identity import MICROSECONDS
from features.media.convert import FrameConverter, turn_of
from features.media.damage import Damage
from features.media.probe import StreamClock
from features.media.quality import PictureMeter
from features.media.sampling import Candidate, ShotPicker, is_wanted
from features.media.screen import ALL, Screen, Window, nominal_span_us
from features.media.spans import Sample, Spans

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from features.media.observers import Observers
    from features.records import Frame

    Picture = npt.NDArray[np.uint8]

cv2.setNumThreads(1)  # one thread a worker


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
    is_whole = jpeg.endswith(b"\xff\xd9")  # OpenCV fills the rest of one that is cut off with grey
    bgr = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if is_whole else None
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


class Shown(NamedTuple):
    """A frame that is not decoded yet: its timestamp and duration in ticks, and whether it is a keyframe."""

    pts: int
    duration: int
    is_key: bool


class Planned(NamedTuple):
    """A frame that is to be kept: its timestamp, and its time on screen."""

    pts: int
    t_us: int
    next_us: int


class State(NamedTuple):
    """Where a sampler was, to go back to."""

    screen: Screen
    num_chosen: int


class PictureSampler:
    """Keeps some frames of a video, holding one decoded frame at a time.

    Frames are either decoded and added one by one, or planned for a stretch ahead and then placed, as far as they are
    wanted. The first picture is always kept: it stands in for the grid time before it. A frame that is on screen at
    two grid times is kept once.

    Args:
        stream: The video stream.
        origin_us: Start of the timeline.
        interval_us: Distance of grid times, microseconds.
        short_side: Largest short side of a kept picture, pixels.
        quality: JPEG quality, 1 to 100.
        sampling: Which frames are kept: `interval`, `keyframes`, `shots` or `all`.
        keep: Takes each picture when the stretch it stands for is known; without it `finish` returns them.
        observers: See every frame that is on screen, with its time; for `shots` they have a detector.
        window: Of a video that is decoded from somewhere in its middle: the frames that are counted.
    """

    def __init__(
        self,
        stream: av.VideoStream,
        origin_us: int,
        *,
        interval_us: int,
        short_side: int,
        quality: int,
        sampling: str = "interval",
        keep: Callable[[Frame], None] | None = None,
        observers: Observers | None = None,
        window: Window = ALL,
    ) -> None:
        clock = StreamClock.of(stream.time_base, origin_us)
        self._screen = Screen(clock, nominal_span_us(stream), window=window)
        self._converter = FrameConverter(stream)
        self._interval_us = interval_us
        self._short_side = short_side
        self._quality = quality
        self._sampling = sampling
        self._observers = observers
        self._before: av.VideoFrame | None = None
        self._current: av.VideoFrame | None = None
        self._size = (0, 0)
        self._num_chosen = int(window.from_middle)
        self._last_kept_us = -1
        self._frames: list[Frame] = []
        detector = observers.detector if observers else None
        self._spans = Spans(keep or self._frames.append, detector)
        self._picker = ShotPicker(detector, self._keep) if detector and sampling == "shots" else None
        self._is_damaged = False
        self.damage = Damage()
        self.meter = PictureMeter()
        self.end_us = 0
        self.width: int | None = None
        self.height: int | None = None
        self.rotation: int | None = None

    @property
    def frame_rate(self) -> float | None:
        """Frames a second of their time, or None before there is one."""
        span_us = self.end_us - self._screen.first_us
        return self._screen.num_frames * MICROSECONDS / span_us if span_us > 0 else None

    @property
    def num_frames(self) -> int:
        """Frames of the window."""
        return self._screen.num_frames

    @property
    def first_us(self) -> int:
        """Time of the first frame."""
        return self._screen.first_us

    @property
    def has_pictures(self) -> bool:
        """Whether a picture has been kept."""
        return self._spans.num_samples > 0

    def add(self, frame: av.VideoFrame, *, is_damaged: bool = False) -> bool:
        """Take the next decoded frame; one that is damaged takes its time on screen, and is not used.

        Returns:
            Whether the frame before it was kept.
        """
        t_us = self._screen.time_of(frame.pts)
        kept = self._screen.t_us is not None and t_us > self._screen.t_us and self._leave(t_us, frame)
        self._screen.show(frame.pts, frame.duration or 0)
        self._before = self._current if frame.interlaced_frame else None
        self._current, self._size = frame, self._look_at(frame)
        self._is_damaged = is_damaged
        if is_damaged:
            self.damage.note(t_us)
        return kept

    def plan(self, ahead: Sequence[Shown], next_pts: int | None) -> list[Planned]:
        """Take frames that are not decoded yet, in the order in which they are shown.

        Args:
            ahead: The frames.
            next_pts: Timestamp of the one after them; None where there is none.

        Returns:
            Those to decode and place.
        """
        planned: list[Planned] = []
        before: Shown | None = None
        for shown in ahead:
            self._choose(planned, before, self._screen.time_of(shown.pts))
            self._screen.show(shown.pts, shown.duration)
            before = shown
        self._choose(planned, before, self._screen.end_us if next_pts is None else self._screen.time_of(next_pts))
        return planned

    def place(self, planned: Planned, frame: av.VideoFrame) -> None:
        """Keep a frame that was planned; the decoder has just given it."""
        self._keep(self._candidate(frame, self._look_at(frame), planned.t_us, planned.next_us, None))

    def state(self) -> State:
        """Where it is, to go back to with `restore` before what was planned since is added instead."""
        return State(self._screen.copy(), self._num_chosen)

    def restore(self, state: State) -> None:
        """Forget frames that were planned; what of them was placed stays, and is not kept again."""
        self._screen, self._num_chosen = state.screen.copy(), state.num_chosen

    def finish(self) -> tuple[Frame, ...]:
        """Kept pictures by time, each with the stretch that it stands for, but for those that `keep` took."""
        self.end_us = self._screen.end_us
        self._leave(self.end_us, None)
        self._before = self._current = None
        if self._observers is not None:
            self._observers.finish(self.end_us)
        if self._picker is not None:
            self._picker.finish(self.end_us)
        self._spans.finish(self.end_us)
        return tuple(self._frames)

    def _choose(self, planned: list[Planned], before: Shown | None, next_us: int) -> None:
        """Plan the frame on screen, unless it was added, or is not seen; one that was added is left."""
        t_us = self._screen.t_us
        if t_us is None or next_us <= t_us:
            return
        if before is None:
            self._leave(next_us, None)
            self._current = None
        elif self._wants(t_us, next_us, is_key=before.is_key):
            planned.append(Planned(before.pts, t_us, next_us))

    def _leave(self, next_us: int, after: av.VideoFrame | None) -> bool:
        """Look at the frame on screen before it goes, and keep it if it is wanted; one that was planned is done."""
        t_us, frame = self._screen.t_us, self._current
        if frame is None or t_us is None or self._is_damaged:
            return False
        if self._observers is not None:
            self._observers.add(frame, t_us)
        if self._picker is not None:
            if self._picker.wants(t_us):
                self._picker.offer(self._candidate(frame, self._size, t_us, next_us, after))
            return False
        if not self._wants(t_us, next_us, is_key=_is_key(frame)):
            return False
        self._keep(self._candidate(frame, self._size, t_us, next_us, after))
        return True

    def _wants(self, t_us: int, next_us: int, *, is_key: bool) -> bool:
        wanted = self._num_chosen == 0 or is_wanted(
            self._sampling, self._interval_us, t_us=t_us, next_us=next_us, is_key=is_key
        )
        self._num_chosen += wanted
        return wanted

    def _candidate(
        self, frame: av.VideoFrame, size: tuple[int, int], t_us: int, next_us: int, after: av.VideoFrame | None
    ) -> Candidate:
        bgr = self._converter.picture(frame, fit(*size, self._short_side), self._before, after)
        return Candidate(t_us, next_us, bgr)

    def _keep(self, chosen: Candidate) -> None:
        if chosen.t_us <= self._last_kept_us:  # placed before it was added
            return
        self._last_kept_us = chosen.t_us
        jpeg, quality = _encode_bgr(chosen.bgr, self._quality), self.meter.measure(chosen.bgr)
        height, width = chosen.bgr.shape[:2]
        self._spans.add(
            Sample(chosen.t_us, chosen.next_us - chosen.t_us, jpeg, width, height, quality), self._screen.first_us
        )

    def _look_at(self, frame: av.VideoFrame) -> tuple[int, int]:
        """Size of a frame with square pixels; the first one tells that of the video."""
        width, height = self._converter.square_size(frame)
        if self.width is None:
            turn = turn_of(frame)
            self.rotation = turn.clockwise_degrees
            self.width, self.height = (height, width) if turn.transpose else (width, height)
        return width, height


def _is_key(frame: av.VideoFrame) -> bool:
    """Whether the packet of a frame is marked as a keyframe; by the decoder, where the packet is not known."""
    return bool(frame.key_frame if frame.opaque is None else frame.opaque)


def _encode_bgr(bgr: npt.NDArray[np.uint8], quality: int) -> bytes:
    done, buffer = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        message = f"cannot encode a picture of shape {bgr.shape} as JPEG; give it three channels of uint8"
        raise DecodeError(message)
    return bytes(buffer.tobytes())
