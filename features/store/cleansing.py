"""Files without the rows of what was forgotten: of batches that stand, and of those that a run is about to commit."""

from __future__ import annotations

import uuid
from contextlib import closing
from typing import TYPE_CHECKING

import pyarrow as pa

from features.errors import StoreError
from features.schema import BATCH_ID, data_schema_of, schema_of
from features.store.commit import Settled, commit_files, live_files
from features.store.files import BatchWriter, reason_of
from features.store.lineage import Lineage, carried, code_version
from features.store.storage import name_in_dataset, parquet_dataset, parquet_file
from features.store.tombstones import KEY_COLUMNS, TABLE, read_tombstones

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from deltalake import DeltaTable

    from features.store.files import FileRecord
    from features.store.storage import name_in_dataset, parquet_dataset, parquet_file
    from features.store.store import Store
from features.store.tombstones import Tombstones

STAGE = "forget"
_FILE = "__filename"


class Cleanser:
    """Writes files of one table anew, without the rows of what was forgotten; each file once.

    Args:
        store: The store.
        table: Name of the table.
        tombstones: What was forgotten.
        run_id: For lineage.
        living: As `Tombstones.gone`.
        groups: New names of groups that a forgotten media gave its name to.
    """

    def __init__(
        self,
        store: Store,
        table: str,
        tombstones: Tombstones,
        run_id: str,
        *,
        living: Collection[str] | None = None,
        groups: Mapping[str, str] | None = None,
    ) -> None:
        self._store, self._table, self._tombstones = store, table, tombstones
        self._living, self._groups = living, groups
        self._made: dict[str, FileRecord | None] = {}
        self.lineage = Lineage(run_id, STAGE, code_version())
        self.num_rows: dict[str, int] = {}

    def without(self, path: str, batch_id: str) -> FileRecord | None:
        """The file that takes the place of one; None where nothing in it was forgotten."""
        if path not in self._made:
            self._made[path] = self._write(path, batch_id) if self.touches(path) else None
        return self._made[path]

    def touches(self, path: str) -> bool:
        """Whether a file has rows of what was forgotten, or that name it.

        Raises:
            StoreError: The file is missing or damaged.
        """
        try:
            return traces(self._place(path), self._tombstones, self._living)
        except (OSError, pa.ArrowException) as error:
            message = (
                f"cannot read {str(self._place(path))!r} of table {self._table!r} ({reason_of(error)}), to see whether "
                "it holds forgotten media; if a forget has just swept it, run again, else see: triptych verify"
            )
            raise StoreError(message) from error

    def _place(self, path: str) -> Path:
        return self._store.table_path(self._table) / path

    def _write(self, path: str, batch_id: str) -> FileRecord | None:
        schema, before = data_schema_of(self._table), 0
        lineage = carried(self._store.table_path(self._table), [path], self.lineage)
        with (
            BatchWriter(self._store, self._table, batch_id, lineage=lineage) as writer,
            closing(parquet_file(self._place(path))) as file,
        ):
            writer.write(schema.empty_table())
            for group in range(file.num_row_groups):
                rows = _as_now(file.read_row_group(group), schema)
                before += rows.num_rows
                writer.write(self._tombstones.cleansed(rows, self._living, self._groups))
        record = writer.record
        self.num_rows[path] = before - (record.num_rows if record else 0)
        return record


def traces(path: Path, tombstones: Tombstones, living: Collection[str] | None = None) -> bool:
    """Whether a Parquet file has rows of what was forgotten, or that name it.

    Raises:
        OSError, ArrowException: The file is missing or damaged.
    """
    with parquet_file(path) as file:
        names = [name for name in KEY_COLUMNS if name in file.schema_arrow.names]
        rows = file.read(columns=names) if names else None
    return rows is not None and bool(tombstones.gone(rows, living).any() or tombstones.points(rows).any())


def key_rows(store: Store, table: str, batch_ids: Collection[str] | None, columns: Sequence[str]) -> pa.Table:
    """Some of `KEY_COLUMNS` and `batch_id` of live rows, whether their batch is whole or not; many files at once.

    Raises:
        StoreError: A file is missing or damaged.
    """
    types = schema_of(table)
    schema = pa.schema([types.field(name) for name in columns if name in types.names])
    live = store.files(table).select(["path", BATCH_ID]).to_pylist() if store.has(table) else []
    folder = store.table_path(table)
    wanted = [row for row in live if batch_ids is None or row[BATCH_ID] in batch_ids]
    batch_of = {name_in_dataset(folder / row["path"]): row[BATCH_ID] for row in wanted}
    if not batch_of:
        return schema.append(types.field(BATCH_ID)).empty_table()
    try:
        dataset = parquet_dataset([folder / row["path"] for row in wanted], schema)
        rows = dataset.to_table(columns=[*schema.names, _FILE])
    except (OSError, pa.ArrowException) as error:
        message = f"cannot read table {table!r} in {store.root!r} ({reason_of(error)}); see what can be done: verify"
        raise StoreError(message) from error
    batches = pa.array([batch_of[path] for path in rows[_FILE].to_pylist()], pa.string())
    return rows.drop_columns([_FILE]).append_column(types.field(BATCH_ID), batches)


def erase_rows(store: Store, table: str, batch_ids: Collection[str], cleanser: Cleanser) -> int:
    """Replace batches' files by ones without the rows of what was forgotten, in one commit; a batch stays, if empty.

    Returns:
        Rows that went.
    """

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        del files  # rivals may have written in between
        live = [(path, batch, cleanser.without(path, batch)) for path, batch in live_files(handle, batch_ids)]
        changed = [(path, batch, made) for path, batch, made in live if made is not None]
        return Settled([made for _, _, made in changed], [(path, batch) for path, batch, _ in changed])

    first = settle(store.load(table), ())
    if not first.files:
        return 0
    stage = f"{STAGE}:{uuid.uuid4().hex}"
    commit_files(store, table, first.files, stage=stage, metadata=cleanser.lineage.metadata(), settle=settle)
    return sum(cleanser.num_rows.values())


class Gate:
    """Stands before a commit, so that a run which read a media before it was forgotten does not bring it back.

    Costs a look at a folder where nothing was ever forgotten, and then the reading of a few columns.
    """

    def __init__(self, store: Store, table: str, stage: str) -> None:
        self._store, self._table = store, table
        self._open = table == TABLE or stage.startswith(f"{STAGE}:")
        self._version = -1
        self._replaced: list[str] = []

    def let_through(self, settled: Settled) -> Settled:
        """What may be committed; asked right before each try."""
        tombstones = None if self._open else read_tombstones(self._store)
        if tombstones is None:
            return settled
        self._version, self._replaced = tombstones.version, []
        cleanser = Cleanser(self._store, self._table, tombstones, "", groups=self._groups(settled.files, tombstones))
        files = []
        for file in settled.files:
            made = cleanser.without(file.path, file.batch_id)
            files.append(file if made is None else made)
            self._replaced += [] if made is None else [file.path]
        return settled._replace(files=files)

    def look_again(self, files: Sequence[FileRecord]) -> None:
        """After the commit: files that were replaced go, and so do rows of what was forgotten in between."""
        for path in self._replaced:
            (self._store.table_path(self._table) / path).unlink(missing_ok=True)
        tombstones = None if self._open else read_tombstones(self._store)
        if tombstones is None or tombstones.version == self._version:
            return
        cleanser = Cleanser(self._store, self._table, tombstones, "")
        dirty = [file for file in files if cleanser.touches(file.path)]
        if dirty:
            erase_rows(self._store, self._table, {file.batch_id for file in dirty}, cleanser)
            for file in dirty:
                (self._store.table_path(self._table) / file.path).unlink(missing_ok=True)

    def _groups(self, files: Sequence[FileRecord], tombstones: Tombstones) -> dict[str, str]:
        if not self._table.startswith("splits/"):
            return {}
        paths = [self._store.table_path(self._table) / file.path for file in files]
        return new_groups(pa.concat_tables([_read_all(path) for path in paths]), tombstones)


def _read_all(path: Path) -> pa.Table:
    with parquet_file(path) as file:
        return file.read()


def new_groups(splits: pa.Table, tombstones: Tombstones) -> dict[str, str]:
    """New names of groups that a forgotten media gave its name to: the smallest `media_id` that is left of each."""
    names: dict[str, str] = {}
    for group, media in zip(splits["group_id"].to_pylist(), splits["media_id"].to_pylist(), strict=True):
        if group in tombstones.media_ids and media not in tombstones.media_ids:
            names[group] = min(media, names.get(group, media))
    return names


def _as_now(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows of an older file with the columns of now; those that it lacks are null."""
    there = rows.column_names
    data = [rows[f.name] if f.name in there else pa.nulls(rows.num_rows, f.type) for f in schema]
    return pa.table(data, schema=schema)
