"""The folder of an export: claimed by one process, its files whole under their names or not there at all."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Self

from features.errors import ConfigError, StoreError
from features.store.files import reason_of
from features.store.storage import is_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

DATA = "data"
"""Subfolder of the rows, so that a reader of a whole folder meets nothing but rows."""

JOURNAL = ".triptych-parts.jsonl"
"""The parts that are done, while an export is under way."""

_OURS = ".triptych-"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class OutFolder:
    """A folder that is written to. Use as a context manager: another process is kept out meanwhile.

    Files are named relative to it. What is not whole yet stands beside its final place, under a hidden name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self._is_new = False

    @classmethod
    def at(cls, out: str, store_root: str) -> OutFolder:
        """The folder that a user names; nothing is touched.

        Raises:
            ConfigError: It is a URL, a file, or lies in the store.
        """
        if not out:
            message = "name a folder for the files: --out FOLDER"
            raise ConfigError(message)
        if _URL.match(out):
            message = f"--out {out!r} is a URL, and exports are written to folders only; export to one and copy it"
            raise ConfigError(message)
        path = Path(out).absolute()
        if path.exists() and not path.is_dir():
            message = f"--out {out!r} is a file; name a folder that is missing or empty"
            raise ConfigError(message)
        if not is_url(store_root) and Path(store_root).resolve() in (path.resolve(), *path.resolve().parents):
            message = f"--out {out!r} lies in the store {store_root!r}, which is for its tables; name another folder"
            raise ConfigError(message)
        return cls(path)

    def __enter__(self) -> Self:
        with self.writing(self.path):
            self._is_new = not self.path.exists()
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.path, os.O_RDONLY)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                os.close(self._lock)
                message = f"another export is writing to {str(self.path)!r}; wait for it, or name another folder"
                raise ConfigError(message) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._lock)
        if kind is not None and self._is_new and not any(self.path.iterdir()):
            self.path.rmdir()

    def foreign(self) -> list[str]:
        """Names of what is there that no export has begun."""
        found = [path for path in self.path.iterdir() if not path.name.startswith(_OURS)]
        return sorted(path.name for path in found if path.name != DATA or _holds_others(path))

    def interim(self, name: str) -> Path:
        """Where a file is written, until it is whole."""
        path = self.path / name
        return path.with_name(_OURS + path.name)

    def publish(self, name: str, written_as: str = "") -> None:
        """Give a whole file its name; `written_as` is the name that it was written for, where that is another."""
        with self.writing(self.path / name):
            self.interim(written_as or name).replace(self.path / name)

    def make_data(self) -> None:
        """Make the subfolder of the rows."""
        with self.writing(self.path / DATA):
            (self.path / DATA).mkdir(exist_ok=True)

    def size_of(self, name: str) -> int | None:
        """Bytes of a file, or None where it is not there."""
        return _size(self.path / name)

    def interim_size_of(self, name: str) -> int | None:
        """Bytes of a file that has not its name yet."""
        return _size(self.interim(name))

    def write_text(self, name: str, text: str) -> None:
        """Write a small file, all at once."""
        with self.writing(self.path / name):
            with self.interim(name).open("w", encoding="utf-8", newline="") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            self.publish(name)

    def append_text(self, name: str, text: str) -> None:
        """Append to a small file, and wait until it is on the disk."""
        with self.writing(self.path / name), (self.path / name).open("a", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def sync(self, path: Path) -> None:
        """Wait until a file is on the disk."""
        with self.writing(path), path.open("rb") as file:
            os.fsync(file.fileno())

    def remove(self, name: str) -> None:
        """Delete a file, where it is there."""
        with self.writing(self.path / name):
            (self.path / name).unlink(missing_ok=True)

    def sweep(self, keep: frozenset[str] = frozenset()) -> None:
        """Delete what is not whole, but for the journal and some names."""
        for folder in filter(Path.is_dir, (self.path, self.path / DATA)):
            for path in folder.iterdir():
                if path.name.startswith(_OURS) and path.name not in (JOURNAL, *keep):
                    self.remove(str(path.relative_to(self.path)))

    @contextmanager
    def writing(self, path: Path) -> Iterator[None]:
        """Say what cannot be written, and what to do about it.

        Raises:
            StoreError: The disk is full, or may not be written.
        """
        try:
            yield
        except OSError as error:
            message = f"cannot write {str(path)!r} ({reason_of(error)}); free space or rights there, then run again"
            raise StoreError(message) from error


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _holds_others(folder: Path) -> bool:
    return not folder.is_dir() or any(not path.name.startswith(_OURS) for path in folder.iterdir())
