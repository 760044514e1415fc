"""A store's place, its marker, and its Delta tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import StoreError
from features.schema import BATCH_ID, SCHEMA_VERSION, is_table, schema_of
from features.spec import SPEC_KEY, FeatureSpec
from features.store.files import reason_of
from features.store.marker import MARKER, check_version, raise_version, write_marker
from features.store.storage import check_place, list_folder, place_of, remedy, root_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from deltalake import DeltaTable

_CHECKPOINT_INTERVAL = "100"


class TableSize(NamedTuple):
    """Rows, batches and bytes of a table."""

    num_rows: int
    num_batches: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Store:
    """A feature store at a folder, or in a bucket. Cheap to make and to send to a worker; it holds no open files.

    Attributes:
        root: Absolute path of the folder, or `s3://<bucket>/<prefix>`.
    """

    root: str

    @classmethod
    def open(cls, root: str | Path) -> Store:
        """An existing store.

        Raises:
            StoreError: The folder is missing, is no store, or is of a newer version; the bucket cannot be opened.
        """
        check_place(root)
        path = place_of(root)
        marker = path / MARKER
        if not path.is_dir():
            message = f"there is no store at {str(path)!r}; make one with: triptych --store {path} ingest SOURCE"
            raise StoreError(message)
        if not marker.is_file():
            message = f"{str(path)!r} is not a store (it has no {MARKER}); name another folder with --store"
            raise StoreError(message)
        check_version(marker)
        return cls(root_of(root))

    @classmethod
    def check(cls, root: str | Path) -> None:
        """Refuse a folder that can neither be opened nor become a store, without touching it.

        Raises:
            StoreError: The folder holds something else, or a store of a newer version.
        """
        check_place(root)
        path = place_of(root)
        if (path / MARKER).is_file():
            cls.open(root)
        elif path.exists() and not _is_empty(path):
            raise StoreError(_foreign(path))

    @classmethod
    def create(cls, root: str | Path) -> Store:
        """Open a store, or make one in a folder that is missing or empty.

        Raises:
            StoreError: The folder holds something else, or cannot be written.
        """
        check_place(root)
        path = place_of(root)
        if (path / MARKER).is_file():
            return cls.open(root)
        try:
            if path.exists() and not _is_empty(path):
                if (path / MARKER).is_file():  # a rival has made it since
                    return cls.open(root)
                raise StoreError(_foreign(path))
            path.mkdir(parents=True, exist_ok=True)
            write_marker(path / MARKER, {"schema_version": SCHEMA_VERSION})
        except OSError as error:
            what = remedy(path, error, "name a writable one with --store")
            message = f"cannot make a store at {str(path)!r} ({error.strerror or error}); {what}"
            raise StoreError(message) from error
        return cls(root_of(root))

    @property
    def path(self) -> Path:
        """The store's folder; that of a bucket is a `upath.UPath`, which acts as one."""
        return place_of(self.root)

    def table_path(self, table: str) -> Path:
        """Folder of a table; the table's name is checked."""
        schema_of(table)
        return self.path / table

    def has(self, table: str) -> bool:
        """Whether the table has been made; a folder of a log without an entry is no table yet."""
        return _has_entry(self.table_path(table) / "_delta_log")

    def load(self, table: str, version: int | None = None) -> DeltaTable:
        """A fresh handle on a table's newest version, or on an older one that the log still holds.

        Raises:
            StoreError: The table has not been made, or its log cannot be read.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        if not self.has(table):
            message = (
                f"the store {self.root!r} has no table {table!r} yet; tables: {', '.join(self.tables()) or 'none'}"
            )
            raise StoreError(message)
        try:
            return DeltaTable(str(self.table_path(table)), version=version)
        except (DeltaError, OSError) as error:
            raise _log_error(self, table, version, error) from error

    def ensure(self, table: str, spec: FeatureSpec | None = None) -> DeltaTable:
        """A fresh handle on a table, made first where it is missing.

        Args:
            table: Name of the table.
            spec: For a feature table: what the extractor makes; kept in the table's configuration.

        Raises:
            StoreError: The table holds features of another spec (other weights under the same name and version).
        """
        if not self.has(table):
            self._make(table, spec)
        handle = self.load(table)
        if spec is not None:
            _check_spec(table, handle, spec)
        return self._widened(table, handle)

    def _widened(self, table: str, handle: DeltaTable) -> DeltaTable:
        """The table with the columns that a newer schema added; old batches have nulls there."""
        there = {field.name for field in handle.schema().fields}
        missing = [field for field in schema_of(table) if field.name not in there]
        if not missing:
            return handle
        from deltalake import Schema
        from deltalake.exceptions import CommitFailedError, DeltaError

        raise_version(self.path / MARKER)  # first, so that no older program writes to what it does not know
        try:
            handle.alter.add_columns(list(Schema.from_arrow(pa.schema(missing)).fields))
        except CommitFailedError:  # a rival has done so
            return self._widened(table, self.load(table))
        except (DeltaError, OSError) as error:
            message = f"cannot add columns to table {table!r} in {self.root!r} ({reason_of(error)}); run again"
            raise StoreError(message) from error
        return self.load(table)

    def _make(self, table: str, spec: FeatureSpec | None) -> None:
        from deltalake import DeltaTable
        from deltalake.exceptions import CommitFailedError, DeltaError

        configuration: dict[str, str | None] = {"delta.checkpointInterval": _CHECKPOINT_INTERVAL}
        if spec is not None:
            configuration[SPEC_KEY] = spec.to_json()
        try:
            DeltaTable.create(
                str(self.table_path(table)),
                schema=schema_of(table),
                mode="ignore",
                partition_by=[BATCH_ID],
                configuration=configuration,
                raise_if_key_not_exists=False,  # delta knows no key of ours
            )
        except CommitFailedError:
            if not self.has(table):  # else a rival has made it since
                raise
        except (DeltaError, OSError) as error:
            reason = reason_of(error)
            what = remedy(self.root, error, "free space or rights, then run again")
            message = f"cannot make table {table!r} in {self.root!r} ({reason}); {what}"
            raise StoreError(message) from error

    def spec(self, table: str) -> FeatureSpec | None:
        """The spec of a feature table, or None where it has none."""
        text = self.load(table).metadata().configuration.get(SPEC_KEY)
        return FeatureSpec.from_json(text) if text else None

    def tables(self) -> tuple[str, ...]:
        """Names of all tables that have been made, sorted."""
        names = [name for table in _folders(self.path) for name in (table, *_members(self.path, table))]
        return tuple(sorted(name for name in names if is_table(name) and self.has(name)))

    def batches(self, table: str) -> frozenset[str]:
        """Batches that a table has committed, from its log alone; none where there is no table."""
        if not self.has(table):
            return frozenset()
        return frozenset(row[BATCH_ID] for row in self.load(table).partitions())

    def files(self, table: str, version: int | None = None) -> pa.Table:
        """Live files of a table from its log: columns path, size_bytes, num_records, batch_id; sorted."""
        return files_of(self.load(table, version))

    def versions(self, tables: Iterable[str]) -> tuple[tuple[str, int], ...]:
        """Newest version of each of these tables that has been made, by name."""
        return tuple((table, self.load(table).version()) for table in sorted(set(tables)) if self.has(table))


def files_of(handle: DeltaTable) -> pa.Table:
    """Live files of a handle: columns path, size_bytes, num_records, batch_id; sorted."""
    adds = pa.table(handle.get_add_actions(flatten=True))
    wanted = adds.select(["path", "size_bytes", "num_records", f"partition.{BATCH_ID}"])
    named = wanted.rename_columns(["path", "size_bytes", "num_records", BATCH_ID])
    return named.sort_by([(BATCH_ID, "ascending"), ("path", "ascending")])


def _log_error(store: Store, table: str, version: int | None, error: Exception) -> StoreError:
    reason = reason_of(error)
    if "Error performing" in str(error) and "NoSuchKey" not in str(error):  # a request to a bucket, not what it holds
        what = remedy(store.root, error, "run again")
        return StoreError(f"cannot read the log of table {table!r} in {store.root!r} ({reason}); {what}")
    if version is not None:
        message = f"table {table!r} in {store.root!r} has no version {version} ({reason}); name a newer one"
        return StoreError(message)
    return StoreError(f"cannot read the log of table {table!r} in {store.root!r} ({reason}); restore its _delta_log")


def _foreign(path: Path) -> str:
    return f"{str(path)!r} is not a store and not empty; name an empty or a new folder with --store"


def _is_empty(path: Path) -> bool:
    """Whether a folder holds nothing but what a store that is just being made leaves there."""
    return path.is_dir() and all(item.name.startswith(f".{MARKER}.") for item in path.iterdir())


def _has_entry(log: Path) -> bool:
    return any(name.endswith((".json", ".parquet")) for name, _ in list_folder(log))


def count_rows(store: Store, table: str) -> TableSize:
    """How much a table holds, from its log alone."""
    return size_of(store.files(table))


def size_of(files: pa.Table) -> TableSize:
    """How much files hold, as `Store.files` tells them."""
    totals = [pc.sum(files[name], min_count=0).as_py() for name in ("num_records", "size_bytes")]
    return TableSize(totals[0], pc.count_distinct(files[BATCH_ID]).as_py(), totals[1])


def _members(store: Path, family: str) -> list[str]:
    """Folders in a family's folder that may be tables; `transcripts` is a table too, with a folder a batch."""
    if not is_table(f"{family}/any"):
        return []
    return [f"{family}/{name}" for name in _folders(store / family) if not name.startswith(f"{BATCH_ID}=")]


def _folders(path: Path) -> list[str]:
    return [name for name, is_folder in list_folder(path) if is_folder]


def _check_spec(table: str, handle: DeltaTable, spec: FeatureSpec) -> None:
    text = handle.metadata().configuration.get(SPEC_KEY)
    if text is not None and FeatureSpec.from_json(text).fingerprint != spec.fingerprint:
        message = (
            f"table {table!r} was made by another {spec.name!r} (fingerprint "
            f"{FeatureSpec.from_json(text).fingerprint}, now {spec.fingerprint}); "
            f"give the changed extractor a new version"
        )
        raise StoreError(message)
