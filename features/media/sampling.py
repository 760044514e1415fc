"""Which frames of a video are kept: those at grid times, keyframes, one of each shot, or all."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError
from features.identity import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy as np
    import numpy.typing as npt

    from features.media.shots import ShotDetector

    Picture = npt.NDArray[np.uint8]

SAMPLINGS = ("interval", "keyframes", "shots", "all")
_DENSE_US = 80_000  # less than the shortest shot
_STEPS_A_SHOT = 12
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_RATE = re.compile(rf"{_NUMBER}/{_NUMBER}?s", re.ASCII)
_SHORTEST_INTERVAL_US = 1_000
_LONGEST_INTERVAL_US = 86_400 * MICROSECONDS


def parse_frames(text: str) -> tuple[str, int]:
    """What `--frames` says.

    Args:
        text: `1/s`, `0.5/s`, `1/10s` (so many pictures in so many seconds), `keyframes`, `shots` or `all`.

    Returns:
        The sampling, one of `SAMPLINGS`, and the distance of grid times in microseconds (one second where there is
        no grid).

    Raises:
        ConfigError: It says none of these, or more than a thousand or less than one in a day.
    """
    if text in SAMPLINGS and text != "interval":
        return text, MICROSECONDS
    rate = _RATE.fullmatch(text)
    if rate is not None and float(rate[1]) > 0:
        interval_us = round(float(rate[2] or 1) * MICROSECONDS / float(rate[1]))
        if _SHORTEST_INTERVAL_US <= interval_us <= _LONGEST_INTERVAL_US:
            return "interval", interval_us
    message = (
        f"frames must be a rate such as 1/s, 0.5/s or 1/10s (at most 1000/s, at least 1/86400s), or keyframes, shots "
        f"or all, not {text!r}"
    )
    raise ConfigError(message)


class Candidate(NamedTuple):
    """A picture that may be kept, on screen in `[t_us, next_us)`."""

    t_us: int
    next_us: int
    bgr: Picture


def is_wanted(sampling: str, interval_us: int, *, t_us: int, next_us: int, is_key: bool) -> bool:
    """Whether a frame is kept for itself; the first one of a video always is.

    Args:
        sampling: `interval`, `keyframes` or `all`.
        interval_us: Distance of grid times.
        t_us: Since when the frame is on screen.
        next_us: When the next one is.
        is_key: It is a keyframe.
    """
    if sampling == "interval":
        return -(-t_us // interval_us) * interval_us < next_us
    return sampling == "all" or is_key


class ShotPicker:
    """Keeps of each shot the picture on screen at its middle, or the nearest of a few that are remembered.

    How long a shot goes on is known only at its end, so candidates are remembered: many of the last moment, and of a
    shot that goes on ever fewer, about twelve over its length; so memory does not grow with it.

    Args:
        detector: Finds the shots, and sees each frame before this does.
        keep: Takes the chosen pictures in order of time.
    """

    def __init__(self, detector: ShotDetector, keep: Callable[[Candidate], None]) -> None:
        self._detector = detector
        self._keep = keep
        self._candidates: deque[Candidate] = deque()
        self._start_us: int | None = None
        self._num_shots = 0

    def wants(self, t_us: int) -> bool:
        """Whether the frame shown from `t_us` on should be a candidate."""
        return not self._candidates or t_us - self._candidates[-1].t_us >= _DENSE_US

    def offer(self, candidate: Candidate) -> None:
        """Take a candidate, in order of time."""
        if self._start_us is None:
            self._start_us = candidate.t_us
        self._candidates.append(candidate)
        self._close_shots()
        self._thin()

    def finish(self, end_us: int) -> None:
        """Choose for the last shots; the detector must have finished."""
        self._close_shots(whole=True)
        self._choose(end_us)

    def _close_shots(self, *, whole: bool = False) -> None:
        borders = self._detector.borders_us
        while self._num_shots < len(borders):
            border_us = borders[self._num_shots]
            if not whole and border_us >= self._detector.settled_us:
                return
            self._choose(border_us)
            self._num_shots += 1

    def _choose(self, end_us: int) -> None:
        """The shot in progress ends here."""
        shot = [candidate for candidate in self._candidates if candidate.t_us < end_us]
        if shot and self._start_us is not None:
            middle_us = (self._start_us + end_us) // 2
            self._keep(min(shot, key=lambda one: max(one.t_us - middle_us, middle_us - one.next_us + 1, 0)))
        self._candidates = deque(candidate for candidate in self._candidates if candidate.t_us >= end_us)
        self._start_us = end_us

    def _thin(self) -> None:
        """Forget candidates that are surely before the middle, and some of those that stand close."""
        start_us, known_us = self._start_us or 0, self._detector.settled_us
        if known_us <= start_us:
            return
        middle_us, step_us = (start_us + known_us) // 2, (known_us - start_us) // _STEPS_A_SHOT
        self._candidates = deque(_thinned(self._candidates, middle_us, step_us, known_us))


def _thinned(candidates: deque[Candidate], middle_us: int, step_us: int, known_us: int) -> Iterator[Candidate]:
    """Those from the last one before the middle on, at least `step_us` apart up to `known_us`."""
    last: Candidate | None = None
    for candidate, after in zip(candidates, [*[*candidates][1:], None], strict=True):
        is_past = after is not None and after.t_us <= middle_us
        is_close = last is not None and candidate.t_us < known_us and candidate.t_us - last.t_us < step_us
        if not (is_past or is_close):
            last = candidate
            yield candidate
