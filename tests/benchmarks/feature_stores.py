"""Synthetic stores of features of random numbers, written and committed as the jobs do, for the reading benchmark."""

from __future__ import annotations

import hashlib
import uuid
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features.schema import BATCH_ID, data_schema_of
from features.spec import FeatureSpec
from features.store import FileRecord, Store, commit_files, write_file
from features.store.commit import _commit_once

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from features.spec import Modality

SECOND = 1_000_000
ROWS_A_MEDIA = 60
WIDTHS: dict[str, tuple[Modality, int]] = {"pictures": ("video", 1280), "sounds": ("audio", 80), "words": ("text", 384)}
SPECS = [FeatureSpec(name, 1, modality, "frames", shape=(width,)) for name, (modality, width) in WIDTHS.items()]
_A_COMMIT = 2_000


def batch_id_of(number: int) -> str:
    return f"20240101T020000-{number:06x}0123456789abcdef"


def media_ids_of(number: int, num_media: int) -> list[str]:
    """Media of a batch."""
    return [hashlib.blake2b(f"{number}/{own}".encode(), digest_size=16).hexdigest() for own in range(num_media)]


def add_batches(store: Store, numbers: Sequence[int], num_media: int) -> None:
    """Write and commit whole batches: each media has a row a second of each feature, for a minute."""
    for number in numbers:
        for spec in SPECS:
            file = write_file(store, spec.table, batch_id_of(number), _vectors(spec, number, num_media))
            commit_files(store, spec.table, [file], stage="bench", spec=spec)
            file = write_file(store, spec.coverage_table, batch_id_of(number), _coverage(number, num_media))
            commit_files(store, spec.coverage_table, [file], stage="bench")
        file = write_file(store, "media", batch_id_of(number), _media(number, num_media))
        commit_files(store, "media", [file], stage="bench")


def make_wide_store(store: Store, num_batches: int, num_media: int, real: Collection[int]) -> None:
    """A store of many batches: all of `media` is real; of the features, the files of some batches are, and all logs."""
    for spec in SPECS:
        for table, rows in ((spec.table, partial(_vectors, spec)), (spec.coverage_table, _coverage)):
            files = [
                write_file(store, table, batch_id_of(n), rows(n, num_media))
                if n in real
                else _record(table, n, num_media)
                for n in range(num_batches)
            ]
            _commit(store, table, files, spec)
    files = [write_file(store, "media", batch_id_of(n), _media(n, num_media)) for n in range(num_batches)]
    _commit(store, "media", files, None)


def _commit(store: Store, table: str, files: Sequence[FileRecord], spec: FeatureSpec | None) -> None:
    """As `commit_files`, without asking for each batch whether it was committed before."""
    store.ensure(table, spec)
    for start in range(0, len(files), _A_COMMIT):
        some = files[start : start + _A_COMMIT]
        _commit_once(store.load(table), table, some, [], {f"bench:{table}:{start}": 1}, {"stage": "bench"})


def _record(table: str, number: int, num_rows: int) -> FileRecord:
    """A file that is not there; its name is as long as a real one."""
    path = f"{BATCH_ID}={batch_id_of(number)}/part-00000-{uuid.uuid4().hex}-{uuid.uuid4().hex}.parquet"
    return FileRecord(table, batch_id_of(number), path, num_rows * 1_000, num_rows, "")


def _vectors(spec: FeatureSpec, number: int, num_media: int) -> pa.Table:
    (width,) = spec.shape
    count = num_media * ROWS_A_MEDIA
    start = np.tile(np.arange(ROWS_A_MEDIA, dtype=np.int64) * SECOND, num_media)
    values = np.random.default_rng([number, width]).standard_normal(count * width, np.float32)
    ids = pa.array(media_ids_of(number, num_media)).take(pa.array(np.repeat(np.arange(num_media), ROWS_A_MEDIA)))
    vectors = pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * width), pa.array(values))
    schema = data_schema_of(spec.table)
    return pa.table([ids, start, start + SECOND, vectors.cast(schema.field("values").type)], schema=schema)


def _coverage(number: int, num_media: int) -> pa.Table:
    ids = media_ids_of(number, num_media)
    return _table("coverage/any@1", {"media_id": ids, "status": ["ok"] * len(ids)})


def _media(number: int, num_media: int) -> pa.Table:
    ids = media_ids_of(number, num_media)
    return _table("media", {"media_id": ids, "uri": ids, "duration_us": [ROWS_A_MEDIA * SECOND] * len(ids)})


def _table(table: str, columns: dict[str, Sequence[object]]) -> pa.Table:
    count = len(columns["media_id"])
    fields = data_schema_of(table)
    return pa.table([pa.array(columns.get(field.name, [None] * count), field.type) for field in fields], schema=fields)
