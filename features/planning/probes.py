"""Probing many files in child processes: one that crashes or hangs costs its own file."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TYPE_CHECKING

from features.planning.probing import Probed, limit_time, probe_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from features.media.options import DecodeOptions
    from features.store.plan import Source

_MOST_SECONDS = 60
_FILES_A_PROCESS = 16  # a process takes as long to start as so many files to probe


def probe_all(
    sources: Sequence[Source],
    options: DecodeOptions,
    *,
    num_processes: int = 1,
    on_progress: Callable[[int], None] = lambda _: None,
) -> list[Probed]:
    """Look into files, in their order.

    Args:
        sources: Local files.
        options: How they would be decoded.
        num_processes: So many at a time, at most.
        on_progress: Called with the number of files done so far.
    """
    found: list[Probed | None] = [None] * len(sources)
    left = list(range(len(sources)))
    while left:
        _probe(sources, left, options, min(num_processes, -(-len(left) // _FILES_A_PROCESS)), found, on_progress)
        left = [place for place in left if found[place] is None]
        if left:  # one of those that were at work has ended its process: the first of them goes alone
            place = left.pop(0)
            _probe(sources, [place], options, 1, found, on_progress)
            found[place] = found[place] or _ended(sources[place])
    return [probed for probed in found if probed is not None]


def _probe(
    sources: Sequence[Source],
    places: Sequence[int],
    options: DecodeOptions,
    num_processes: int,
    found: list[Probed | None],
    on_progress: Callable[[int], None],
) -> None:
    """Probe files as far as it goes: up to one that ends a process, and those beside it."""
    with ProcessPoolExecutor(num_processes, get_context("spawn")) as pool:
        waiting = [(place, pool.submit(_look, *sources[place][:2], options)) for place in places]
        for place, future in waiting:
            try:
                found[place] = future.result()
            except BrokenProcessPool:
                continue
            on_progress(sum(probed is not None for probed in found))


def _look(uri: str, size_bytes: int, options: DecodeOptions) -> Probed:
    limit_time(_MOST_SECONDS)
    try:
        return probe_file(uri, size_bytes, options)
    finally:
        limit_time(0)


def _ended(source: Source) -> Probed:
    return Probed(
        source.uri, source.size_bytes, error=f"{source.uri!r}: it ended or held the process that looked at it"
    )
