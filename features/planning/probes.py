"""Probing many files in child processes: one that crashes or hangs costs its own file."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING

from features.errors import TriptychError
from features.planning.probing import Probed, limit_time, probe_file
from features.sources.spool import USUAL, Fetching, local_copy, told_of

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
    fetching: Fetching = USUAL,
) -> list[Probed]:
    """Look into files, in their order.

    Args:
        sources: Files; those that are remote are copied to scratch for as long as the look takes.
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
