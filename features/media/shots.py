"""Shots: where a video cuts or fades, told by PySceneDetect's adaptive detector on small pictures and our own clock."""

from __future__ import annotations

import bisect
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from features.media.thumbnail import Thumbnailer
from features.records import Shot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import av
    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]
    Coarse = npt.NDArray[np.float32]

_SIZE = (128, 72)  # whatever the shape: it may change within a video
_COARSE_SIZE = (32, 18)
_USUAL_RATE = 25.0
_WINDOW_SECONDS = 0.08
_SMALLEST_WINDOW = 2
_LARGEST_WINDOW = 16
_MIN_RATIO = 3.0
_MIN_CHANGE = 15.0
_FLASH_US = 400_000
_COMES_BACK_SHARE = 0.4
_SAME = 2.0
_SHORTEST_SHOT_US = 120_000
_WEIGHTS = (0.3, 0.3, 1.0, 0.0)  # hue, saturation, luma, edges: in near-black the first two are noise
_UNIFORM = 1.5  # contrast, of 255, below which a picture is uniform
_PICTURE = 5.0  # and above which it is one no longer
_STEP_OF_FADE = 16.0  # a change up to that, between pictures that come up, is no cut
_LONGEST_RISE_US = 1_500_000


class _Look(NamedTuple):
    """What is remembered of a frame for a moment."""

    t_us: int
    coarse: Coarse
    contrast: float
    rises_us: int | None  # since when it comes up out of a uniform picture; None where it does not


class _Border(NamedTuple):
    """Where a shot may begin: what is seen before and at it, and how far that is apart (0 to 255)."""

    t_us: int
    begins: str
    before: Coarse
    at: Coarse
    change: float


class ShotDetector:
    """Finds the shots of a video from all of its frames, in memory that does not grow with their number.

    A cut's time is that of the first frame of the new shot, as it was given, so a variable frame rate moves nothing.
    A fade's is that of the first frame that comes up out of a uniform picture. Flashes and dropped-out pictures of
    up to 0.4 s are no cuts. No shot is shorter than 0.12 s: of borders closer together the sharpest stands. What is
    told of a moment depends only on the two seconds around it, so a video may be looked at in spans.

    Args:
        frame_rate: Usual frames a second, as the stream states it; None where it does not.
        is_start: The first frame is the first of the video: that it comes up out of black is no fade then.
    """

    def __init__(self, frame_rate: float | None = None, *, is_start: bool = True) -> None:
        from scenedetect.detectors import AdaptiveDetector  # costs a third of a second, for those who ask

        rate = frame_rate or _USUAL_RATE
        self._window = min(max(round(rate * _WINDOW_SECONDS), _SMALLEST_WINDOW), _LARGEST_WINDOW)
        self._detector = AdaptiveDetector(
            adaptive_threshold=_MIN_RATIO,
            min_scene_len=0,
            window_width=self._window,
            min_content_val=_MIN_CHANGE,
            weights=AdaptiveDetector.Components(*_WEIGHTS),
        )
        self._thumbnail = Thumbnailer("bgr24")
        self._small: Picture | None = None
        self._recent: deque[_Look] = deque()
        self._num_frames = 0
        self._is_leading = is_start
        self._open: list[_Border] = []
        self._borders: list[_Border] = []
        self._first_us = 0
        self.settled_us = 0

    @property
    def borders_us(self) -> list[int]:
        """Where shots begin, but for the first; complete and final before `settled_us`, which only grows."""
        return [border.t_us for border in self._borders]

    def add(self, frame: av.VideoFrame, t_us: int) -> None:
        """Take the next frame, shown from `t_us` on."""
        self._small = self._thumbnail(frame, *_SIZE)
        look = self._look(self._small, t_us)
        if not self._recent:
            self._first_us = t_us
            for _ in range(self._window):  # so that the first frames have neighbours on both sides, too
                self._compare(look)
        self._compare(look)
        self._settle(self._recent[-1 - self._window].t_us)

    def finish(self, end_us: int) -> tuple[Shot, ...]:
        """The shots from the first frame to the end; none where there was no frame.

        Args:
            end_us: End of the last frame.
        """
        if not self._recent:
            return ()
        last = self._recent[-1]
        for _ in range(self._window):
            self._compare(last)
        self._settle(end_us + _FLASH_US + _SHORTEST_SHOT_US)
        while self._borders and self._borders[-1].t_us > end_us - _SHORTEST_SHOT_US:
            self._borders.pop()
        return tuple(_shots(self._borders, self._first_us, end_us))

    def _look(self, small: Picture, t_us: int) -> _Look:
        luma = cv2.cvtColor(cv2.resize(small, _COARSE_SIZE, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        coarse = luma.astype(np.float32)
        contrast = float(coarse.std())
        before = self._recent[-1] if self._recent else None
        if contrast < _UNIFORM:
            return _Look(t_us, coarse, contrast, t_us)
        if before is None or before.rises_us is None or contrast >= _PICTURE:
            return _Look(t_us, coarse, contrast, None)
        rises_us = t_us if before.contrast < _UNIFORM else before.rises_us
        return _Look(t_us, coarse, contrast, rises_us if t_us - rises_us < _LONGEST_RISE_US else None)

    def _compare(self, look: _Look) -> None:
        """Give the detector a picture; what it says is of the one in the middle of its window."""
        from scenedetect.common import FrameTimecode

        self._recent.append(look)
        found = self._detector.process_frame(FrameTimecode(self._num_frames, _USUAL_RATE), self._small)
        self._num_frames += 1
        if len(self._recent) <= self._window + 1:
            return
        before, at = self._recent[-2 - self._window], self._recent[-1 - self._window]
        change = _distance(before.coarse, at.coarse) if found else 0.0
        is_dim = before.rises_us is not None or at.rises_us is not None
        if found and not (is_dim and change < _STEP_OF_FADE):
            self._open.append(_Border(at.t_us, "cut", before.coarse, at.coarse, change))
        elif before.rises_us is not None and at.rises_us is None:
            self._come_up(before, at)
        self._is_leading = self._is_leading and at.rises_us is not None

    def _come_up(self, before: _Look, at: _Look) -> None:
        """A picture stands that came up out of a uniform one: a fade, unless it is the first or began with a cut."""
        began_us = at.t_us if before.contrast < _UNIFORM or before.rises_us is None else before.rises_us
        last = (self._open or self._borders)[-1:]
        if not self._is_leading and not (last and last[0].t_us >= began_us):
            change = _distance(before.coarse, at.coarse)
            self._open.append(_Border(began_us, "fade", before.coarse, at.coarse, change))

    def _settle(self, known_us: int) -> None:
        """Decide on the borders that are old enough; forget the pictures that no border can need."""
        while self._open and self._open[0].t_us + _FLASH_US <= known_us:
            border = self._open.pop(0)
            back_us = self._comes_back(border)
            if back_us is None:
                self._accept(border)
            else:
                self._open = [other for other in self._open if other.t_us > back_us]
        oldest_us = min([known_us - _FLASH_US, *(border.t_us for border in self._open)])
        while len(self._recent) > 2 * self._window + 2 and self._recent[0].t_us < oldest_us - _FLASH_US:
            self._recent.popleft()
        rises_us = self._recent[-1 - self._window].rises_us
        undecided_us = oldest_us if rises_us is None else min(oldest_us, rises_us)
        self.settled_us = max(self.settled_us, undecided_us - _SHORTEST_SHOT_US)

    def _comes_back(self, border: _Border) -> int | None:
        """When a flash around a border ends: then what was seen before it is seen again; None where none is."""
        near = max(_COMES_BACK_SHARE * border.change, _SAME)
        for look in self._recent:
            if border.t_us - _FLASH_US <= look.t_us < border.t_us and _distance(border.at, look.coarse) < near:
                return border.t_us
            is_after = border.begins == "cut" and border.t_us < look.t_us <= border.t_us + _FLASH_US
            if is_after and _distance(border.before, look.coarse) < near:
                return look.t_us
        return None

    def _accept(self, border: _Border) -> None:
        if border.t_us < self._first_us + _SHORTEST_SHOT_US:
            return
        if self._borders and border.t_us - self._borders[-1].t_us < _SHORTEST_SHOT_US:
            if border.change < self._borders[-1].change:
                return
            self._borders.pop()
        self._borders.append(border)


def _distance(one: Coarse, other: Coarse) -> float:
    return float(np.abs(one - other).mean())


def _shots(borders: Iterable[_Border], first_us: int, end_us: int) -> Iterator[Shot]:
    """Shots side by side from `first_us` to `end_us`."""
    begins = [(first_us, "start"), *((border.t_us, border.begins) for border in borders)]
    ends = [*(t_us for t_us, _ in begins[1:]), end_us]
    for (start_us, how), stop_us in zip(begins, ends, strict=True):
        yield Shot(start_us, stop_us, how)


def clip_to_shots(before_us: int, after_us: int, borders_us: Sequence[int]) -> tuple[int, int]:
    """Where the stretch of one sampled frame ends and that of the next begins: at their midpoint, or at the cut.

    Args:
        before_us: Time of a sampled frame.
        after_us: Time of the next one.
        borders_us: Where shots begin, in order of time; all that are after the one and not after the other.

    Returns:
        End of the earlier frame's stretch, and start of the later one's: with two cuts in between, the shot between
        them has no sample, and nothing stands for it.
    """
    between = borders_us[bisect.bisect_right(borders_us, before_us) : bisect.bisect_right(borders_us, after_us)]
    if between:
        return between[0], between[-1]
    middle_us = (before_us + after_us) // 2
    return middle_us, middle_us
