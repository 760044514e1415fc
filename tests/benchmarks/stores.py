"""Synthetic stores whose logs stand for a large archive: the log of each table is real, most of its files are not.

Planning reads the logs and the rows of `sources`, and readers ask `media` which batches are whole, so these two hold
real Parquet files; the others are log entries with believable figures, each with the application transaction that
the commit loop writes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.extractors.registry import default_extractors, get_extractor
from features.identity import make_batch_id
from features.schema import BATCH_ID, data_schema_of
from features.store import FileRecord, Store, write_file
from features.store.commit import _commit_once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from features.spec import FeatureSpec

MODEL = "sentiment@1"
_FIRST_NIGHT = datetime(2024, 1, 1, 2, tzinfo=UTC)
_BATCHES_A_COMMIT = 60  # leaves a tail of commits behind the last checkpoint, which a reader must replay
_MEDIA_BYTES = 40_000_000
_ROW_BYTES = 2_000
_FAILED_EVERY = 5
_FAILURES_A_BATCH = 5
_NEW_EXTRACTOR = "mfcc"


class Archive(NamedTuple):
    """How large a store is.

    Attributes:
        num_media: Media, each from one source.
        num_batches: Batches that they are spread over evenly.
    """

    num_media: int
    num_batches: int

    @property
    def batch_ids(self) -> list[str]:
        """Names of the batches, a night's worth every hundred."""
        nights = (_FIRST_NIGHT + timedelta(days=index // 100) for index in range(self.num_batches))
        return [make_batch_id(night, index, [str(index)]) for index, night in enumerate(nights)]

    def numbers(self, batch: int) -> range:
        """Media of a batch, by number."""
        size = self.num_media // self.num_batches
        return range(batch * size, (batch + 1) * size)


def source_of(number: int) -> tuple[str, int, int]:
    """Name, bytes and time of change of a source: as listed, and as it stands in `sources`."""
    uri = f"/archive/2024/{number // 1000:06d}/recording-{number:09d}.mp4"
    return uri, _MEDIA_BYTES + number % 1_000_003, 1_700_000_000_000_000 + number * 1_000_003


def media_id_of(number: int) -> str:
    """Identity of a media."""
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def build_store(root: Path, archive: Archive) -> Store:
    """Make a store with all tables that ingest, the default extractors but one, and a model fill.

    Args:
        root: A folder that does not exist.
        archive: How much the logs stand for.
    """
    store = Store.create(root)
    batch_ids = archive.batch_ids
    specs = _specs()
    for table, made_of in _tables(specs).items():
        numbers = range(0, _num_done(table, archive), _FAILED_EVERY if table == "failures" else 1)
        if callable(made_of):
            files = [write_file(store, table, batch_ids[n], made_of(archive.numbers(n))) for n in numbers]
        else:
            files = [_record(table, batch_ids[n], made_of * len(archive.numbers(n))) for n in numbers]
        _commit(store, table, files, specs.get(table))
    return store


def _num_done(table: str, archive: Archive) -> int:
    """Batches that a table holds: all, but for the model, which has come half-way."""
    return archive.num_batches // 2 if table == f"scores/{MODEL}" else archive.num_batches


def _specs() -> dict[str, FeatureSpec]:
    """Tables of the default extractors, and what made them; one extractor has done nothing yet."""
    specs = [get_extractor(name).spec for name in default_extractors() if name != _NEW_EXTRACTOR]
    return {spec.table: spec for spec in specs} | {spec.coverage_table: spec for spec in specs}


def _tables(specs: Mapping[str, FeatureSpec]) -> dict[str, int | Callable[[range], pa.Table]]:
    """Rows a media of each table, or what makes the rows of a batch where its file is real."""
    base = {"source_results": 1, "frames": 600, "audio": 20, "transcripts": 40}
    derived = {table: 1 if table.startswith("coverage/") else 600 for table in specs}
    real = {"sources": _source_rows, "media": _media_rows, "failures": _failure_rows}
    return {**real, **base, **derived, f"scores/{MODEL}": 60}


def _source_rows(numbers: range) -> pa.Table:
    uris, sizes, times = zip(*map(source_of, numbers), strict=True)
    columns = {"uri": uris, "size_bytes": sizes, "mtime_us": times, "consent": ["unstated"] * len(uris)}
    return _rows("sources", columns, len(uris))


def _media_rows(numbers: range) -> pa.Table:
    uris = [source_of(number)[0] for number in numbers]
    ids = [media_id_of(number) for number in numbers]
    columns = {"media_id": ids, "uri": uris, "name": [uri.rpartition("/")[2] for uri in uris]}
    return _rows("media", columns, len(ids))


def _failure_rows(numbers: range) -> pa.Table:
    failed = numbers[:_FAILURES_A_BATCH]
    columns = {
        "stage": ["ingest"] * len(failed),
        "uri": [source_of(number)[0] for number in failed],
        "error": ["DecodeError"] * len(failed),
        "message": [f"cannot decode {source_of(number)[0]!r} (moov atom not found); repair it" for number in failed],
        "attempts": [1 + number % 3 for number in failed],
        "generation": [1] * len(failed),
    }
    return _rows("failures", columns, len(failed))


def _rows(table: str, columns: Mapping[str, Sequence[object]], num_rows: int) -> pa.Table:
    schema = data_schema_of(table)
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(num_rows, field.type)
        for field in schema
    ]
    return pa.table(arrays, schema=schema)


def _record(table: str, batch_id: str, num_rows: int) -> FileRecord:
    """A file that is not there; its name is as long as a real one."""
    checksum, unique = uuid.uuid4().hex, uuid.uuid4().hex
    path = f"{BATCH_ID}={batch_id}/part-00000-{checksum}-{unique}.parquet"
    return FileRecord(table, batch_id, path, num_rows * _ROW_BYTES, num_rows, checksum)


def _commit(store: Store, table: str, files: Sequence[FileRecord], spec: FeatureSpec | None) -> None:
    """As `commit_files`, but without asking for each batch whether it was committed before."""
    handle = store.ensure(table, spec)
    for start in range(0, len(files), _BATCHES_A_COMMIT):
        some = files[start : start + _BATCHES_A_COMMIT]
        transactions = {f"ingest:{table}:{file.batch_id}": 1 for file in some}
        _commit_once(handle, table, some, [], transactions, {"stage": "ingest"})
