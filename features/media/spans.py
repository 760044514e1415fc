"""The stretch that each kept picture stands for: up to the midpoints to its neighbours, never across a cut."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.records import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.media.shots import ShotDetector
    from features.records import PictureQuality


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture that was kept; the stretch it stands for is known only when the next one is."""

    t_us: int
    duration_us: int
    jpeg: bytes
    width: int
    height: int
    quality: PictureQuality | None = None

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
            quality=self.quality,
        )


class Spans:
    """Gives each sample its stretch, and hands it on as soon as that is known.

    Args:
        keep: Takes each picture.
        detector: Where shots begin; None where cuts are not looked for.
    """

    def __init__(self, keep: Callable[[Frame], None], detector: ShotDetector | None = None) -> None:
        self._keep = keep
        self._detector = detector
        self._waiting: deque[Sample] = deque()
        self._start_us: int | None = None
        self.num_samples = 0

    def add(self, sample: Sample, first_us: int) -> None:
        """Take the next sample; the first one stands for what is shown from `first_us` on."""
        if self._start_us is None:
            self._start_us = first_us
        self._waiting.append(sample)
        self.num_samples += 1
        while len(self._waiting) > 1 and self._is_settled(self._waiting[1].t_us):
            self._close()

    def finish(self, end_us: int) -> None:
        """Hand on the others; the last one stands up to the end. The detector must have finished."""
        while len(self._waiting) > 1:
            self._close()
        if self._waiting:
            last = self._waiting.popleft()
            cuts = () if self._detector is None else self._detector.borders_us
            self._keep(last.over(self._start_us or 0, next((cut for cut in cuts if cut > last.t_us), end_us)))

    def _is_settled(self, t_us: int) -> bool:
        return self._detector is None or self._detector.settled_us > t_us

    def _close(self) -> None:
        """Hand on the first one that waits; the second ends its stretch."""
        sample, after = self._waiting.popleft(), self._waiting[0]
        end_us, next_start_us = self._between(sample.t_us, after.t_us)
        self._keep(sample.over(self._start_us or 0, end_us))
        self._start_us = next_start_us

    def _between(self, before_us: int, after_us: int) -> tuple[int, int]:
        if self._detector is None:
            return (before_us + after_us) // 2, (before_us + after_us) // 2
        from features.media.shots import clip_to_shots

        return clip_to_shots(before_us, after_us, self._detector.borders_us)
