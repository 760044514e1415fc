"""Perceptual hashes: of a picture (DCT), of a media (the nearest picture to each of fixed anchors), and who is near."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]

NUM_SLOTS = 32
"""Pictures in the hash of a media."""

_HASH_SIDE = 32  # of the picture that is transformed
_WORD = 0xFFFF_FFFF_FFFF_FFFF


def picture_hash(luma: npt.NDArray[np.uint8]) -> int:
    """Perceptual hash of a picture: which of its 64 lowest frequencies, the mean left out, are above their median.

    Args:
        luma: Uint8, shape [height, width].

    Returns:
        64 bits as a signed integer; copies differ in few bits.

    Reference:
        Zauner (2010), Implementation and Benchmarking of Perceptual Image Hash Functions.
    """
    small = cv2.resize(luma, (_HASH_SIDE, _HASH_SIDE), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small.astype(np.float32))[1:9, 1:9]
    bits = np.packbits(low > np.median(low))
    return int.from_bytes(bits.tobytes(), "big", signed=True)


class MediaSketch:
    """Hash of a media: for each of 32 fixed anchors the hash of its picture that is nearest to the anchor.

    Two media that share most of their pictures have the same nearest picture for most anchors, whatever the rate
    of sampling and whatever was cut off; so a place in one hash compares with the same place in another. It does
    not depend on the order of the pictures, and sketches of parts join to the sketch of the whole.

    Reference:
        Broder (1997), On the resemblance and containment of documents: this is min-wise hashing of pictures,
        with a distance that bears noise.
    """

    def __init__(self) -> None:
        self._nearest: Words | None = None

    def add(self, hashed: int) -> None:
        """Take the hash of a picture that has something in it."""
        self._take(np.full(NUM_SLOTS, hashed & _WORD, np.uint64))

    def join(self, other: MediaSketch) -> None:
        """Take all pictures of another."""
        if other._nearest is not None:
            self._take(other._nearest)

    def to_bytes(self) -> bytes | None:
        """32 hashes of 8 bytes, or None where no picture had anything in it."""
        return None if self._nearest is None else self._nearest.astype(">u8").tobytes()

    def _take(self, words: Words) -> None:
        if self._nearest is None:
            self._nearest = words.copy()
            return
        now, before = np.bitwise_count(words ^ _ANCHORS), np.bitwise_count(self._nearest ^ _ANCHORS)
        nearer = (now < before) | ((now == before) & (words < self._nearest))
        self._nearest = np.where(nearer, words, self._nearest)


def _anchors() -> Words:
    digests = (hashlib.blake2b(f"anchor {slot}".encode(), digest_size=8).digest() for slot in range(NUM_SLOTS))
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


_ANCHORS = _anchors()
