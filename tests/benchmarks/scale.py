"""What a large archive costs before any work is done: `status`, planning a night, planning a backfill.

Run by `make bench`. Stores whose logs stand for 100,000 and for 1,000,000 media (100 a batch) are made; then each
measurement runs in a process of its own, and its time and its peak memory are told, with the interpreter's start and
its imports. A night lists all sources, of which a hundred are new; the listing is made up as it is read. It is planned
from the rows alone first, and then with what that run kept of them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from features.store import Store, pending_batches, plan_sources, unfinished_batches
from features.store.plan import BatchLimits, Source
from flows.stages import chosen_extractors, plan_extract
from pipelines.options import ExtractConfig
from tests.benchmarks.stores import MODEL, Archive, build_store, source_of

if TYPE_CHECKING:
    from collections.abc import Callable

SMALL, LARGE = Archive(100_000, 1_000), Archive(1_000_000, 10_000)
MOST_SECONDS = 10.0
MOST_MEGABYTES = 1000.0
NUM_NEW = 100
_COUNTED_IDS = 100


class Cost(NamedTuple):
    """What a process took, and the last line that it printed."""

    seconds: float
    megabytes: float
    said: str


def main() -> None:
    """Print each cost at both sizes, its growth, and what the parts of a log's reading take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", nargs="?", choices=WORK, help="what a child process does")
    parser.add_argument("--store", default="", help="the child's store")
    given = parser.parse_args()
    if given.work:
        print(WORK[given.work](Store.open(given.store)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        roots = [_built(Path(scratch) / str(archive.num_media), archive) for archive in (SMALL, LARGE)]
        print(f"{'':22}{'100,000 media':>22}{'1,000,000 media':>22}   growth")
        triptych = str(Path(sys.executable).with_name("triptych"))
        _measure("status", [[triptych, "--store", str(root), "status"] for root in roots])
        for work in WORK:
            script = [sys.executable, "-m", "tests.benchmarks.scale", work, "--store"]
            _measure(work, [[*script, str(root)] for root in roots])


def _built(root: Path, archive: Archive) -> Path:
    """A process of its own makes it, for a child's peak memory is told as no less than this one's."""
    start = time.perf_counter()
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(build_store, root, archive).result()
    print(f"made a store of {archive.num_media:,} media in {time.perf_counter() - start:.0f} s")
    return root


def _measure(name: str, commands: list[list[str]]) -> None:
    small, large = (_run(command) for command in commands)
    fits = large.seconds < MOST_SECONDS and large.megabytes < MOST_MEGABYTES
    figures = "".join(f"{cost.seconds:10.1f} s {cost.megabytes:6.0f} MB" for cost in (small, large))
    growth = f"x {large.seconds / small.seconds:.1f}, + {large.megabytes - small.megabytes:.0f} MB"
    print(f"{name:22}{figures}   {growth}{'' if fits else '  MISSED'}")
    print(f"    {large.said}")


def _run(command: list[str]) -> Cost:
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = process.stdout.read().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(time.perf_counter() - start, usage.ru_maxrss / 1024, lines[-1])


def plan_night(store: Store) -> str:
    """Plan against a listing of everything that is known, and a few new sources."""
    num_known = sum(store.files("sources")["num_records"].to_pylist())
    listed = (Source(*source_of(number)) for number in range(num_known + NUM_NEW))
    limits = BatchLimits(min_batches=2)
    unfinished = unfinished_batches(store)
    new = plan_sources(store, listed, now=datetime.now(UTC), limits=limits)
    return f"{num_known:,} sources known, {NUM_NEW} new in {len(new)} batches; {len(unfinished)} unfinished"


def plan_backfill(store: Store) -> str:
    """Plan the default extractors, one of which is new, and a model's scores."""
    config = ExtractConfig(workers=2)
    waves = list(plan_extract(config, store, chosen_extractors(()), "bench"))
    needs = [name for name in store.tables() if name.startswith("coverage/")]
    scores = pending_batches(store, f"scores/{MODEL}", needs=needs)
    num_batches = sum(len(wave.batch_ids) for wave in waves)
    return f"{len(waves):,} waves of {num_batches:,} batches to extract, {len(scores):,} batches to score"


def read_log(store: Store) -> str:
    """What reading a log consists of, for the table with the most bytes."""
    parts: dict[str, float] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        found = work()
        parts[name] = time.perf_counter() - start
        return found

    handle = timed("load", lambda: store.load("frames"))
    ids = [row["batch_id"] for row in timed("partitions", handle.partitions)][:_COUNTED_IDS]
    timed("add actions", lambda: handle.get_add_actions(flatten=True))
    timed("transaction ids", lambda: [handle.transaction_version(f"ingest:frames:{batch_id}") for batch_id in ids])
    parts["transaction ids"] /= len(ids)
    log = store.table_path("frames") / "_delta_log"
    checkpoints = [path.stat().st_size for path in log.glob("*.checkpoint.parquet")]
    figures = ", ".join(f"{name} {1000 * seconds:.1f} ms" for name, seconds in parts.items())
    return f"{figures} (each id); {len(checkpoints)} checkpoints of {sum(checkpoints) / 1e6:.1f} MB"


WORK: dict[str, Callable[[Store], str]] = {
    "plan, nothing kept": plan_night,
    "plan a night": plan_night,
    "plan a backfill": plan_backfill,
    "read a log": read_log,
}

if __name__ == "__main__":
    main()
