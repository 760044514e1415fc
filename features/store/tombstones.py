"""Tombstones: what was forgotten, so that it does not come back, without saying what it was.

A tombstone holds the `media_id` and keyed hashes of the places where the bytes lay. The key is random, made once a
store, and kept in `<store>/tombstones.key`, readable by its owner only. It protects against whoever gets hold of the
tables without the key: they cannot try names against the hashes. It does not protect against those who may read the
whole folder, nor does it hide the `media_id`: whoever has the very bytes can tell that they were once here. Where the
key is lost, forgotten files are opened again and known by their bytes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import StoreError
from features.schema import BATCH_ID
from features.store.files import write_file
from features.store.lineage import Lineage, code_version
from features.store.read import read_committed
from features.store.rows import table_of
from features.store.storage import is_remote, put_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from deltalake import DeltaTable
    from numpy.typing import NDArray

    from features.store.commit import Settled
    from features.store.files import FileRecord
    from features.store.store import Store

TABLE = "tombstones"
KEY_FILE = "tombstones.key"
"""Name of the key's file, in the store's folder."""

KEY_COLUMNS = (
    *("media_id", "superseded_by", "group_id", "uri", "size_bytes", "mtime_us"),
    *("planned_at", "finished_at", "failed_at"),
)
"""Columns that tell whether a row is of a forgotten media, where a table has them."""

_SOURCE = ("uri", "size_bytes", "mtime_us")
_TIMES = ("planned_at", "finished_at", "failed_at")
_KEY_BYTES = 32


class Place(NamedTuple):
    """A batch that has rows of a media, and the source there that held its bytes, where there is one."""

    media_id: str
    batch_id: str
    uri: str | None = None
    size_bytes: int | None = None
    mtime_us: int | None = None


@dataclass(frozen=True)
class Tombstones:
    """What was forgotten.

    Attributes:
        key: Key of the hashes.
        media_ids: Media.
        batches: Batches that had rows of them.
        sources: Hashes of places with bytes and time of change.
        uris: Hashes of places, each with when it was last forgotten.
        version: Of the table.
    """

    key: bytes
    media_ids: frozenset[str]
    batches: frozenset[str]
    sources: frozenset[str] = frozenset()
    uris: Mapping[str, datetime] = field(default_factory=dict)
    version: int = -1

    def uri_hash(self, uri: str) -> str:
        """Keyed hash of a place."""
        return _hash(self.key, uri)

    def source_hash(self, uri: str, size_bytes: int | None, mtime_us: int | None) -> str:
        """Keyed hash of a place, its bytes and time of change."""
        return _hash(self.key, f"{uri}\n{size_bytes}\n{mtime_us}")

    def gone(self, rows: pa.Table, living: Collection[str] | None = None) -> NDArray[np.bool_]:
        """Which rows have to go.

        Args:
            rows: Rows of any table, with those of `KEY_COLUMNS` that it has.
            living: Places that media hold which are not forgotten. Where given, rows that only name a place go too, if
                the place is not among these and they were written before it was forgotten.
        """
        names = rows.column_names
        gone = np.zeros(rows.num_rows, bool)
        if "media_id" in names:
            gone |= _is_in(rows["media_id"], self.media_ids)
        if self.sources and set(_SOURCE) <= set(names):
            keys = zip(*(rows[name].to_pylist() for name in _SOURCE), strict=True)
            gone |= np.fromiter((self.source_hash(*key) in self.sources for key in keys), bool, rows.num_rows)
        time = next((name for name in _TIMES if name in names), None)
        if living is not None and self.uris and time is not None and "uri" in names:
            gone |= self._only_named(rows, time, living)
        return gone

    def _only_named(self, rows: pa.Table, time: str, living: Collection[str]) -> NDArray[np.bool_]:
        media = rows["media_id"].to_pylist() if "media_id" in rows.column_names else [None] * rows.num_rows
        named = zip(rows["uri"].to_pylist(), media, rows[time].to_pylist(), strict=True)
        return np.fromiter((m is None and self._was_before(u, t, living) for u, m, t in named), bool, rows.num_rows)

    def _was_before(self, uri: str | None, when: datetime | None, living: Collection[str]) -> bool:
        forgotten_at = None if uri is None or uri in living else self.uris.get(self.uri_hash(uri))
        return forgotten_at is not None and (when is None or when <= forgotten_at)

    def points(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Which rows are of other media, but name a forgotten one: as their successor, or as their group."""
        found = np.zeros(rows.num_rows, bool)
        for name in ("superseded_by", "group_id"):
            if name in rows.column_names:
                found |= _is_in(rows[name], self.media_ids)
        return found

    def cleansed(
        self, rows: pa.Table, living: Collection[str] | None = None, groups: Mapping[str, str] | None = None
    ) -> pa.Table:
        """Rows without what has to go; a successor that was forgotten is none, a group gets its new name."""
        kept = rows.filter(pa.array(~self.gone(rows, living)))
        if not kept.num_rows or not self.points(kept).any():
            return kept
        if "superseded_by" in kept.column_names:
            values = [None if v in self.media_ids else v for v in kept["superseded_by"].to_pylist()]
            kept = _with_column(kept, "superseded_by", values)
        if "group_id" in kept.column_names:
            names = zip(kept["group_id"].to_pylist(), kept["media_id"].to_pylist(), strict=True)
            renamed = [(groups or {}).get(g, m) if g in self.media_ids else g for g, m in names]
            kept = _with_column(kept, "group_id", renamed)
        return kept


def read_tombstones(store: Store) -> Tombstones | None:
    """What was forgotten in a store, or None where nothing was: then it costs a look at a folder."""
    if not store.has(TABLE):
        return None
    handle = store.load(TABLE)
    return _read(store, str(handle.metadata().id), handle.version())


@lru_cache(maxsize=4)
def _read(store: Store, table_id: str, version: int) -> Tombstones | None:
    del table_id  # a store that was made anew in the same place has another
    rows = read_committed(store, TABLE, versions={TABLE: version}).to_pylist()
    if not rows:
        return None
    uris: dict[str, datetime] = {}
    for row in rows:
        if row["uri_hash"] is not None:
            uris[row["uri_hash"]] = max(row["forgotten_at"], uris.get(row["uri_hash"], row["forgotten_at"]))
    return Tombstones(
        read_key(store),
        frozenset(row["media_id"] for row in rows),
        frozenset(row[BATCH_ID] for row in rows),
        frozenset(row["source_hash"] for row in rows) - {None},
        uris,
        version,
    )


def if_forgotten(store: Store, places: Sequence[Place]) -> Tombstones:
    """Tombstones as they would be, of these places only; nothing is written."""
    key = read_key(store, make=False)
    now = datetime.now(UTC)
    rows = [_row(key, place, now, "") for place in places]
    return Tombstones(
        key,
        frozenset(place.media_id for place in places),
        frozenset(place.batch_id for place in places),
        frozenset(row["source_hash"] for row in rows) - {None},
        {row["uri_hash"]: now for row in rows if row["uri_hash"] is not None},
    )


def add_tombstones(store: Store, places: Iterable[Place], run_id: str) -> None:
    """Commit tombstones, those that are not there yet; from then on ingest does not bring the media back."""
    from features.store.commit import Settled, commit_files

    key, now = read_key(store), datetime.now(UTC)
    wanted: dict[str, list[dict[str, Any]]] = {}
    for place in dict.fromkeys(places):
        wanted.setdefault(place.batch_id, []).append(_row(key, place, now, run_id))
    lineage = Lineage(run_id, "forget", code_version())

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        del handle, files
        there = {_identity(row) for row in read_committed(store, TABLE, batch_ids=wanted).to_pylist()}
        new = {batch: [row for row in rows if _identity(row) not in there] for batch, rows in wanted.items()}
        return Settled([write(batch, rows) for batch, rows in new.items() if rows])

    def write(batch_id: str, rows: Sequence[dict[str, Any]]) -> FileRecord:
        return write_file(store, TABLE, batch_id, table_of(TABLE, rows), lineage=[lineage])

    store.ensure(TABLE)
    first = settle(store.load(TABLE), ())
    if first.files:
        stage = f"tombstone:{uuid.uuid4().hex}"
        commit_files(store, TABLE, first.files, stage=stage, metadata=lineage.metadata(), settle=settle)


def without_forgotten(store: Store, listed: pa.Table) -> pa.Table:
    """Listed sources without those that lay there, unchanged, when their bytes were forgotten: they are not opened.

    New bytes at a forgotten place are a new source.
    """
    tombstones = read_tombstones(store) if listed.num_rows else None
    return listed if tombstones is None else listed.filter(pa.array(~tombstones.gone(listed)))


def read_key(store: Store, *, make: bool = True) -> bytes:
    """The key of a store's hashes, made at its first use; without `make`, a key of no meaning where there is none.

    Raises:
        StoreError: The key cannot be read or written.
    """
    path = store.path / KEY_FILE
    try:
        if not path.exists():
            if not make:
                return secrets.token_bytes(_KEY_BYTES)
            _make_key(path)
        return bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as error:
        message = f"cannot use the key {str(path)!r} ({error}); run as its owner, or restore it"
        raise StoreError(message) from error


def _make_key(path: Path) -> None:
    """All of the file at once, and never over another's."""
    if is_remote(path):
        with contextlib.suppress(FileExistsError):
            put_bytes(path, secrets.token_hex(_KEY_BYTES).encode("ascii"), is_new=True)
        return
    temporary = path.with_name(f".{KEY_FILE}.{uuid.uuid4().hex}")
    place = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(place, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        pass  # a rival was faster: its key is the store's
    finally:
        temporary.unlink()


def _row(key: bytes, place: Place, now: datetime, run_id: str) -> dict[str, Any]:
    made = Tombstones(key, frozenset(), frozenset())
    named = place.uri is not None
    return {
        "media_id": place.media_id,
        "uri_hash": made.uri_hash(place.uri or "") if named else None,
        "source_hash": made.source_hash(place.uri or "", place.size_bytes, place.mtime_us) if named else None,
        "forgotten_at": now,
        "run_id": run_id,
    }


def _identity(row: Mapping[str, Any]) -> tuple[str, str | None]:
    """A batch has a place once: one that a killed erasure has cleared of its source's size is no other."""
    return row["media_id"], row["uri_hash"]


def _hash(key: bytes, text: str) -> str:
    return blake2b(text.encode(), key=key, digest_size=16).hexdigest()


def _is_in(column: pa.ChunkedArray, values: Collection[str]) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = pc.is_in(column, pa.array(sorted(values), pa.string())).to_numpy()
    return found


def _with_column(rows: pa.Table, name: str, values: Sequence[str | None]) -> pa.Table:
    place = rows.column_names.index(name)
    return rows.set_column(place, rows.schema.field(place), pa.array(values, pa.string()))
