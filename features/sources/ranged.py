"""A remote file that is read where it is looked at: the few parts that a look into a large one takes."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import TYPE_CHECKING

from features.errors import FetchError
from features.sources.look import Interrupted
from features.sources.remote import read_from

if TYPE_CHECKING:
    from features.sources.look import Look

BLOCK_BYTES = 1 << 20
_KEPT_BLOCKS = 16


class RemoteFile(io.RawIOBase):
    """A file to read and seek in; a block a request, the latest of them kept.

    Args:
        url: The file.
        seen: It as it was looked at.
        most_bytes: So much may be fetched in all; who needs more had better copy it.
        allow_private: Web servers at private addresses, too.

    Attributes:
        name: The URL, for who names files.
        num_fetched_bytes: So much was fetched so far.
    """

    def __init__(self, url: str, seen: Look, *, most_bytes: int, allow_private: bool = False) -> None:
        super().__init__()
        self.name = url
        self.num_fetched_bytes = 0
        self._seen = seen
        self._most_bytes = most_bytes
        self._allow_private = allow_private
        self._place = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as of any file."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._seen.size_bytes}[whence]
        self._place = max(0, start + offset)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override] # any writable buffer
        """Fill a buffer as far as the block at this place goes.

        Raises:
            FetchError: The file has changed, cannot be had, or takes more than may be fetched.
        """
        number, start = divmod(self._place, BLOCK_BYTES)
        part = self._block(number)[start : start + len(buffer)] if self._place < self._seen.size_bytes else b""
        buffer[: len(part)] = part
        self._place += len(part)
        return len(part)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            self._blocks[number] = self._fetch(number * BLOCK_BYTES)
            if len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]

    def _fetch(self, offset: int) -> bytes:
        end = min(offset + BLOCK_BYTES, self._seen.size_bytes)
        if self.num_fetched_bytes + end - offset > self._most_bytes:
            message = f"a look into {self.name!r} takes more than {self._most_bytes >> 20} MB; copy it, and look there"
            raise FetchError(message)
        content = bytearray()
        try:
            for chunk in read_from(self.name, offset, self._seen, until=end, allow_private=self._allow_private):
                content += chunk
                self.num_fetched_bytes += len(chunk)
        except Interrupted as error:
            message = f"{self.name!r} broke off at byte {offset + len(content)} ({error}); run again later"
            raise FetchError(message) from error
        if len(content) != end - offset:
            message = (
                f"{self.name!r} gave {len(content)} bytes from byte {offset} on, of {self._seen.size_bytes} in all;"
            )
            message += " see whether it is whole there"
            raise FetchError(message)
        return bytes(content)
