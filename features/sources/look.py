"""What is known of a remote source before its bytes come, and the words for why they do not."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from features.identity import MICROSECONDS


class Look(NamedTuple):
    """A remote source as it is now.

    Attributes:
        size_bytes: Its length.
        mtime_us: Its last change, microseconds since 1970; 0 where its host does not tell.
        tag: What its host tells its versions apart by (ETag, a checksum); empty where it gives none.
    """

    size_bytes: int
    mtime_us: int
    tag: str

    def is_as(self, size_bytes: int, mtime_us: int, tag: str) -> bool:
        """Whether it is what it was; a tag counts where both have one."""
        is_tagged = bool(tag and self.tag)
        return (self.size_bytes, self.mtime_us) == (size_bytes, mtime_us) and (not is_tagged or self.tag == tag)


class Interrupted(Exception):
    """A connection ended before the bytes did; what came is good."""


def microseconds_of(stated: object) -> int:
    """Microseconds since 1970 of what a host calls a time; 0 where it is none."""
    if isinstance(stated, str):
        try:
            stated = datetime.fromisoformat(stated)
        except ValueError:
            return 0
    if isinstance(stated, datetime):
        return round(stated.timestamp() * MICROSECONDS)
    return round(stated * MICROSECONDS) if isinstance(stated, int | float) else 0


def words_of(error: BaseException) -> str:
    """An error in one line, by its cause where a library wrapped it."""
    reason = getattr(error, "reason", None)
    return " ".join(str(reason if isinstance(reason, Exception) else error).split()) or type(error).__name__
