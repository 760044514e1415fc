"""The columns of an opened reader: which feature tables they come from, and how a batch's rows become them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError
from features.fusion.alignment import POOLS, Pooled, Sequences, check_ids, pad_by_overlap, pool_by_overlap, width_of
from features.fusion.settings import nearest
from features.reading.raw import RAW_TABLES, fixed_lists, with_masks
from features.reading.snapshot import version_at
from features.records import WITH_ROWS
from features.schema import schema_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from features.reading.snapshot import AsOf, Snapshot
    from features.store.store import Store

_FAMILY = "features/"
_COLUMNS = ("media_id", "start_us", "end_us", "values")


class Padded(NamedTuple):
    """Instead of pooling: the rows that overlap a segment, in order of time, the first `max_len` of them."""

    max_len: int


Pool = str | Padded
"""A name of `features.fusion.alignment.POOLS`, or `Padded(max_len)`."""


class FeatureColumn(NamedTuple):
    """A feature as a reader gives it.

    Attributes:
        name: Name of the column, as it was asked for.
        key: `<name>@<version>` of the table.
        width: Numbers in a vector.
        pool: How rows become one vector a segment, or a sequence.
    """

    name: str
    key: str
    width: int
    pool: Pool

    @property
    def table(self) -> str:
        """Table of the vectors."""
        return f"{_FAMILY}{self.key}"

    @property
    def coverage_table(self) -> str:
        """Table that tells why there are none."""
        return f"coverage/{self.key}"

    @property
    def number(self) -> pa.DataType:
        """Type of the numbers: float32, or int32 for ids."""
        return schema_of(self.table).field("values").type.value_type

    @property
    def fields(self) -> tuple[pa.Field, ...]:
        """The vector (null where absent), and the masks that say whether and why."""
        vector = pa.list_(self.number, self.width)
        is_padded = isinstance(self.pool, Padded)
        kind = pa.list_(vector, self.pool.max_len) if isinstance(self.pool, Padded) else vector
        return with_masks(self.name, kind, has_length=is_padded)

    def read(
        self, snapshot: Snapshot, batch_id: str, segments: pa.Table, wanted: frozenset[str], media_id: str | None
    ) -> dict[str, pa.Array]:
        """The feature's columns for the segments of a batch; the vectors are read only where they are wanted."""
        status = self._status(snapshot, batch_id, segments)
        columns: dict[str, pa.Array] = {f"{self.name}:status": status}
        if wanted.isdisjoint(field.name for field in self.fields[:-1]):
            return columns
        rows = snapshot.read(self.table, batch_id, _COLUMNS, media_id)
        is_ok = pc.is_in(status, value_set=pa.array(sorted(WITH_ROWS)))
        is_ok = np.asarray(is_ok.to_numpy(zero_copy_only=False), np.bool_)
        return columns | self._aligned(segments, rows, is_ok)

    def _status(self, snapshot: Snapshot, batch_id: str, segments: pa.Table) -> pa.Array:
        """Coverage of each segment's media; null where the extractor has not run."""
        coverage = snapshot.read(self.coverage_table, batch_id, ("media_id", "status"))
        place = pc.index_in(segments["media_id"], value_set=coverage["media_id"].combine_chunks())
        return _one(coverage["status"]).take(_one(place))

    def _aligned(self, segments: pa.Table, rows: pa.Table, is_ok: NDArray[np.bool_]) -> dict[str, pa.Array]:
        shape = (self.width,)
        if isinstance(self.pool, Padded):
            padded = pad_by_overlap(segments, rows, shape, self.pool.max_len)
            lengths = np.where(is_ok, padded.length, 0).astype(np.int32)
            return {f"{self.name}:length": pa.array(lengths), **self._masked(padded, is_ok)}
        return self._masked(pool_by_overlap(segments, rows, shape, self.pool), is_ok)

    def _masked(self, found: Pooled | Sequences, is_ok: NDArray[np.bool_]) -> dict[str, pa.Array]:
        present = found.present & is_ok
        if not is_ok.all():
            found.values[~is_ok] = 0
        values = found.values.astype(self.number.to_pandas_dtype(), copy=False)
        return {
            self.name: fixed_lists(values, present),
            f"{self.name}:present": pa.array(present),
            f"{self.name}:nearest": pa.array(found.nearest & present),
        }


def feature_columns(
    keys: Mapping[str, str], pool: Pool | Mapping[str, Pool], snapshot: Snapshot
) -> tuple[FeatureColumn, ...]:
    """The features that were asked for, as they are in the snapshot.

    Args:
        keys: As of `find_keys`.
        pool: One for all, or by name; `mean` for those that it does not name.
        snapshot: Of the feature tables.

    Raises:
        ConfigError: A way to pool is unknown, is for a feature that is not read, or would make numbers of ids.
    """
    pools = pool if isinstance(pool, Mapping) else dict.fromkeys(keys, pool)
    for name, how in pools.items():
        _check_pool(name, how, list(keys))
    columns = tuple(
        FeatureColumn(name, key, _width(snapshot, f"{_FAMILY}{key}"), pools.get(name, "mean"))
        for name, key in keys.items()
    )
    for column in columns:
        if isinstance(column.pool, str):
            check_ids(f"feature {column.name!r}", column.number, column.pool)
    return columns


def find_keys(names: Sequence[str], store: Store, as_of: AsOf) -> dict[str, str]:
    """The key of each feature, `<name>@<version>`, by the name that it was asked for.

    A bare name stands for its newest version: of those that `as_of` names, or that had been made by then.

    Raises:
        ConfigError: There is no such feature.
    """
    known = [table.removeprefix(_FAMILY) for table in store.tables() if table.startswith(_FAMILY)]
    return {name: _key(name, known, store, as_of) for name in names}


def _key(name: str, known: Sequence[str], store: Store, as_of: AsOf) -> str:
    keys = sorted((key for key in known if name in (key, key.partition("@")[0])), key=_version)
    if isinstance(as_of, datetime):
        keys = [key for key in keys if version_at(store, f"{_FAMILY}{key}", as_of) is not None]
    elif as_of:
        keys = [key for key in keys if f"{_FAMILY}{key}" in as_of] or keys
    if not keys:
        hint = nearest(name, [*known, *(key.partition("@")[0] for key in known)])
        when = f" at {as_of.isoformat()}" if isinstance(as_of, datetime) else ""
        message = f"there is no feature {name!r}{when}; {hint}the store has {', '.join(sorted(known)) or 'none'};"
        message += " make it with: triptych extract"
        raise ConfigError(message)
    return keys[-1]


def _version(key: str) -> int:
    text = key.partition("@")[2]
    return int(text) if text.isdigit() else -1


def _check_pool(name: str, pool: Pool, names: Sequence[str]) -> None:
    if name in RAW_TABLES:
        message = f"raw input {name!r} is an array a segment, and is not pooled; leave it out of pool"
        raise ConfigError(message)
    if name not in names:
        message = f"pool names {name!r}, which is not read; {nearest(name, list(names))}read are {', '.join(names)}"
        raise ConfigError(message)
    if isinstance(pool, Padded):
        if pool.max_len < 1:
            message = f"feature {name!r} cannot be padded to {pool.max_len} rows; give a max_len of at least 1"
            raise ConfigError(message)
    elif pool not in POOLS:
        hint = nearest(str(pool), list(POOLS))
        message = f"feature {name!r} cannot be pooled by {pool!r}; {hint}write {', '.join(POOLS)}, or Padded(max_len)"
        raise ConfigError(message)


def _width(snapshot: Snapshot, table: str) -> int:
    """Numbers in a vector, as the table's spec or its first row says; 1 where no row was ever written."""
    spec = snapshot.specs.get(table)
    if spec is not None and spec.shape:
        return math.prod(spec.shape)
    for batch_id in snapshot.files[table]:
        rows = snapshot.read(table, batch_id, ("values",))
        if rows.num_rows:
            return width_of(rows)
    return 1


def _one(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
