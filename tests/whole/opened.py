"""Which files of a folder were opened meanwhile, as the kernel tells it (inotify)."""

from __future__ import annotations

import ctypes
import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IN_OPEN = 0x20
_IN_ISDIR = 0x40000000
_HEADER = struct.Struct("iIII")


@contextmanager
def files_opened(folder: Path) -> Iterator[set[str]]:
    """Collect the names of files of a folder that any process opens; the set is filled at the end."""
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK)
    assert queue >= 0, os.strerror(ctypes.get_errno())
    names: set[str] = set()
    try:
        assert libc.inotify_add_watch(queue, os.fsencode(folder), _IN_OPEN) >= 0, os.strerror(ctypes.get_errno())
        yield names
        names |= set(_names(queue))
    finally:
        os.close(queue)


def _names(queue: int) -> Iterator[str]:
    while True:
        try:
            data = os.read(queue, 1 << 16)
        except BlockingIOError:
            return
        position = 0
        while position < len(data):
            _, mask, _, length = _HEADER.unpack_from(data, position)
            name = data[position + _HEADER.size : position + _HEADER.size + length].rstrip(b"\0")
            position += _HEADER.size + length
            if not mask & _IN_ISDIR:
                yield os.fsdecode(name)
