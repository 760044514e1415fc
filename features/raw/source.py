"""Where raw inputs come from: rows of `frames` or `audio`, in a store's files or in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray


class RowSource(Protocol):
    """Rows of base tables, as `features.reading.snapshot.Snapshot` gives them."""

    def read(self, table: str, batch_id: str, columns: Sequence[str]) -> pa.Table:
        """Rows of a batch."""

    def pick(
        self, table: str, batch_id: str, columns: Sequence[str], places: NDArray[np.int64]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Some of these rows, each place once, in order."""


class MemoryRows:
    """Rows of base tables that are in memory, of one batch whatever it is called.

    Args:
        tables: Rows by table.
    """

    def __init__(self, tables: Mapping[str, pa.Table]) -> None:
        self._tables = dict(tables)

    def read(self, table: str, batch_id: str, columns: Sequence[str]) -> pa.Table:
        """Rows of a table."""
        del batch_id
        return self._tables[table].select(list(columns))

    def pick(
        self, table: str, batch_id: str, columns: Sequence[str], places: NDArray[np.int64]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Some rows of a table, each place once, in order."""
        del batch_id
        wanted = np.unique(places)
        rows = self._tables[table].select(list(columns)).take(wanted)
        yield from zip(wanted.tolist(), rows.to_pylist(), strict=True)
