"""Copies of remote sources on a local disk: made once, as long as they are needed, and never more than may be."""

from __future__ import annotations

import errno
import os
import shutil
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import FetchError, LimitExceeded, StoreError
from features.sources.look import Interrupted, Look
from features.sources.remote import look, read_from
from features.sources.scratch import scratch_folder
from features.sources.urls import is_http, is_url, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from features.store.plan import Source

_TRIES = 5
_FIRST_WAIT_SECONDS = 0.2
_MEGABYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Fetching:
    """How remote sources are copied.

    Attributes:
        most_bytes: Of one source, all its parts; so much room a worker takes at most.
        allow_private: Web servers at private, loopback and link-local addresses, too.
        scratch: Folder for the copies; empty: the system's for temporary files.
    """

    most_bytes: int = 16 << 30
    allow_private: bool = False
    scratch: str = ""


USUAL = Fetching()
"""Copies as they are made where nothing else is said."""


def is_remote(source: Source) -> bool:
    """Whether any file of a source lies elsewhere."""
    return any(map(is_url, _files_of(source)))


@contextmanager
def local_copy(
    source: Source, fetching: Fetching = USUAL, on_progress: Callable[[], None] = lambda: None
) -> Iterator[Source]:
    """A source whose files are local: itself, or one whose copies are there until the block ends.

    A copy has the name and the time of change of its original.

    Args:
        source: The source as planned.
        fetching: What a copy may take.
        on_progress: Called at every megabyte or so.

    Raises:
        FetchError: A file cannot be copied, or has changed since it was planned.
        LimitExceeded: It is larger than it may be.
        StoreError: The disk is full.
    """
    if not is_remote(source):
        yield source
        return
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(scratch_folder(fetching.scratch))
        except OSError as error:
            raise StoreError(_no_scratch(fetching.scratch, error)) from error
        yield _Spool(source, folder, fetching, on_progress).fill()


def told_of(text: str, source: Source, local: Source) -> str:
    """A message about a copy, as one about its original."""
    for theirs, ours in zip(_files_of(source), _files_of(local), strict=True):
        if theirs != ours:
            text = text.replace(ours, theirs)
    return text


class _Spool:
    """The copies of one source."""

    def __init__(self, source: Source, folder: Path, fetching: Fetching, on_progress: Callable[[], None]) -> None:
        self._source = source
        self._folder = folder
        self._fetching = fetching
        self._on_progress = on_progress
        self._left_bytes = fetching.most_bytes

    def fill(self) -> Source:
        """Copy all files, and say where they are."""
        source, sample = self._source, self._source.sample
        wanted = source if sample is None else None
        if sample is None:
            local = str(self._copy(source.uri, self._folder, wanted))
            sidecars = tuple(str(self._copy(one, self._folder)) for one in source.sidecars)
            return source._replace(uri=local, sidecars=sidecars)
        parts = {
            name: str(self._copy(path, self._folder / name))
            for name in ("video", "image", "audio", "text_file")
            if (path := getattr(sample, name)) is not None
        }
        place = self._folder / "video" if "video" in parts else self._folder
        sidecars = tuple(str(self._copy(one, place)) for one in source.sidecars)
        files = {old: parts[name] for name in parts if (old := getattr(sample, name))}
        uri = files.get(source.uri, source.uri)
        copied = sample._replace(
            video=parts.get("video"),
            image=parts.get("image"),
            audio=parts.get("audio"),
            text_file=parts.get("text_file"),
        )
        return source._replace(uri=uri, sample=copied, sidecars=sidecars)

    def _copy(self, url: str, folder: Path, wanted: Source | None = None) -> Path:
        if not is_url(url):
            return Path(url)
        if wanted is not None and wanted.etag:  # whether it is still so, its bytes tell: a request less
            seen = Look(wanted.size_bytes, wanted.mtime_us, wanted.etag)
        else:
            seen = look(url, allow_private=self._fetching.allow_private)
            if wanted is not None and not seen.is_as(wanted.size_bytes, wanted.mtime_us, ""):
                raise FetchError(_changed(url, wanted.size_bytes, seen.size_bytes))
        if seen.size_bytes > self._left_bytes:
            message = (
                f"{url!r} has {seen.size_bytes >> 20} MB, and {self._left_bytes >> 20} may be copied; "
                "raise --scratch-megabytes"
            )
            raise LimitExceeded(message)
        self._left_bytes -= seen.size_bytes
        path = folder / name_of(url)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._check_room(url, seen)
            fetch(url, path, seen, self._fetching, self._on_progress)
            os.utime(path, ns=(seen.mtime_us * 1000, seen.mtime_us * 1000))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreError(_no_room(url, str(folder))) from error
            message = f"cannot copy {url!r} to {str(folder)!r} ({error.strerror}); see that folder's rights"
            raise StoreError(message) from error
        return path

    def _check_room(self, url: str, seen: Look) -> None:
        if shutil.disk_usage(self._folder).free < seen.size_bytes:
            raise StoreError(_no_room(url, str(self._folder)))


def fetch(
    url: str, path: Path, seen: Look, fetching: Fetching = USUAL, on_progress: Callable[[], None] = lambda: None
) -> None:
    """Copy a remote file; where the connection breaks off, go on from there, a few times.

    Args:
        url: The file.
        path: Where its copy goes.
        seen: It as it was looked at; so many bytes are wanted, and of that version.
        fetching: How.
        on_progress: Called after each chunk.

    Raises:
        FetchError: It cannot be had whole, or has changed meanwhile.
        OSError: The copy cannot be written.
    """
    done_bytes, failures, reason = 0, 0, ""
    with path.open("wb") as file:
        while done_bytes < seen.size_bytes:
            begun_at = done_bytes
            try:
                for chunk in read_from(url, done_bytes, seen, allow_private=fetching.allow_private):
                    done_bytes += len(chunk)
                    if done_bytes > seen.size_bytes:
                        break
                    file.write(chunk)
                    on_progress()
                reason = "the connection ended"
            except Interrupted as error:
                reason = str(error)
            if done_bytes > seen.size_bytes:
                message = f"{url!r} is longer than its server says ({seen.size_bytes} bytes); mend it there"
                raise FetchError(message)
            failures = 0 if done_bytes > begun_at + _MEGABYTE else failures + 1
            if done_bytes < seen.size_bytes:
                if failures >= _TRIES:
                    _check_same(url, seen, fetching)
                _wait(url, failures, reason, done_bytes, seen)
                on_progress()
    if not (is_http(url) and seen.tag):  # else each answer came with its tag
        _check_same(url, seen, fetching)


def _check_same(url: str, seen: Look, fetching: Fetching) -> None:
    now = look(url, allow_private=fetching.allow_private)
    if not now.is_as(*seen):
        raise FetchError(_changed(url, seen.size_bytes, now.size_bytes))


def _changed(url: str, then_bytes: int, now_bytes: int) -> str:
    return (
        f"{url!r} changed since it was planned ({then_bytes} bytes then, {now_bytes} now); "
        "ingest it again when it is complete: the next run takes it as a new source"
    )


def _wait(url: str, failures: int, reason: str, done_bytes: int, seen: Look) -> None:
    if failures >= _TRIES:
        message = (
            f"{url!r} broke off {failures} times ({reason}); {done_bytes} of {seen.size_bytes} bytes came: "
            "see whether it is whole there, then run again"
        )
        raise FetchError(message)
    time.sleep(_FIRST_WAIT_SECONDS * 2**failures)


def _files_of(source: Source) -> tuple[str, ...]:
    own = (source.uri,) if source.sample is None else source.sample.files
    return (*own, *source.sidecars)


def _no_scratch(scratch: str, error: OSError) -> str:
    where = repr(scratch) if scratch else "the system's folder for temporary files"
    return f"cannot make a folder for copies in {where} ({error.strerror}); name another with --scratch"


def _no_room(url: str, folder: str) -> str:
    return f"no room for a copy of {url!r} in {folder!r}; free space there, or name another folder with --scratch"
