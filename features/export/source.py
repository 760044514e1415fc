"""Where an export's rows come from: a table as it is stored, or features aligned with segments."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import ConfigError
from features.fusion.settings import nearest
from features.schema import BATCH_ID
from features.store.read import read_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from features.export.leaving import Leaving
    from features.store.store import Store

Item = TypeVar("Item")

SPLIT = "split"
"""Column of a row's split."""

PIECE_BYTES = 16 << 20
"""Bytes of rows in a piece, about: what is written at once."""


class Piece(NamedTuple):
    """Rows of one batch; all pieces of a batch follow each other, and each batch has one at least."""

    batch_id: str
    rows: pa.Table


class Source(Protocol):
    """Rows to export, as the store was at some versions."""

    @property
    def leaving(self) -> Leaving:
        """Whose rows they are, and in which batches."""

    @property
    def schema(self) -> pa.Schema:
        """Schema of the rows; vectors are lists of a fixed size."""

    @property
    def versions(self) -> dict[str, int]:
        """Version of each table that is read."""

    def stream(self, batch_ids: Sequence[str]) -> Iterator[Piece]:
        """Rows of these batches, in order.

        Raises:
            StoreError: A file is missing or damaged.
        """


class SplitColumn(NamedTuple):
    """The split of each media, from a table of splits.

    Attributes:
        media_ids: Media that have one.
        names: The split of each.
    """

    media_ids: pa.Array
    names: pa.Array

    def of(self, media_ids: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Split of each of these media; null where it has none."""
        place = pc.index_in(media_ids, value_set=self.media_ids)
        return self.names.take(place.combine_chunks() if isinstance(place, pa.ChunkedArray) else place)


def split_table(store: Store, name: str) -> str:
    """The table of some splits.

    Raises:
        ConfigError: There are no splits of this name.
    """
    known = [table.removeprefix("splits/") for table in store.tables() if table.startswith("splits/")]
    if name not in known:
        message = f"there are no splits {name!r}; {nearest(name, known)}the store has {', '.join(known) or 'none'};"
        raise ConfigError(message + " training deals them, and labels with a column split bring them")
    return f"splits/{name}"


def read_split(store: Store, table: str, versions: Mapping[str, int]) -> SplitColumn:
    """The splits of a table, as of some versions."""
    rows = read_table(store, table, columns=["media_id", SPLIT], versions=versions)
    return SplitColumn(rows["media_id"].combine_chunks(), rows[SPLIT].combine_chunks())


def check_columns(columns: Sequence[str], known: Sequence[str]) -> None:
    """Refuse columns that are unknown, or named twice.

    Raises:
        ConfigError: A column is none of those known.
    """
    for name in columns:
        if name not in known:
            message = f"there is no column {name!r}; {nearest(name, list(known))}columns are {', '.join(known)}"
            raise ConfigError(message)
        if columns.count(name) > 1:
            message = f"column {name!r} is named {columns.count(name)} times; name each once"
            raise ConfigError(message)


def with_batch(rows: pa.Table, batch_id: str) -> dict[str, pa.Array]:
    """The columns of rows, and that of their batch."""
    batch = pa.array([batch_id], pa.string()).take(pa.array([0] * rows.num_rows, pa.int32()))
    return {BATCH_ID: batch, **dict(zip(rows.column_names, rows.columns, strict=True))}


def cut(batch_id: str, rows: pa.Table) -> Iterator[Piece]:
    """The rows of a batch in pieces, one at least.

    A piece is a copy: pyarrow 25 filters a slice of lists of lists of fixed sizes wrongly, and says nothing.
    """
    step = max(1, rows.num_rows * PIECE_BYTES // max(rows.nbytes, 1))
    if step >= rows.num_rows:
        yield Piece(batch_id, rows)
        return
    for start in range(0, rows.num_rows, step):
        yield Piece(batch_id, rows.take(pa.array(range(start, min(start + step, rows.num_rows)), pa.int64())))


def read_ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The same items, each made in a thread while those before it are used, at most `depth` of them ahead."""
    source, nothing = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="export") as pool:
        waiting = deque(pool.submit(next, source, nothing) for _ in range(depth))
        while (item := waiting.popleft().result()) is not nothing:
            waiting.append(pool.submit(next, source, nothing))
            yield item  # type: ignore[misc] # it is none but an item
