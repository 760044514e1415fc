"""Damaged copies of media: cut off at many places, bytes of them flipped; the same ones for the same seed."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

WHOLE = "whole"
NUM_FLIPPED = 20
"""Bytes that are flipped in a copy."""


class Mutant(NamedTuple):
    """A copy of a media under its own name: whole, cut off, or with flipped bytes.

    `kind` is `whole`, `cut` or `flip`.
    """

    path: Path
    original: Path
    kind: str


def make_mutants(
    originals: Iterable[Path], folder: Path, *, num_cuts: int, num_flips: int, seed: int, most_bytes: int | None = None
) -> list[Mutant]:
    """Write copies of media into folders of a folder.

    Args:
        originals: The media.
        folder: Where the folders go: `whole`, `cut-00`, ..., `flip-00`, ...
        num_cuts: Copies of each that are cut off, one in each equal part of its length; fewer of tiny ones.
        num_flips: Copies of each in which `NUM_FLIPPED` bytes are flipped; in every other one half of these lie in the
            first and the last 4 KiB, where containers have their tables.
        seed: What the places and bytes follow from, with the file's name.
        most_bytes: Only so many bytes of each, from its start, with all copies made from that; all by default.
    """
    made = []
    for original in originals:
        content = original.read_bytes()[:most_bytes]
        dice = random.Random(f"{seed} {original.name}")
        copies = [(WHOLE, content), *_cuts(content, num_cuts, dice), *_flips(content, num_flips, dice)]
        for name, damaged in copies:
            path = folder / name / original.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(damaged)
            made.append(Mutant(path, original, name.partition("-")[0]))
    return made


def _cuts(content: bytes, count: int, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    """Copies that end early; one of each length, and never of none."""
    borders = [len(content) * part // count for part in range(count + 1)] if count else []
    parts = [(max(1, start), end) for start, end in itertools.pairwise(borders)]
    places = [dice.randrange(start, end) for start, end in parts if start < end]
    for number, place in enumerate(places):
        yield f"cut-{number:02}", content[:place]


def _flips(content: bytes, count: int, dice: random.Random) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        damaged = bytearray(content)
        head = min(4096, len(content))
        for flip in range(NUM_FLIPPED):
            place = dice.randrange(len(content))
            if number % 2 and flip % 2:
                place = dice.choice([dice.randrange(head), len(content) - 1 - dice.randrange(head)])
            damaged[place] ^= dice.randrange(1, 256)
        yield f"flip-{number:02}", bytes(damaged)
