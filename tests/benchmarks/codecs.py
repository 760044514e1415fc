"""Bytes stored for features over their raw float32 size, by codec and encoding, with the speed of writing and reading.

`python -m tests.benchmarks.codecs [SOURCE...]`: vectors of the real extractors over these sources (by default the
synthetic archive), and random numbers. CPU time on one thread, the best of a few rounds. The writer's choice
(`features/store/files.py`) is the last line of each table.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.store import Store, read_table
from features.synthetic.archive import make_archive
from flows.stages import chosen_extractors, plan_extract, plan_ingest
from pipelines import extract, ingest
from pipelines.options import ExtractConfig, IngestConfig
from pipelines.runners import pipeline_options

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

NAMES = ("efficientnet_lite0", "mfcc", "minilm")
ROUNDS = 3
_LEAF = "values.list.element"
_PLAIN: dict[str, Any] = {"use_dictionary": False}
_SPLIT: dict[str, Any] = {"use_dictionary": False, "column_encoding": {_LEAF: "BYTE_STREAM_SPLIT"}}
CODECS: dict[str, dict[str, Any]] = {
    "none": {"compression": "none", **_PLAIN},
    "lz4": {"compression": "lz4", **_PLAIN},
    "dictionary, zstd 1": {"compression": "zstd"},
    "zstd 1": {"compression": "zstd", **_PLAIN},
    "zstd 3": {"compression": "zstd", "compression_level": 3, **_PLAIN},
    "zstd 9": {"compression": "zstd", "compression_level": 9, **_PLAIN},
    "split, none": {"compression": "none", **_SPLIT},
    "split, lz4": {"compression": "lz4", **_SPLIT},
    "split, zstd 3": {"compression": "zstd", "compression_level": 3, **_SPLIT},
    "split, zstd 1": {"compression": "zstd", **_SPLIT},
}


def main() -> None:
    """Print a table a feature."""
    with tempfile.TemporaryDirectory() as scratch:
        vectors = _extracted(Path(scratch), sys.argv[1:])
        vectors["random"] = np.random.default_rng(0).standard_normal((2_000, 1280), np.float32)
        for name, values in vectors.items():
            print(f"{name}: {len(values):,} vectors of {values.shape[1]}, {np.mean(values == 0):.0%} of it zeros")
            for codec, options in CODECS.items():
                _print(codec, values, options, Path(scratch) / "x.parquet")


def _extracted(scratch: Path, sources: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    sources = sources or [str(make_archive(scratch / "archive").folder)]
    config = IngestConfig(sources=tuple(sources), runner="in-process", frames="5/s")
    store, waves = plan_ingest(config, str(scratch / "store"), "bench")
    for wave in waves:
        ingest.run(config, wave, pipeline_options(config))
    options = ExtractConfig(runner="in-process")
    for wave in plan_extract(options, store, chosen_extractors(NAMES), "bench"):
        extract.run(options, wave, pipeline_options(options))
    return {name: _vectors(store, name) for name in NAMES}


def _vectors(store: Store, name: str) -> NDArray[np.float32]:
    rows = read_table(store, f"features/{name}@1")
    return np.asarray(rows["values"].combine_chunks().flatten()).reshape(rows.num_rows, -1)


def _print(codec: str, values: NDArray[np.float32], options: dict[str, Any], path: Path) -> None:
    borders = pa.array(np.arange(len(values) + 1, dtype=np.int32) * values.shape[1])
    column = pa.ListArray.from_arrays(borders, pa.array(values.ravel()))
    table = pa.table([column.cast(pa.list_(pa.float32()))], names=["values"])
    write = _cpu_seconds(lambda: pq.write_table(table, path, write_statistics=False, **options))
    read = _cpu_seconds(lambda: pq.read_table(path, use_threads=False))
    speed = values.nbytes / 1e6
    ratio = path.stat().st_size / values.nbytes
    print(f"  {codec:20} {ratio:6.3f} of raw   write {speed / write:6.0f} MB/s   read {speed / read:6.0f} MB/s")


def _cpu_seconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        before = time.process_time()
        work()
        times.append(time.process_time() - before)
    return min(times)


if __name__ == "__main__":
    main()
