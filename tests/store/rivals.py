"""Runs functions in processes of their own at the same moment, against one store."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.store import Store, commit_files, plan_sources
from features.store.labels import load_labels
from features.store.leases import Leases
from features.store.merge import merge_files
from features.store.plan import BatchLimits, Source
from tests.store.making import frames, put, write

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from threading import Barrier

_barrier: Barrier


def race(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """What each call returned; all start together, in fresh processes."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(len(arguments))
    with ProcessPoolExecutor(len(arguments), context, _remember, (barrier,)) as pool:
        calls = [pool.submit(_at_once, function, given) for given in arguments]
        return [call.result(timeout=120) for call in calls]


def _remember(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _at_once(function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    _barrier.wait(timeout=60)
    return function(*given)


def make_and_commit(root: str, batch_ids: Sequence[str]) -> list[int]:
    """Make the store and the table if need be, and commit each batch by itself; rows committed a batch."""
    store = Store.create(root)
    return [put(store, "frames", batch_id, frames(batch_id, 2)).num_rows for batch_id in batch_ids]


def commit_together(root: str, batch_ids: Sequence[str]) -> tuple[str, ...]:
    """Commit all batches at once; those that this call made visible."""
    store = Store.open(root)
    files = [write(store, "frames", batch_id, frames(batch_id, 2)) for batch_id in batch_ids]
    return commit_files(store, "frames", files, stage="test").batch_ids


def plan(root: str, sources: Sequence[Source], max_sources: int) -> tuple[str, ...]:
    """Plan sources; the batches that this call made."""
    limits = BatchLimits(max_sources=max_sources)
    return plan_sources(Store.open(root), sources, now=datetime.now(UTC), limits=limits, config="x")


def label(root: str, path: Path, run_id: str) -> int:
    """Load labels; how many."""
    return load_labels(Store.open(root), "mood", path, run_id=run_id).num_labels


def take_lease(root: str, name: str) -> bool:
    """Take a lease and keep it until all have tried."""
    with Leases(Store.open(root), f"run{os.getpid()}") as leases:
        taken = leases.take([name]) is None
        _barrier.wait(timeout=60)
        return taken


def merge(root: str) -> int:
    """Merge what has several files in `frames`; files that went into others."""
    return merge_files(Store.open(root), "frames", metadata={}).num_files
