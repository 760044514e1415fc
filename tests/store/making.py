"""Small rows and committed batches, for tests of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from features.store import Commit, FileRecord, Store, commit_files, write_file
from features.store.plan import Source
from features.store.rows import table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND = 1_000_000


def write(store: Store, table: str, batch_id: str, rows: Sequence[dict[str, Any]]) -> FileRecord:
    return write_file(store, table, batch_id, table_of(table, rows))


def put(
    store: Store, table: str, batch_id: str, rows: Sequence[dict[str, Any]], *, stage: str = "test", generation: int = 1
) -> Commit:
    """Write and commit one file of one batch."""
    return commit_files(store, table, [write(store, table, batch_id, rows)], stage=stage, generation=generation)


def media(media_id: str, **more: Any) -> dict[str, Any]:
    """A row of `media`."""
    row = {"media_id": media_id, "name": f"{media_id}.mp4", "uri": f"/videos/{media_id}.mp4", "consent": "unstated"}
    return {**row, "duration_us": 10 * SECOND, "subject_ids": [], **more}


def result(media_id: str | None, uri: str, status: str = "done") -> dict[str, Any]:
    """A row of `source_results`."""
    return {"uri": uri, "media_id": media_id, "status": status}


def frames(media_id: str, count: int) -> list[dict[str, Any]]:
    """Rows of `frames`, one a second."""
    return [{"media_id": media_id, "t_us": index * SECOND, "jpeg": b"x"} for index in range(count)]


def source(name: str, size_bytes: int = 10, mtime_us: int = 1) -> Source:
    return Source(f"/videos/{name}", size_bytes, mtime_us)
