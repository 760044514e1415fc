"""What the decoding of one media may take, and how far it is."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.identity import MICROSECONDS
from features.sources.spool import USUAL, Fetching

if TYPE_CHECKING:
    from features.media.protocol import Request

_LONGEST_US = 366 * 86_400 * MICROSECONDS
_LEAST_BYTES_A_SECOND = 2 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """What the decoding of one media may take.

    Attributes:
        stall_seconds: Without a sign of life.
        base_seconds: In all, whatever its length.
        seconds_a_second: In all, for each second of its length.
        memory_bytes: Address space, beyond that of a child that has just started.
        output_bytes: Rows.
        fetching: Its copy, where it is remote.
    """

    stall_seconds: float = 120
    base_seconds: float = 300
    seconds_a_second: float = 20
    memory_bytes: int = 2 << 30
    output_bytes: int = 16 << 30
    fetching: Fetching = USUAL

    def longest_seconds(self, duration_us: int, size_bytes: int) -> float:
        """Time for a media; a container that states less than its bytes can be worth is not believed."""
        stated = min(max(duration_us, 0), _LONGEST_US) / MICROSECONDS
        return self.base_seconds + self.seconds_a_second * max(stated, size_bytes / _LEAST_BYTES_A_SECOND)


@dataclass
class Course:
    """How far the decoding of a media is."""

    request: Request
    limits: Limits
    begun: float
    life: float
    longest_seconds: float
    facts: str = ""

    @classmethod
    def begin(cls, request: Request, limits: Limits) -> Course:
        """It begins now."""
        now = time.monotonic()
        return cls(request, limits, now, now, limits.longest_seconds(0, _size_of(request.path)))

    def lives(self) -> None:
        """Note a sign of life."""
        self.life = time.monotonic()

    def open(self, facts: str, duration_us: int) -> None:
        """Note what the container says."""
        self.facts = facts
        self.longest_seconds = self.limits.longest_seconds(duration_us, _size_of(self.request.path))

    def overdue(self) -> str:
        """Why it may not go on, or nothing."""
        now = time.monotonic()
        if now - self.life > self.limits.stall_seconds:
            return f"no sign of life for {self.limits.stall_seconds:g} s"
        if now - self.begun > self.longest_seconds:
            return f"not done after {self.longest_seconds:.0f} s"
        return ""

    def because(self, what: str, words: str) -> str:
        """What happened, what the container said, and the last words of the child."""
        container = f"container {self.facts}" if self.facts else "it had not been opened yet"
        return "; ".join(filter(None, (what, container, f"last words: {words}" if words else "")))


def _size_of(path: str) -> int:
    with suppress(OSError):
        return Path(path).stat().st_size
    return 0
