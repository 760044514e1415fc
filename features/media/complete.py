"""Whether enough of a media came out of a decode to be rows, or it is a dead letter."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from features.errors import DecodeError, MissingStreamError
from features.identity import MICROSECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from features.media.probe import Selection
    from features.records import MediaInfo

_TRUNCATED_SHARE = 0.2


class Losses(NamedTuple):
    """What went wrong in a decode.

    Attributes:
        errors: FFmpeg's reasons, in order.
        stated_us: Length as the container states it, 0 where its clock jumps.
        end_us: End of the pictures and the sound that were decoded, 0 where there are none.
    """

    errors: tuple[str, ...]
    stated_us: int
    end_us: int


def check_complete(path: Path, streams: str, selection: Selection, info: MediaInfo, losses: Losses) -> None:
    """Refuse a media of which nothing, no picture, or too little came out.

    Raises:
        DecodeError: Its video or all of it cannot be decoded, or it is truncated.
        MissingStreamError: There is nothing in it.
    """
    reason = f"{losses.errors[0]}; streams: {streams}" if losses.errors else f"streams: {streams}"
    is_empty = not (info.has_video or info.has_audio or info.has_text)
    if is_empty and not (losses.errors or selection.video):
        message = f"no picture, sound or text in {str(path)!r} ({reason}); leave it out of the sources"
        raise MissingStreamError(message)
    if selection.video is not None:
        _check_pictures(path, info, reason)
    if is_empty:
        message = f"nothing of {str(path)!r} can be decoded ({reason}); re-encode it or leave it out"
        raise DecodeError(message)
    _check_length(path, losses)


def check_joined(path: Path, info: MediaInfo, losses: Losses) -> None:
    """The same of a media with a video that was decoded in parts.

    Raises:
        DecodeError: Its video cannot be decoded, or it is truncated.
    """
    _check_pictures(path, info, losses.errors[0] if losses.errors else "nothing came out")
    _check_length(path, losses)


def _check_pictures(path: Path, info: MediaInfo, reason: str) -> None:
    if not info.has_video:
        message = f"not one picture of {str(path)!r} can be decoded ({reason}); re-encode it or leave it out"
        raise DecodeError(message)


def _check_length(path: Path, losses: Losses) -> None:
    """Refuse a media where decoding failed and a good part of its stated length is missing."""
    missing_us = losses.stated_us - losses.end_us
    if losses.errors and missing_us > max(MICROSECONDS, _TRUNCATED_SHARE * losses.stated_us):
        there, stated = losses.end_us / MICROSECONDS, losses.stated_us / MICROSECONDS
        message = (
            f"{str(path)!r} is truncated: {there:.1f} s of {stated:.1f} s can be decoded ({losses.errors[0]}); "
            "fetch the whole file again"
        )
        raise DecodeError(message)
