"""Aligned, pooled reading of three modalities over a bare pyarrow read of the same files, in one run.

Run by `make bench`. The bare read decodes every column of the feature files and drops them, in the faster of two ways
(a dataset's scanner, and `read_table` file by file), with all of pyarrow's threads; the reader does that, and also
aligns, pools, masks, and reads `media` and coverage. Both are repeated in turns, from a warm page cache, and the best
time counts, for these machines are noisy. Then the peak of memory at two sizes of the store, and the time to one media
in a store of 10,000 batches.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from features.reading import open_features
from features.store import Store
from tests.benchmarks.feature_stores import (
    ROWS_A_MEDIA,
    SPECS,
    WIDTHS,
    add_batches,
    make_wide_store,
    media_ids_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NUM_ROWS = 1_000_000
MEDIA_A_BATCH = 100
ROUNDS = 3
TARGET = 0.5
NUM_BATCHES = -(-NUM_ROWS // (len(WIDTHS) * MEDIA_A_BATCH * ROWS_A_MEDIA))
SMALL = NUM_BATCHES // 5
WIDE_BATCHES = 10_000
ACCESSES = 20
ACCESS_TARGET_MS = 50


def main() -> None:
    """Print the three parts."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
        store = Store.create(Path(scratch) / "store")
        add_batches(store, range(SMALL), MEDIA_A_BATCH)
        small = _peak_megabytes(store)
        add_batches(store, range(SMALL, NUM_BATCHES), MEDIA_A_BATCH)
        _print_throughput(store)
        large = _peak_megabytes(store)
        print(f"peak memory      {small:7.0f} MB at {SMALL} batches, {large:.0f} MB at {NUM_BATCHES}")
        wide = Store.create(Path(scratch) / "wide")
        step = WIDE_BATCHES // ACCESSES
        make_wide_store(wide, WIDE_BATCHES, MEDIA_A_BATCH, range(0, WIDE_BATCHES, step))
        _print_access(wide, range(0, WIDE_BATCHES, step))


def _print_throughput(store: Store) -> None:
    paths = [
        str(store.table_path(spec.table) / path)
        for spec in SPECS
        for path in store.files(spec.table)["path"].to_pylist()
    ]
    num_bytes = sum(width * 4 for _, width in WIDTHS.values()) * NUM_BATCHES * MEDIA_A_BATCH * ROWS_A_MEDIA
    ways = {
        "bare dataset scan": lambda: _scan(paths),
        "bare read_table": lambda: _read_each(paths),
        "aligned, pooled": lambda: _read_aligned(store),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds[name].append(_seconds(way))
    best = {name: num_bytes / 1e6 / min(times) for name, times in seconds.items()}
    for name, speed in best.items():
        print(f"{name:17} {speed:6.0f} MB/s   (best of {ROUNDS}; {num_bytes / 1e9:.2f} GB of float32)")
    ratio = best["aligned, pooled"] / max(best["bare dataset scan"], best["bare read_table"])
    print(f"ratio            {ratio:8.3f}        (target: at least {TARGET})")


def _seconds(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def _scan(paths: Sequence[str]) -> None:
    for batch in ds.dataset(paths).scanner().to_batches():
        del batch


def _read_each(paths: Sequence[str]) -> None:
    for path in paths:
        pq.read_table(path, partitioning=None)


def _read_aligned(store: Store) -> None:
    num_segments = sum(batch.num_rows for batch in open_features(store, list(WIDTHS), "window:10s"))
    assert num_segments == len(store.batches("media")) * MEDIA_A_BATCH * ROWS_A_MEDIA // 10


def _peak_megabytes(store: Store) -> float:
    """Peak of resident memory of a fresh process that reads the whole store."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_read_and_measure, (store.root,))


def _read_and_measure(root: str) -> float:
    _read_aligned(Store.open(root))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _print_access(store: Store, numbers: Sequence[int]) -> None:
    first = _seconds(lambda: open_features(store, list(WIDTHS), "window:10s").media(media_ids_of(0, 1)[0]))
    cold = _seconds(lambda: open_features(store, list(WIDTHS), "window:10s").media(media_ids_of(0, 1)[0]))
    reader = open_features(store, list(WIDTHS), "window:10s")
    reader.media(media_ids_of(0, 1)[0])
    times, cpu = [], time.process_time()
    for number in numbers:
        media_id = media_ids_of(number, MEDIA_A_BATCH)[number % MEDIA_A_BATCH]
        times.append(1000 * _seconds(lambda media_id=media_id: reader.media(media_id)))
    cpu = 1000 * (time.process_time() - cpu) / len(times)
    print(f"one media        {statistics.median(times):7.1f} ms   (median of {len(times)}, best {min(times):.1f},")
    print(f"                 worst {max(times):.1f}, CPU {cpu:.1f}; {len(reader.batch_ids):,} batches;")
    print(f"                 target: under {ACCESS_TARGET_MS} ms)")
    print(f"opening and one  {1000 * cold:7.0f} ms   ({1000 * first:.0f} ms the first time, when the index is made)")


if __name__ == "__main__":
    main()
