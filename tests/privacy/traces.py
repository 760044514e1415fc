"""Searching all that lies below a store for words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from features.store import Store


def files_with(store: Store, words: Collection[str], *, tombstones: bool = False) -> set[str]:
    """Files that hold any of the words: Parquet column by column, all others (logs, models, report) byte by byte."""
    found = set()
    for path in sorted(store.path.rglob("*")):
        relative = path.relative_to(store.path).as_posix()
        if path.is_file() and (tombstones or not relative.startswith("tombstones/")):
            text = _decoded(path) + path.read_bytes().decode("latin-1") + relative
            found |= {relative for word in words if word in text}
    return found


def _decoded(path: Path) -> str:
    """All values but pictures and sounds, and the footer's entries."""
    if path.suffix != ".parquet":
        return ""
    table = pq.read_table(path, partitioning=None)
    columns = [name for name in table.column_names if not pa.types.is_binary(table.schema.field(name).type)]
    return repr(table.select(columns).to_pylist()) + repr(pq.read_metadata(path).metadata)
