"""The feature store: Delta tables partitioned by batch, committed exactly once, planned without reading data.

Its names are imported when they are asked for: whoever wants only the rows of a record does not load Delta.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from features.store.commit import Commit, commit_files
    from features.store.files import FileRecord, write_file
    from features.store.plan import PlannedBatch, pending_batches, plan_sources, unfinished_batches
    from features.store.read import read_table
    from features.store.store import Store

__all__ = [
    "Commit",
    "FileRecord",
    "PlannedBatch",
    "Store",
    "commit_files",
    "pending_batches",
    "plan_sources",
    "read_table",
    "unfinished_batches",
    "write_file",
]

_HOMES = {
    "Commit": "commit",
    "FileRecord": "files",
    "PlannedBatch": "plan",
    "Store": "store",
    "commit_files": "commit",
    "pending_batches": "plan",
    "plan_sources": "plan",
    "read_table": "read",
    "unfinished_batches": "plan",
    "write_file": "files",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
