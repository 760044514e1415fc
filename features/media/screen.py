"""When each frame of a video is on screen, told one after another in the order in which they are shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from features.identity import MICROSECONDS

if TYPE_CHECKING:
    import av

    from features.media.probe import StreamClock

_DEFAULT_SPAN_US = MICROSECONDS // 25
_LONGEST_STEP_BACK_US = MICROSECONDS
_FEW = 9


class Window(NamedTuple):
    """Frames that count.

    Attributes:
        start_us: They are shown from here on.
        end_us: And before here; None: up to the end of the video.
        from_middle: Decoding began somewhere in the video, so the first frame that comes is not its first.
    """

    start_us: int = 0
    end_us: int | None = None
    from_middle: bool = False

    def __contains__(self, t_us: object) -> bool:
        return isinstance(t_us, int) and self.start_us <= t_us and (self.end_us is None or t_us < self.end_us)


ALL = Window()
"""All of a video."""


@dataclass(slots=True)
class Screen:
    """What is on screen, and since when.

    Attributes:
        clock: Of the stream.
        nominal_us: Time on screen of a frame that states none.
        t_us: Since when the frame is on screen; None before the first.
        duration: Of that frame as it states it, ticks.
        first_us: Time of the first frame.
        num_frames: Frames of the window so far.
        recent_us: Times on screen of the last few frames.
        shift_us: What jumps of the clock add.
        window: Frames that are counted.
    """

    clock: StreamClock
    nominal_us: int
    t_us: int | None = None
    duration: int = 0
    first_us: int = 0
    num_frames: int = 0
    recent_us: tuple[int, ...] = ()
    shift_us: int = 0
    window: Window = ALL

    def time_of(self, pts: int | None) -> int:
        """Presentation time of the next frame, 0 for what is before the timeline; nothing changes.

        A missing time, or one that steps back, is taken as one frame after the last. Where the clock jumps back by
        more than a second, the pictures go on from there, as the sound does.
        """
        return self._placed(pts)[0]

    def show(self, pts: int | None, duration: int) -> int:
        """Take the next frame.

        Returns:
            Its presentation time; the one before is not seen at all where it has the same.
        """
        t_us, self.shift_us = self._placed(pts)
        if self.t_us is None:
            self.first_us = t_us
        elif t_us > self.t_us:
            self.recent_us = (*self.recent_us[-_FEW + 1 :], t_us - self.t_us)
        self.t_us, self.duration = t_us, duration
        self.num_frames += t_us in self.window
        return t_us

    def copy(self) -> Screen:
        """The same state, to come back to."""
        return replace(self)

    @property
    def end_us(self) -> int:
        """End of the frame on screen if it is the last: as stated, unless that is less than half of the usual.

        The usual is that of the frames just before, so it is the same wherever decoding began.
        """
        if self.t_us is None:
            return 0
        stated_us = self.clock.span_us(self.duration)
        usual_us = sorted(self.recent_us)[len(self.recent_us) // 2] if self.recent_us else self.nominal_us
        return self.t_us + (stated_us if 2 * stated_us >= usual_us else usual_us)

    def _placed(self, pts: int | None) -> tuple[int, int]:
        """Time of the next frame, and the shift of the clock from it on."""
        stated_us = self.clock.time_us(pts)
        if self.t_us is None:
            return max(stated_us or 0, 0), self.shift_us
        next_us = self.t_us + self.nominal_us
        if stated_us is None:
            return next_us, self.shift_us
        t_us, shift_us = max(stated_us + self.shift_us, 0), self.shift_us
        if t_us < self.t_us - _LONGEST_STEP_BACK_US:
            shift_us += next_us - t_us
        return (t_us if t_us >= self.t_us else next_us), shift_us


def nominal_span_us(stream: av.VideoStream) -> int:
    """Time on screen of a frame as the stream's rate has it."""
    rate = stream.guessed_rate
    return round(MICROSECONDS / rate) if rate and 1 <= rate <= 1000 else _DEFAULT_SPAN_US
