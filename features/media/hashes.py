"""Perceptual hashes of a picture (DCT) and of a media: some of its pictures, the same ones in every copy."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Words = npt.NDArray[np.uint64]

NUM_SLOTS = 16
"""Pictures in the hash of a media."""

WORDS_A_PICTURE = 4
"""Words of 64 bits in the hash of each."""

_TRANSFORMED_SIDE = 32
_HASHED_SIDE = 16


def picture_hash(luma: npt.NDArray[np.uint8]) -> bytes:
    """Perceptual hash: which of the 16x16 lowest frequencies of a picture, its mean left out, are above their median.

    The usual 64 bits of 8x8 frequencies do not tell two takes of one person before one wall from two copies.

    Args:
        luma: Uint8, shape [height, width].

    Returns:
        32 bytes, low frequencies first; copies differ in few bits.

    Reference:
        Zauner (2010), Implementation and Benchmarking of Perceptual Image Hash Functions.
    """
    small = cv2.resize(luma, (_TRANSFORMED_SIDE, _TRANSFORMED_SIDE), interpolation=cv2.INTER_AREA)
    transformed = cv2.dct(small.astype(np.float32))
    low = transformed[1 : _HASHED_SIDE + 1, 1 : _HASHED_SIDE + 1].reshape(-1)[_BY_FREQUENCY]
    return np.packbits(low > np.median(low)).tobytes()


class MediaSketch:
    """Hash of a media: for each of 16 fixed anchors that picture which is nearest to it in its first 64 bits.

    Media that share most of their pictures have the same nearest pictures for most anchors, also where another
    rate of sampling, a cut or another length gives their pictures other numbers. It is as small as 16 pictures'
    hashes, and takes pictures of a stretch after the other, so those of all spans may come together later.

    Reference:
        Broder (1997), doi:10.1109/SEQUEN.1997.666900: min-wise hashing, here by a distance that bears noise.
    """

    def __init__(self) -> None:
        self._distances = np.full(NUM_SLOTS, _NEVER, np.uint8)
        self._nearest = np.zeros((NUM_SLOTS, WORDS_A_PICTURE), np.uint64)

    def add(self, hashed: bytes) -> None:
        """Take the hash of a picture that has something in it."""
        words = np.frombuffer(hashed, ">u8").astype(np.uint64)
        distances = np.bitwise_count(words[0] ^ _ANCHORS)
        is_equal = distances == self._distances
        nearer = (distances < self._distances) | (is_equal & (words[0] < self._nearest[:, 0]))
        self._distances[nearer] = distances[nearer]
        self._nearest[nearer] = words

    def to_bytes(self) -> bytes | None:
        """16 hashes of 32 bytes, or None where no picture had anything in it."""
        return None if self._distances[0] == _NEVER else self._nearest.astype(">u8").tobytes()


def _anchors() -> Words:
    digests = (hashlib.blake2b(f"anchor {slot}".encode(), digest_size=8).digest() for slot in range(NUM_SLOTS))
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


_ANCHORS = _anchors()
_NEVER = 255  # further than any picture
_BY_FREQUENCY = np.argsort(np.add.outer(np.arange(_HASHED_SIDE), np.arange(_HASHED_SIDE)).reshape(-1), kind="stable")
