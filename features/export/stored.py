"""Rows of a table as they are stored: of whole batches, and of media that may leave."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.errors import ConfigError, StoreError
from features.export.leaving import who_leaves
from features.export.source import (
    PIECE_BYTES,
    SPLIT,
    Piece,
    check_columns,
    read_ahead,
    read_split,
    split_table,
    with_batch,
)
from features.fusion.settings import nearest
from features.reading.columns import find_keys
from features.reading.snapshot import take_snapshot
from features.schema import BATCH_ID, is_table, schema_of
from features.store.files import reason_of
from features.store.storage import parquet_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from features.export.leaving import Leaving
    from features.export.options import ExportOptions
    from features.export.source import SplitColumn
    from features.reading.snapshot import Snapshot
    from features.store.store import Store

NOT_OF_MEDIA = ("sources", "source_results", "failures", "runs", "tombstones")
"""Tables of the store's own books: they name what was refused or forgotten, and do not leave."""


@dataclass(frozen=True)
class StoredSource:
    """A table's rows.

    Attributes:
        snapshot: Of the table and of `media`.
        table: The table.
        leaving: Whose rows.
        columns: Columns of the table, in order.
        split: Splits to put beside them.
    """

    snapshot: Snapshot
    table: str
    leaving: Leaving
    columns: tuple[str, ...]
    split: SplitColumn | None = None

    @property
    def versions(self) -> dict[str, int]:
        """Version of each table that is read."""
        return dict(self.snapshot.versions)

    @cached_property
    def schema(self) -> pa.Schema:
        """The table's schema; vectors as lists of the size that its spec states."""
        fields = [self._vector or field if field.name == "values" else field for field in self._stored]
        return pa.schema([*fields, pa.field(SPLIT, pa.string())] if self.split is not None else fields)

    def stream(self, batch_ids: Sequence[str]) -> Iterator[Piece]:
        """Rows of these batches, in order of file.

        Raises:
            StoreError: A file is missing or damaged.
        """
        return read_ahead(piece for batch_id in batch_ids for piece in self._read(batch_id))

    @property
    def _stored(self) -> list[pa.Field]:
        return [schema_of(self.table).field(name) for name in self.columns]

    @cached_property
    def _vector(self) -> pa.Field | None:
        """The field of `values`, where the spec says how many there are."""
        spec = self.snapshot.specs.get(self.table)
        if spec is None or not spec.shape:
            return None
        number = schema_of(self.table).field("values").type.value_type
        return pa.field("values", pa.list_(number, math.prod(spec.shape)))

    def _read(self, batch_id: str) -> Iterator[Piece]:
        media = self.snapshot.read("media", batch_id, ("media_id",))
        shown = self.leaving.of(media["media_id"].combine_chunks())
        yield Piece(batch_id, self.schema.empty_table())
        for path in self.snapshot.paths(self.table, batch_id):
            for rows in self._pieces(path):
                is_shown = pc.is_in(rows["media_id"], value_set=shown)
                kept = rows if pc.all(is_shown).as_py() else rows.filter(is_shown)
                yield Piece(batch_id, self._finished(kept, batch_id, path))

    def _pieces(self, path: Path) -> Iterator[pa.Table]:
        """The rows of a file, some megabytes at a time."""
        wanted = list(dict.fromkeys(("media_id", *(name for name in self.columns if name != BATCH_ID))))
        try:
            with parquet_file(path) as file:
                there = [name for name in wanted if name in file.schema_arrow.names]
                for groups in _some_groups(file.metadata):
                    yield file.read_row_groups(groups, columns=there)
        except (OSError, pa.ArrowInvalid) as error:
            message = f"cannot read {str(path)!r} of table {self.table!r}, version {self.versions[self.table]}"
            message += f" ({reason_of(error)}); if the store has changed since, begin anew with --overwrite;"
            message += " else see what can be done: triptych verify"
            raise StoreError(message) from error

    def _finished(self, rows: pa.Table, batch_id: str, path: Path) -> pa.Table:
        there = with_batch(rows, batch_id)
        if self.split is not None:
            there[SPLIT] = self.split.of(rows["media_id"])
        columns = []
        for field in self.schema:
            column = there.get(field.name)
            column = pa.nulls(rows.num_rows, field.type) if column is None else column
            columns.append(_fixed(column, field, path) if pa.types.is_fixed_size_list(field.type) else column)
        return pa.table(columns, schema=self.schema)


def open_stored(store: Store, options: ExportOptions, as_of: Mapping[str, int] | None) -> StoredSource:
    """Look up a table's rows.

    Args:
        store: The store.
        options: Which table, columns, batches and media.
        as_of: Versions of the tables; the newest ones by default.

    Raises:
        ConfigError: A table, a column, a batch or splits are unknown.
        StoreError: A log cannot be read, or no longer reaches back.
    """
    table = table_named(store, options.names[0], as_of)
    if options.split and table.startswith("splits/"):
        message = f"table {table!r} has a column split of its own; leave out --split {options.split}"
        raise ConfigError(message)
    splits = [split_table(store, options.split)] if options.split else []
    snapshot = take_snapshot(store, [table, *splits, "media"], None if as_of is None else dict(as_of))
    check_columns(options.columns, schema_of(table).names)
    columns = options.columns or tuple(schema_of(table).names)
    split = read_split(store, splits[0], snapshot.versions) if splits else None
    return StoredSource(snapshot, table, who_leaves(snapshot, options), columns, split)


def table_named(store: Store, name: str, as_of: Mapping[str, int] | None = None) -> str:
    """The table that a name stands for: its own, or that of a feature.

    Raises:
        ConfigError: There is none, or it does not leave the store.
    """
    tables = store.tables()
    if name in NOT_OF_MEDIA:
        message = f"table {name!r} is of the store's own books, and names what was refused or forgotten: it is not"
        message += f" exported; look at it by: triptych sql 'from {name}'"
        raise ConfigError(message)
    if name in tables:
        return name
    features = [table.removeprefix("features/") for table in tables if table.startswith("features/")]
    bare = name.removeprefix("features/")
    if bare in {*features, *(key.partition("@")[0] for key in features)}:
        return f"features/{find_keys([bare], store, None if as_of is None else dict(as_of))[bare]}"
    known = [*(table for table in tables if table not in NOT_OF_MEDIA), *features]
    what = f"the store has no table {name!r} yet" if is_table(name) else f"there is no table or feature {name!r}"
    message = f"{what}; {nearest(name, known)}tables are {', '.join(known[: len(known) - len(features)]) or 'none'}"
    raise ConfigError(message)


def _some_groups(metadata: pq.FileMetaData) -> Iterator[list[int]]:
    groups: list[int] = []
    num_bytes = 0
    for index in range(metadata.num_row_groups):
        groups.append(index)
        num_bytes += metadata.row_group(index).total_byte_size
        if num_bytes >= PIECE_BYTES:
            yield groups
            groups, num_bytes = [], 0
    if groups:
        yield groups


def _fixed(column: pa.ChunkedArray, field: pa.Field, path: Path) -> pa.ChunkedArray:
    """Lists as lists of the same size."""
    try:
        return column.cast(field.type)
    except pa.ArrowInvalid as error:
        message = f"a vector in {str(path)!r} has not the {field.type.list_size} numbers of its spec ({error});"
        raise StoreError(message + " see what can be done: triptych verify") from error
