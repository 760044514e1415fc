"""Keys that must be unique in a whole store, 16 bytes each however long they are."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray


class Seen:
    """Collects keys batch by batch. Keys are told apart by 64 bits of a hash: one of a few billion pairs falsely meets.

    Args:
        key: Columns of the key.
    """

    def __init__(self, key: Sequence[str]) -> None:
        self._key = key
        self._batch_ids: list[str] = []
        self._hashes: list[NDArray[np.uint64]] = []

    def add(self, batch_id: str, rows: pa.Table) -> None:
        """Take a batch's rows; of keys that it repeats itself, one."""
        columns = [rows[name].to_pylist() for name in self._key]
        hashes = {_hash(values) for values in zip(*columns, strict=True)}
        self._batch_ids.append(batch_id)
        self._hashes.append(np.fromiter(hashes, np.uint64, len(hashes)))

    def repeated(self) -> Iterator[tuple[str, str]]:
        """The later batches of keys that stand in several, and in which earlier one the first such key is."""
        if not self._hashes:
            return
        hashes = np.concatenate(self._hashes)
        batches = np.repeat(np.arange(len(self._hashes)), [len(some) for some in self._hashes])
        order = np.lexsort((batches, hashes))
        hashes, batches = hashes[order], batches[order]
        again = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
        for batch in np.unique(batches[again]):
            of_batch = again[batches[again] == batch]
            first = self._batch_ids[int(batches[of_batch[0] - 1])]
            yield self._batch_ids[int(batch)], f"{len(of_batch)} keys stand in batch {first} too"


def _hash(values: tuple[object, ...]) -> int:
    return int.from_bytes(blake2b(repr(values).encode(), digest_size=8).digest(), "big")
