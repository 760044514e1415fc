"""Copies of remote sources one ahead: while one is decoded, the next is on its way."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from features.errors import LimitExceeded, StoreError
from features.sources.spool import USUAL, Fetching, is_remote, local_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from features.store.plan import Source

_LOOK_SECONDS = 0.25


class _StoppedError(Exception):
    """Nobody wants the copy any more."""


class CopiesAhead:
    """Sources in order, each with its local copy; at most one copy is made ahead, where scratch has room for two.

    Args:
        sources: As planned.
        fetching: What the copies may take; `most_bytes` is for both together.
        on_progress: Called while a copy that is waited for gets on, in the thread that waits.
    """

    def __init__(
        self, sources: Sequence[Source], fetching: Fetching = USUAL, on_progress: Callable[[], None] = lambda: None
    ) -> None:
        self._sources = sources
        self._fetching = fetching
        self._on_progress = on_progress
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="triptych-copy")  # starts with the first copy
        self._ahead: _Copy | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._ahead is not None:
            self._ahead.close()
        self._threads.shutdown()

    def __iter__(self) -> Iterator[tuple[Source, AbstractContextManager[Source]]]:
        """Each source, and what gives its local copy for as long as it is open (errors: as of `local_copy`)."""
        for place, source in enumerate(self._sources):
            yield source, self._opened(place, source)

    @contextmanager
    def _opened(self, place: int, source: Source) -> Iterator[Source]:
        with ExitStack() as stack:
            local = self._made_ahead(source, stack)
            if local is None:
                copy = _Copy(source, self._fetching, self._threads)
                stack.callback(copy.close)
                local = copy.wait(self._on_progress)
            self._begin_next(place, source)
            yield local

    def _made_ahead(self, source: Source, stack: ExitStack) -> Source | None:
        """The copy that is on its way; none where none is, or where there was no room for it beside the other."""
        copy, self._ahead = self._ahead, None
        if copy is None:
            return None
        stack.callback(copy.close)
        try:
            return copy.wait(self._on_progress) if copy.source is source else None
        except (LimitExceeded, StoreError):
            return None

    def _begin_next(self, place: int, source: Source) -> None:
        left_bytes = self._fetching.most_bytes - (source.size_bytes if is_remote(source) else 0)
        following = self._sources[place + 1] if place + 1 < len(self._sources) else None
        if following is not None and is_remote(following) and following.size_bytes <= left_bytes:
            self._ahead = _Copy(following, replace(self._fetching, most_bytes=left_bytes), self._threads)


class _Copy:
    """One source on its way to the local disk; of a local one nothing is copied."""

    def __init__(self, source: Source, fetching: Fetching, threads: ThreadPoolExecutor) -> None:
        self.source = source
        self._stack = ExitStack()
        self._fetching = fetching
        self._num_chunks = 0
        self._is_wanted = True
        self._done: Future[Source] | None = threads.submit(self._fetch) if is_remote(source) else None

    def wait(self, on_progress: Callable[[], None]) -> Source:
        """The copy, once it is there."""
        if self._done is None:
            return self.source
        seen = -1
        while not wait([self._done], _LOOK_SECONDS).done:
            if self._num_chunks > seen:
                seen = self._num_chunks
                on_progress()
        return self._done.result()

    def close(self) -> None:
        """Delete the copy, or stop making it."""
        self._is_wanted = False
        if self._done is not None and not self._done.cancel():
            wait([self._done])
        self._stack.close()

    def _fetch(self) -> Source:
        return self._stack.enter_context(local_copy(self.source, self._fetching, self._count))

    def _count(self) -> None:
        self._num_chunks += 1
        if not self._is_wanted:
            raise _StoppedError
