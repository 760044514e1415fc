"""Identity of media and batches, and the integer time that all tables share."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

MICROSECONDS = 1_000_000
"""Microseconds in a second; all times in tables are integer counts of them."""

_DIGEST_BYTES = 16
_READ_BYTES = 1 << 20
_SECOND = "%Y%m%dT%H%M%S"


class Span(NamedTuple):
    """A half-open stretch of a media's timeline, `[start_us, end_us)`, in microseconds."""

    start_us: int
    end_us: int


def media_id_of_file(path: Path) -> str:
    """Identity of a file's content: hex of the 128-bit BLAKE2b of all its bytes.

    Args:
        path: A readable file.

    Returns:
        32 hexadecimal digits.

    Raises:
        MediaError: The file cannot be read.

    Reference:
        Aumasson et al. (2013), BLAKE2, RFC 7693.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                digest.update(chunk)
    except OSError as error:
        message = f"cannot read {str(path)!r} ({error.strerror or error}); check that it exists and may be read"
        raise MediaError(message) from error
    return digest.hexdigest()


def media_id_of_parts(parts: Iterable[bytes]) -> str:
    """Identity of a loose sample: BLAKE2b-128 over the sorted digests of its parts.

    Args:
        parts: The content of each part (an image, a sound, a text); their order does not matter.

    Returns:
        32 hexadecimal digits.
    """
    digests = sorted(hashlib.blake2b(part, digest_size=_DIGEST_BYTES).digest() for part in parts)
    return hashlib.blake2b(b"".join(digests), digest_size=_DIGEST_BYTES).hexdigest()


def fingerprint(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """Short hash of a JSON-serialisable value, the same for equal values whatever their key order.

    Returns:
        16 hexadecimal digits.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def make_batch_id(planned_at: datetime, index: int, entries: Sequence[str]) -> str:
    """Name of a batch: `<UTC yyyymmddThhmmss>-<index and hash of its entries>`.

    Args:
        planned_at: When the batch was planned, in UTC.
        index: Place of the batch in its plan, so that batches sort in the order of their sources.
        entries: What the batch holds, in order.

    Returns:
        Characters `[A-Za-z0-9-]` only, so that it needs no escaping in a path.
    """
    return f"{planned_at:{_SECOND}}-{index:06x}{fingerprint(list(entries))}"


def second_of_batch(batch_id: str) -> datetime | None:
    """The UTC second that a batch is named after; None of a name that `make_batch_id` did not make."""
    try:
        return datetime.strptime(batch_id.partition("-")[0], _SECOND).replace(tzinfo=UTC)
    except ValueError:
        return None


def seconds_to_us(seconds: float) -> int:
    """Microseconds nearest to a time in seconds."""
    return round(seconds * MICROSECONDS)
