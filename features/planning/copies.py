"""Files that are probably copies of others, without reading them whole: equal in size, and in samples of bytes."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.store.plan import Source

_SAMPLE_BYTES = 1 << 16
_SAMPLES = 3
_MOST_FILES = 10_000


def copies_among(sources: Sequence[Source]) -> frozenset[int]:
    """Places of sources that probably have the bytes of one before them.

    Files of one size are compared at their start, middle and end. Files that cannot be read are none; of very many
    files that share a size only some are looked at.
    """
    by_size: dict[int, list[int]] = {}
    for place, source in enumerate(sources):
        by_size.setdefault(source.size_bytes, []).append(place)
    twins = [place for places in by_size.values() if len(places) > 1 for place in places][:_MOST_FILES]
    seen: set[tuple[int, bytes]] = set()
    copies = set()
    for place in twins:
        digest = _digest(sources[place])
        if digest is None:
            continue
        key = (sources[place].size_bytes, digest)
        if key in seen:
            copies.add(place)
        seen.add(key)
    return frozenset(copies)


def _digest(source: Source) -> bytes | None:
    digest = blake2b(digest_size=16)
    last = max(0, source.size_bytes - _SAMPLE_BYTES)
    try:
        with open(source.uri, "rb") as file:  # noqa: PTH123 - a URI as it stands in the plan
            for number in range(_SAMPLES):
                file.seek(last * number // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    except OSError:
        return None
    return digest.digest()
