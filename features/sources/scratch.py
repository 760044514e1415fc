"""Scratch: a folder for copies that goes with whoever made it, at the latest when the next one comes by."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "triptych-spool-"
_LOCK = ".lock"
_YOUNG_SECONDS = 3600


@contextmanager
def scratch_folder(parent: str = "") -> Iterator[Path]:
    """An empty folder until the block ends; those that killed processes left are deleted before.

    A folder is locked by its process, so that nobody deletes it who is on the same disk.

    Args:
        parent: Where; empty: the system's folder for temporary files.

    Raises:
        OSError: It cannot be made.
    """
    root = Path(parent or tempfile.gettempdir())
    root.mkdir(parents=True, exist_ok=True)
    sweep_scratch(root)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
    with (folder / f"{_LOCK}-new").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(lock.name).rename(folder / _LOCK)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch(root: Path) -> int:
    """Delete what dead processes of this user left in a folder; how many folders there were."""
    swept = 0
    for folder in root.glob(f"{PREFIX}*"):
        with suppress(OSError):
            if folder.stat().st_uid == os.getuid() and not _is_held(folder):
                shutil.rmtree(folder)
                swept += 1
    return swept


def _is_held(folder: Path) -> bool:
    """Whether a living process has it, or may be about to lock it."""
    try:
        with (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return time.time() - folder.stat().st_mtime < _YOUNG_SECONDS
    except BlockingIOError:
        return True
    return False
