"""Probing many files in child processes: one that crashes or hangs costs its own file."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, BinaryIO, cast

from features.errors import TriptychError
from features.planning.probing import Probed, limit_time, probe_file
from features.sources.look import Look
from features.sources.ranged import RemoteFile
from features.sources.remote import is_ranged
from features.sources.spool import USUAL, Fetching, is_remote, local_copy, told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from features.media.options import DecodeOptions
    from features.store.plan import Source

_MOST_SECONDS = 60
_LARGE_BYTES = 16 << 20
_PART = 2  # who would fetch half of a file from afar had better copy it
_FILES_A_PROCESS = 16  # a process takes as long to start as so many files to probe


def probe_all(
    sources: Sequence[Source],
    options: DecodeOptions,
    *,
    num_processes: int = 1,
    on_progress: Callable[[int], None] = lambda _: None,
    fetching: Fetching = USUAL,
) -> list[Probed]:
    """Look into files, in their order.

    Args:
        sources: Files; of those that are remote and large the parts that are looked at are fetched, or, where that is
            not enough, all of it: to scratch, for as long as the look takes.
        options: How they would be decoded.
        num_processes: So many at a time, at most.
        on_progress: Called with the number of files done so far.
        fetching: How remote ones are copied.
    """
    look = partial(_look, options=options, fetching=fetching)
    found: list[Probed | None] = [None] * len(sources)
    left = list(range(len(sources)))
    while left:
        _probe(sources, left, look, min(num_processes, -(-len(left) // _FILES_A_PROCESS)), found, on_progress)
        left = [place for place in left if found[place] is None]
        if left:  # one of those that were at work has ended its process: the first of them goes alone
            place = left.pop(0)
            _probe(sources, [place], look, 1, found, on_progress)
            found[place] = found[place] or _ended(sources[place])
    return [probed for probed in found if probed is not None]


def _probe(
    sources: Sequence[Source],
    places: Sequence[int],
    look: Callable[[Source], Probed],
    num_processes: int,
    found: list[Probed | None],
    on_progress: Callable[[int], None],
) -> None:
    """Probe files as far as it goes: up to one that ends a process, and those beside it."""
    with ProcessPoolExecutor(num_processes, get_context("spawn")) as pool:
        waiting = [(place, pool.submit(look, sources[place])) for place in places]
        for place, future in waiting:
            try:
                found[place] = future.result()
            except BrokenProcessPool:
                continue
            on_progress(sum(probed is not None for probed in found))


def _look(source: Source, options: DecodeOptions, fetching: Fetching) -> Probed:
    return _look_from_afar(source, options, fetching) or _look_into(source, options, fetching)


def _look_from_afar(source: Source, options: DecodeOptions, fetching: Fetching) -> Probed | None:
    """A look into parts of a large remote file; None of another, and where it did not come off."""
    if source.sample is not None or not is_remote(source) or source.size_bytes < _LARGE_BYTES:
        return None
    seen = Look(source.size_bytes, source.mtime_us, source.etag or "")
    most_bytes = source.size_bytes // _PART
    limit_time(_MOST_SECONDS)
    try:
        if not is_ranged(source.uri, allow_private=fetching.allow_private):
            return None
        with RemoteFile(source.uri, seen, most_bytes=most_bytes, allow_private=fetching.allow_private) as file:
            probed = probe_file(source.uri, source.size_bytes, options, cast("BinaryIO", file))
    except TriptychError:
        return None
    finally:
        limit_time(0)
    return None if probed.error else probed


def _look_into(source: Source, options: DecodeOptions, fetching: Fetching) -> Probed:
    try:
        with local_copy(source._replace(sidecars=()), fetching) as local:
            limit_time(_MOST_SECONDS)  # a copy has limits of its own
            try:
                probed = probe_file(local.uri, source.size_bytes, options)
            finally:
                limit_time(0)
            error = told_of(probed.error, source._replace(sidecars=()), local)
    except TriptychError as problem:
        return Probed(source.uri, source.size_bytes, error=str(problem))
    return replace(probed, uri=source.uri, error=error)


def _ended(source: Source) -> Probed:
    return Probed(
        source.uri, source.size_bytes, error=f"{source.uri!r}: it ended or held the process that looked at it"
    )
