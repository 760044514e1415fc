"""Exports over a bare Parquet copy of the same files, in one run.

Run by `make bench`. The bare copy reads each file of three feature tables with pyarrow and writes its rows to another,
in the faster of two ways: with pyarrow's defaults, and with the settings that the export writes with. The export of the
tables as they are stored does that, and also leaves out who may not leave, checks the vectors' sizes, waits for the
disk, and takes checksums. The export of segments aligns and pools instead, and writes less. All are repeated in turns,
from a warm page cache, and the best time counts, for these machines are noisy. Then the peak of memory at two sizes of
the store, and the speed of the other formats.
"""

from __future__ import annotations

import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from features.export.options import ExportOptions
from features.export.run import export
from features.export.to_parquet import settings_of
from features.store import Store
from tests.benchmarks.feature_stores import ROWS_A_MEDIA, SPECS, WIDTHS, add_batches

if TYPE_CHECKING:
    from collections.abc import Callable

MEDIA_A_BATCH = 100
NUM_BATCHES = 20
SMALL = NUM_BATCHES // 4
ROUNDS = 3
TARGET = 0.5
OTHERS = ("csv", "numpy", "webdataset", "datasets")


def main() -> None:
    """Print the three parts."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
        place = Path(scratch)
        store = Store.create(place / "store")
        add_batches(store, range(SMALL), MEDIA_A_BATCH)
        small = _peak_megabytes(store, place)
        add_batches(store, range(SMALL, NUM_BATCHES), MEDIA_A_BATCH)
        _print_ratio(store, place)
        large = _peak_megabytes(store, place)
        print(f"peak memory        {small:7.0f} MB at {SMALL} batches, {large:.0f} MB at {NUM_BATCHES}")
        _print_others(store, place)


def _print_ratio(store: Store, place: Path) -> None:
    ways: dict[str, Callable[[Path], None]] = {
        "bare copy, defaults": lambda out: _copy(store, out, as_export=False),
        "bare copy, the same": lambda out: _copy(store, out, as_export=True),
        "as stored": lambda out: _as_stored(store, out),
        "aligned, pooled": lambda out: _aligned(store, out),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            seconds[name].append(_seconds(way, place / "out"))
    megabytes = _megabytes(sum(width for _, width in WIDTHS.values()))
    best = {name: megabytes / min(times) for name, times in seconds.items()}
    for name, speed in best.items():
        print(f"{name:19} {speed:6.0f} MB/s   (best of {ROUNDS}; {megabytes / 1e3:.2f} GB of float32)")
    bare = max(best["bare copy, defaults"], best["bare copy, the same"])
    for name in ("as stored", "aligned, pooled"):
        print(f"ratio, {name:16} {best[name] / bare:8.3f}   (target: at least {TARGET})")


def _print_others(store: Store, place: Path) -> None:
    """The narrowest table, in the other formats."""
    width = WIDTHS["sounds"][1]
    for name in OTHERS:
        options = {"names": ("sounds",), "format": name}
        seconds = _seconds(lambda out, options=options: _export(store, out, **options), place / "out")
        rows = NUM_BATCHES * MEDIA_A_BATCH * ROWS_A_MEDIA
        print(f"{name:19} {_megabytes(width) / seconds:6.0f} MB/s   ({rows / seconds:,.0f} rows of {width} a second)")


def _megabytes(width: int) -> float:
    return NUM_BATCHES * MEDIA_A_BATCH * ROWS_A_MEDIA * width * 4 / 1e6


def _seconds(work: Callable[[Path], None], out: Path) -> float:
    before = time.perf_counter()
    work(out)
    seconds = time.perf_counter() - before
    shutil.rmtree(out)
    return seconds


def _copy(store: Store, out: Path, *, as_export: bool) -> None:
    out.mkdir()
    for spec in SPECS:
        for place, path in enumerate(store.files(spec.table)["path"].to_pylist()):
            rows = pq.read_table(store.table_path(spec.table) / path, partitioning=None)
            settings = settings_of(rows.schema) if as_export else {}
            pq.write_table(rows, out / f"{spec.name}-{place}.parquet", **settings)


def _as_stored(store: Store, out: Path) -> None:
    for name in WIDTHS:
        _export(store, out / name, names=(name,))


def _aligned(store: Store, out: Path) -> None:
    _export(store, out, names=tuple(WIDTHS), segmentation="window:10s")


def _export(store: Store, out: Path, **options: object) -> None:
    exported = export(store, ExportOptions(out=str(out), **options))  # type: ignore[arg-type] # by name
    assert exported.manifest.num_rows > 0


def _peak_megabytes(store: Store, place: Path) -> float:
    """Peak of resident memory of a fresh process that exports the widest table."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_export_and_measure, (store.root, str(place / "peak")))


def _export_and_measure(root: str, out: str) -> float:
    _export(Store.open(root), Path(out), names=("pictures",))
    shutil.rmtree(out)
    status = Path("/proc/self/status").read_text().splitlines()  # getrusage knows the peak of the parent, too
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
