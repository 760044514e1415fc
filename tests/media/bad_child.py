"""A child of the sandbox whose decoder is ill with media of certain names."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from features.media import child
from features.records import Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from features.media.spool import SpoolWriter

COMMAND = (sys.executable, "-m", "tests.media.bad_child")
_decode = child.decode_media


def _segfault(_: SpoolWriter) -> None:
    sys.stderr.write("[h264] that is no slice\n")
    ctypes.string_at(0)


def _abort(_: SpoolWriter) -> None:
    os.abort()


def _leave(_: SpoolWriter) -> None:
    os._exit(7)


def _hang(_: SpoolWriter) -> None:
    ctypes.PyDLL(None).sleep(600)  # and lets no other thread of this process do anything


def _hog(_: SpoolWriter) -> None:
    held = []
    while True:
        held.append(bytearray(64 << 20))


def _flood(spool: SpoolWriter) -> None:
    while True:
        spool.add_frame(Frame(0, 1, 0, 1, bytes(1 << 20), 1, 1))


def _slip(_: SpoolWriter) -> None:
    raise KeyError("pts")


def _be_killed(_: SpoolWriter) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


ILL: dict[str, Callable[[SpoolWriter], None]] = {
    "segfault": _segfault,
    "abort": _abort,
    "leave": _leave,
    "hang": _hang,
    "hog": _hog,
    "flood": _flood,
    "slip": _slip,
    "killed": _be_killed,
}


def alive() -> list[psutil.Process]:
    """Children of sandboxes of this process."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if COMMAND[-1] in process.cmdline()]


def _decode_badly(path: Path, *given: Any, sink: SpoolWriter, **more: Any) -> Any:
    """As it is, but for the ill; one named `once-…` is ill the first time only."""
    name, mark = path.stem.removeprefix("once-"), path.with_suffix(".mark")
    if name in ILL and not mark.exists():
        if name != path.stem:
            mark.touch()
        decoded = _decode(path, *given, sink=sink, **more)  # some rows are in the spool by then
        del decoded
        ILL[name](sink)
    return _decode(path, *given, sink=sink, **more)


if __name__ == "__main__":
    child.decode_media = _decode_badly  # type: ignore[assignment]
    os._exit(child.main(sys.argv[1:]))
