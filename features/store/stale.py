"""Which batches were made from rows that have been replaced since: of a retried media, say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.errors import StoreError
from features.schema import BATCH_ID
from features.store.lineage import read_lineage

if TYPE_CHECKING:
    from collections.abc import Collection

    from features.store.store import Store

    Files = dict[str, frozenset[str]]


def stale_batches(store: Store, table: str, inputs: Collection[str], batch_ids: Collection[str]) -> tuple[str, ...]:
    """Batches of a table that were made from other files of its inputs than are live now.

    Args:
        store: The store.
        table: Such as `scores/sentiment@1`.
        inputs: Tables to look at, of those that the table's lineage names.
        batch_ids: Batches to look at.

    Returns:
        The stale ones, sorted. A version that the inputs' logs no longer hold counts as other files.

    Raises:
        StoreError: A file of the table is missing or damaged.
    """
    if not store.has(table):
        return ()
    wanted, live = set(batch_ids), _Versions(store)
    stale = set()
    for file in store.files(table).to_pylist():
        batch_id = file[BATCH_ID]
        if batch_id in wanted:
            made = read_lineage(store.table_path(table) / file["path"])
            then = {name: version for name, version in made[-1].inputs if name in inputs} if made else {}
            if any(live.files(name, None, batch_id) != live.files(name, then[name], batch_id) for name in then):
                stale.add(batch_id)
    return tuple(sorted(stale))


class _Versions:
    """Files of batches by table and version, each version looked at once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._seen: dict[tuple[str, int | None], Files | None] = {}

    def files(self, table: str, version: int | None, batch_id: str) -> frozenset[str] | None:
        """Files of a batch; None where the log no longer holds the version."""
        key = (table, version)
        if key not in self._seen:
            self._seen[key] = self._look(table, version)
        found = self._seen[key]
        return None if found is None else found.get(batch_id, frozenset())

    def _look(self, table: str, version: int | None) -> Files | None:
        try:
            rows = self._store.files(table, version).to_pylist()
        except StoreError:
            if version is None:
                raise
            return None
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row[BATCH_ID], set()).add(row["path"])
        return {batch_id: frozenset(paths) for batch_id, paths in found.items()}
