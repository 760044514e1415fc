"""Leases: who is at work on what, so that two runs do not do the same. Correctness never leans on them.

A lease is a small file in `<store>/leases/`. Its holder touches it as long as it lives; one that was not touched for
a while, or whose holder was a process of this machine that lives no more, is free. A store that may not be written
goes without.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from features.store.storage import is_remote, put_bytes, touch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from features.store.store import Store

_FOLDER = "leases"
_LASTS_SECONDS = 60.0
_SAME_START_SECONDS = 2.0
"""Two readings of one process's start time differ by less, whatever became of the clock."""


class Holder(NamedTuple):
    """Who holds a lease.

    Attributes:
        run_id: The run.
        host: Its machine.
        pid: Its process there.
        started: When the process began, in seconds since 1970: numbers of processes come again.
        lasts_seconds: How long the lease lasts when it is not touched.
    """

    run_id: str
    host: str
    pid: int
    started: float
    lasts_seconds: float


class Lease(NamedTuple):
    """A lease that is held."""

    name: str
    holder: Holder


class Leases:
    """The leases of one run. Use as a context manager: it keeps them alive, and gives them back at the end."""

    def __init__(self, store: Store, run_id: str, *, lasts_seconds: float = _LASTS_SECONDS) -> None:
        self._folder = store.path / _FOLDER
        self._me = Holder(run_id, socket.gethostname(), os.getpid(), _start_of(os.getpid()), lasts_seconds)
        self._held: set[Path] = set()
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="leases", daemon=True)

    def __enter__(self) -> Self:
        self._keeper.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._keeper.join()
        self.release()

    def take(self, names: Iterable[str]) -> Lease | None:
        """Take all of these leases, or none.

        Returns:
            The lease that stands in the way; None where they are taken, or where the store may not be written.
        """
        taken: list[Path] = []
        for name in names:
            path = self._folder / f"{name}.json"
            other = self._take(path)
            if other is not None:
                self._give_back(taken)
                return Lease(name, other)
            taken.append(path)
        self._held.update(taken)
        return None

    def stands(self, lease: Lease) -> bool:
        """Whether another's lease is still held, by the same."""
        return _live_holder(self._folder / f"{lease.name}.json") == lease.holder

    def release(self) -> None:
        """Give all leases back."""
        held, self._held = self._held, set()
        self._give_back(held)

    def _take(self, path: Path) -> Holder | None:
        try:
            while not _create(path, self._me):
                other = _live_holder(path)
                if other is not None:
                    return other
                _set_aside(path)
        except OSError:
            return None  # no rights, no space: go without
        return None

    def _give_back(self, paths: Iterable[Path]) -> None:
        for path in paths:
            if _read(path) == self._me:  # it may have lapsed, and be another's
                with contextlib.suppress(OSError):
                    path.unlink()

    def _keep(self) -> None:
        while not self._ended.wait(self._me.lasts_seconds / 4):
            for path in tuple(self._held):
                with contextlib.suppress(OSError):
                    touch(path)


def live_leases(store: Store) -> list[Lease]:
    """Who is at work on what."""
    found = ((path.name.removesuffix(".json"), _live_holder(path)) for path in _files(store))
    return [Lease(name, holder) for name, holder in found if holder is not None]


def dead_leases(store: Store) -> list[Path]:
    """Files of leases that nobody holds any more, and what was left of the making of some."""
    return [path for path in _files(store) if _live_holder(path) is None]


def _files(store: Store) -> Iterator[Path]:
    yield from sorted((store.path / _FOLDER).glob("*"))


def _create(path: Path, holder: Holder) -> bool:
    """Make the file with all its content at once; False where there is one."""
    if is_remote(path):
        try:
            put_bytes(path, json.dumps(holder._asdict()).encode(), is_new=True)
        except FileExistsError:
            return False
        return True
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        temporary.write_text(json.dumps(holder._asdict()), encoding="utf-8")
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    return True


def _set_aside(path: Path) -> None:
    """Take a dead lease away; where a rival was faster and this is its live one, put it back."""
    if is_remote(path):
        path.unlink(missing_ok=True)  # what a rival has just taken may go, too: two then do the same work, once
        return
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(aside)
        if _live_holder(aside) is not None:
            with contextlib.suppress(FileExistsError):
                os.link(aside, path)
        aside.unlink()


def _live_holder(path: Path) -> Holder | None:
    holder = _read(path)
    try:
        if holder is None or path.stat().st_mtime + holder.lasts_seconds < time.time():
            return None
    except OSError:
        return None
    if holder.host == socket.gethostname() and not _lives(holder):
        return None
    return holder


def _read(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _lives(holder: Holder) -> bool:
    import psutil

    try:
        process = psutil.Process(holder.pid)
        ended = process.status() == psutil.STATUS_ZOMBIE
        return not ended and abs(process.create_time() - holder.started) < _SAME_START_SECONDS
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _start_of(pid: int) -> float:
    import psutil

    return float(psutil.Process(pid).create_time())
