"""Merging: the several files of a batch in a table become one. Its rows, their order and their lineage stay."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.errors import StoreError
from features.schema import BATCH_ID, data_schema_of
from features.store.commit import Settled, commit_files, generations_of
from features.store.files import BatchWriter, checksum_in_name, checksum_of
from features.store.lineage import carried
from features.store.plan import waves
from features.store.storage import parquet_file
from features.store.store import files_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from deltalake import DeltaTable

    from features.store.files import FileRecord
    from features.store.store import Store

    Paths = tuple[str, ...]

_STAGE = "merge"
_BATCHES_A_COMMIT = 100


class Merged(NamedTuple):
    """What became of a table: files that went into others, and why some batches were left as they are."""

    num_files: int
    problems: tuple[str, ...] = ()


def several_files(store: Store, table: str) -> dict[str, Paths]:
    """The batches of a table that have more than one file, each with its files in order; from the log alone."""
    live = _paths_of(store.load(table))
    return {batch_id: paths for batch_id, paths in live.items() if len(paths) > 1}


def merge_files(store: Store, table: str, *, metadata: Mapping[str, str]) -> Merged:
    """Make one file of the files of each batch that has several, a hundred batches a commit.

    No more than a row group is in memory at a time. A file whose bytes are not those that were committed is left for
    `verify` to find: a new checksum would hide it.

    Args:
        store: The store.
        table: Name of the table.
        metadata: Kept in the commits; the files carry the lineage of those that they take over.

    Raises:
        StoreError: The disk is full or may not be written.
    """
    several = several_files(store, table)
    sound, problems = [], []
    for batch_id, paths in several.items():
        damaged = _damaged(store.table_path(table), paths)
        if damaged:
            problems.append(
                f"table {table!r} has a damaged file {damaged!r}, its batch is left as it is; triptych verify"
            )
        else:
            sound.append(batch_id)
    num_files = 0
    for batch_ids in waves(sound, _BATCHES_A_COMMIT):
        num_files += _merge(store, table, {batch_id: several[batch_id] for batch_id in batch_ids}, metadata)
    return Merged(num_files, tuple(problems))


def _merge(store: Store, table: str, group: Mapping[str, Paths], metadata: Mapping[str, str]) -> int:
    """Merge some batches in one commit, again where a rival changed one of them; how many files went into others."""
    made: dict[Paths, FileRecord] = {}
    taken: list[tuple[str, str]] = []

    def one_file(batch_id: str, paths: Paths) -> FileRecord:
        if paths not in made:
            made[paths] = _write(store, table, batch_id, paths)
        return made[paths]

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        wanted = {file.batch_id for file in files}
        live = {batch_id: paths for batch_id, paths in _paths_of(handle).items() if batch_id in wanted}
        taken[:] = [(path, batch_id) for batch_id, paths in live.items() for path in paths]
        return Settled([one_file(batch_id, paths) for batch_id, paths in live.items()], taken)

    first = [one_file(batch_id, paths) for batch_id, paths in group.items()]
    before = max(generations_of(store, table, _STAGE, group).values())
    commit = commit_files(store, table, first, stage=_STAGE, generation=before + 1, metadata=metadata, settle=settle)
    return len(taken) - commit.num_files if commit.num_files else 0


def _write(store: Store, table: str, batch_id: str, paths: Collection[str]) -> FileRecord:
    folder, schema = store.table_path(table), data_schema_of(table)
    with BatchWriter(store, table, batch_id, lineage=carried(folder, paths)) as writer:
        for path in paths:
            with parquet_file(folder / path) as file:
                for group in range(file.num_row_groups):
                    writer.write(_widened(file.read_row_group(group), schema))
    if writer.record is None:  # pragma: no cover - set by a clean exit
        message = f"the merged file of batch {batch_id!r} of {table!r} was not finished; run again"
        raise StoreError(message)
    return writer.record


def _widened(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with nulls in the columns that are newer than their file."""
    there = set(rows.column_names)
    columns = [rows[f.name] if f.name in there else pa.nulls(rows.num_rows, f.type) for f in schema]
    return pa.table(columns, schema=schema)


def _paths_of(handle: DeltaTable) -> dict[str, Paths]:
    found: dict[str, Paths] = {}
    files = files_of(handle)
    for path, batch_id in zip(files["path"].to_pylist(), files[BATCH_ID].to_pylist(), strict=True):
        found[batch_id] = (*found.get(batch_id, ()), path)
    return found


def _damaged(folder: Path, paths: Collection[str]) -> str | None:
    for path in paths:
        try:
            if checksum_in_name(path) not in (None, checksum_of(folder / path)):
                return path
        except OSError:
            return path
    return None
