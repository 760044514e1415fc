"""Epochs that the first of several training processes tells, on their way to the process that waits for it."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import Pipe
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    Tell = Callable[[int, float, float], None]

_EPOCH = struct.Struct("<qdd")


class EpochWriter:
    """The end of the pipe that a process writes to; it may be sent to processes that are spawned.

    Args:
        end: Of the pipe.
    """

    def __init__(self, end: Connection) -> None:
        self._end = end

    def tell(self, epoch: int, train_loss: float, dev_loss: float) -> None:
        """Tell an epoch: its number from 0, and both losses."""
        self._end.send_bytes(_EPOCH.pack(epoch, train_loss, dev_loss))


@contextmanager
def heard(tell: Tell) -> Iterator[EpochWriter]:
    """Tell epochs as they come, in a thread, until the block ends and all processes that have the writer are gone.

    What `tell` raises is raised when the block ends; until then what comes is taken, or the processes would stand still
    before a pipe that is full.

    Args:
        tell: Called with the epoch's number and both losses.

    Yields:
        For the processes that train.
    """
    reader, end = Pipe(duplex=False)
    with ThreadPoolExecutor(1, "epochs") as pool:
        listening = pool.submit(_listen, reader, tell)
        try:
            yield EpochWriter(end)
        finally:
            end.close()  # the last writer, for the processes have ended: the thread sees the end of the pipe
    listening.result()


def _listen(reader: Connection, tell: Tell) -> None:
    problem: Exception | None = None
    with reader, suppress(EOFError, OSError):  # a process that was killed may leave half an epoch
        while True:
            epoch = _EPOCH.unpack(reader.recv_bytes())
            if problem is None:
                problem = _told(tell, epoch)
    if problem is not None:
        raise problem


def _told(tell: Tell, epoch: tuple[int, float, float]) -> Exception | None:
    try:
        tell(*epoch)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised when training has ended
        return error
    return None
