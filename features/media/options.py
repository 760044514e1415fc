"""What to take from a media."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from features.schema import OPTIONAL_TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """What to take from a media.

    Attributes:
        frame_interval_us: Distance of the grid times at which the frame on screen is kept, microseconds.
        frame_short_side: Largest short side of a kept picture, pixels; pictures are never enlarged.
        jpeg_quality: 1 to 100.
        audio_rate_hz: Rate of the mono sound.
        audio_chunk_us: Length of a chunk of sound, on a grid that starts with the timeline, microseconds.
        audio_language: Language of the sound to take where a media has several, BCP 47 or ISO 639; the default
            track where none speaks it.
        sampling: Which pictures are kept: those on screen at grid times (`interval`), `keyframes`, one of each shot
            (`shots`), or `all`.
        shots: Find the shots.
        motion: Measure the movement between adjacent frames.
    """

    frame_interval_us: int = 1_000_000
    frame_short_side: int = 360
    jpeg_quality: int = 90
    audio_rate_hz: int = 16_000
    audio_chunk_us: int = 60_000_000
    audio_language: str | None = None
    sampling: str = "interval"
    shots: bool = False
    motion: bool = False


DEFAULT_OPTIONS = DecodeOptions()
"""A picture a second of short side 360; sound at 16 kHz in chunks of a minute."""


def tables_asked(options: Mapping[str, object]) -> tuple[str, ...]:
    """The optional tables that decoding fills by its options, given by name."""
    return tuple(table for table in OPTIONAL_TABLES if options.get(option_of(table)))


def option_of(table: str) -> str:
    """The decoding option that asks for an optional table: `shots` for `shots@1`."""
    return table.partition("@")[0]
