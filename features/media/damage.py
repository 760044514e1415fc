"""Pictures and sound that a damaged file has lost: they are left out, and told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.identity import MICROSECONDS
from features.records import Missed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import av


class Damage:
    """Which frames of a video are not whole.

    A decoder marks a frame that it had to make up in part. Those after it may show the same damage, for they were
    made from it, up to the next keyframe; so may those after a packet that could not be decoded at all.

    Attributes:
        is_on: Whether the last frame is damaged.
        num_frames: Damaged frames on screen so far.
        first_us: Time of the first of them.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.num_frames = 0
        self.first_us: int | None = None
        self._has_begun = False

    def lost(self) -> None:
        """A packet could not be decoded."""
        self.is_on = self._has_begun

    def judge(self, frame: av.VideoFrame) -> bool:
        """Whether the next frame is damaged."""
        if frame.is_corrupt:
            self.is_on = True
        elif frame.key_frame:
            self.is_on, self._has_begun = False, True
        return self.is_on

    def note(self, t_us: int) -> None:
        """A damaged frame is on screen from a time on; those before the first whole one only begin the file."""
        if self._has_begun:
            self.num_frames += 1
            self.first_us = t_us if self.first_us is None else self.first_us


def lost_pictures(damage: Damage, stream: av.VideoStream, errors: Sequence[str], name: str) -> tuple[Missed, ...]:
    """What to tell of a video's damaged frames, if there are any.

    Args:
        damage: What was found.
        stream: The video.
        errors: FFmpeg's reasons, in order.
        name: What to call the media.
    """
    if not damage.num_frames or damage.first_us is None:
        return ()
    reason = f" ({errors[0]})" if errors else ""
    message = (
        f"the pictures of {name!r} are damaged from {damage.first_us / MICROSECONDS:.2f} s on{reason}: "
        f"{damage.num_frames} frames were not used, and the media is in without them; fetch the file again"
    )
    return (Missed(f"track:{stream.index}", "DecodeError", message),)


def lost_sound(streams: Sequence[av.stream.Stream], has_audio: bool, name: str) -> tuple[Missed, ...]:
    """What to tell of a media that has sound, of which none can be decoded."""
    sounds = [stream for stream in streams if stream.type == "audio"]
    if has_audio or not sounds:
        return ()
    codec = sounds[0].codec_context
    kind = "of unknown codec" if codec is None else codec.codec.canonical_name
    message = (
        f"no sound of {name!r} can be decoded (audio track {sounds[0].index}, {kind}), and the media is in without it; "
        "re-encode it where the sound is wanted"
    )
    return (Missed(f"track:{sounds[0].index}", "DecodeError", message),)
