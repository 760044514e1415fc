"""A long media in parts that workers share: pictures span by span, and once all else; and how they come together.

The borders of the spans lie on an absolute grid. What a part gives depends on no other part: before its span a stretch
is decoded and thrown away.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from features.identity import MICROSECONDS
from features.media.complete import Losses
from features.media.screen import Window
from features.records import Shot

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.records import MediaInfo, MediaQuality

GRID_US = 60 * MICROSECONDS
"""Distance of the borders that spans may have."""


class Part(NamedTuple):
    """What one worker decodes of a long media.

    Attributes:
        number: 0: sound, text, and what the container says; from 1 on: the pictures of one span.
        start_us: Start of the span.
        end_us: End of the span; None: that of the video.
    """

    number: int
    start_us: int = 0
    end_us: int | None = None

    @property
    def window(self) -> Window:
        """Frames that are the part's."""
        return Window(self.start_us, self.end_us)


class PartFacts(NamedTuple):
    """What a part found out, beside its rows and the facts of the media.

    Attributes:
        num_frames: Frames of its span.
        first_us: Time of the first frame that it decoded.
        end_us: End of the last one.
        losses: What went wrong.
        num_jumps: Jumps of the container's clock.
        shots: Shots that begin in its span; their ends are not known yet.
    """

    num_frames: int = 0
    first_us: int = 0
    end_us: int = 0
    losses: Losses = Losses((), 0, 0)
    num_jumps: int = 0
    shots: tuple[Shot, ...] | None = None

    def to_json(self) -> object:
        """What `from_json` reads."""
        return self._asdict()

    @classmethod
    def from_json(cls, body: Any) -> PartFacts:  # noqa: ANN401 - JSON
        """Facts as `to_json` wrote them."""
        errors, stated_us, end_us = body["losses"]
        shots = None if body["shots"] is None else tuple(Shot(*shot) for shot in body["shots"])
        return cls(**{**body, "losses": Losses(tuple(errors), stated_us, end_us), "shots": shots})


def parts_of(duration_us: int, span_us: int) -> tuple[Part, ...]:
    """Parts of a media: first all but the pictures, then the pictures in spans.

    Args:
        duration_us: Its length as the container states it; the last span goes on to the true end.
        span_us: Length of a span; the next multiple of the grid is taken.
    """
    step_us = max(1, -(-span_us // GRID_US)) * GRID_US
    starts = range(0, max(duration_us - step_us // 2, 1), step_us)
    ends = [*starts[1:], None]
    spans = (
        Part(number, start_us, end_us) for number, (start_us, end_us) in enumerate(zip(starts, ends, strict=True), 1)
    )
    return (Part(0), *spans)


def joined_info(rest: MediaInfo, pictures: Sequence[tuple[MediaInfo, PartFacts]], quality: MediaQuality) -> MediaInfo:
    """Facts of a whole media.

    Args:
        rest: What the part without pictures found.
        pictures: What the others found, by time.
        quality: Of the pictures.
    """
    shown = [(info, facts) for info, facts in pictures if info.has_video]
    if not shown:
        return rest
    (first, first_facts), (_, last_facts) = shown[0], shown[-1]
    num_frames, span_us = sum(facts.num_frames for _, facts in shown), last_facts.end_us - first_facts.first_us
    return replace(
        rest,
        width=first.width,
        height=first.height,
        rotation=first.rotation,
        frame_rate=num_frames * MICROSECONDS / span_us if span_us > 0 else None,
        has_video=True,
        duration_us=max(rest.duration_us, last_facts.end_us),
        quality=_joined_quality(rest.quality, quality),
    )


def joined_losses(rest: PartFacts, pictures: Sequence[tuple[MediaInfo, PartFacts]]) -> Losses:
    """What went wrong in all parts."""
    errors = (error for facts in (rest, *(facts for _, facts in pictures)) for error in facts.losses.errors)
    ends = (facts.end_us for info, facts in pictures if info.has_video)
    return Losses(tuple(errors), rest.losses.stated_us, max([rest.losses.end_us, *ends]))


def joined_shots(parts: Iterable[PartFacts], end_us: int) -> tuple[Shot, ...]:
    """The shots of a whole video from those that begin in its spans."""
    found = [shot for facts in parts for shot in facts.shots or ()]
    ends = [*(shot.start_us for shot in found[1:]), end_us]
    return tuple(shot._replace(end_us=end) for shot, end in zip(found, ends, strict=True))


def _joined_quality(sound: MediaQuality | None, pictures: MediaQuality) -> MediaQuality:
    if sound is None:
        return pictures
    heard = (sound.loudness_lufs, sound.clipped_share, sound.silence_share)
    return pictures._replace(loudness_lufs=heard[0], clipped_share=heard[1], silence_share=heard[2])
