"""Sweeping: what dead runs left, and old generations of files, once they are older than any job may run."""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from features.schema import BATCH_ID, is_table
from features.store.leases import dead_leases
from features.store.marker import MARKER
from features.store.publish import CLAIM, is_unfinished
from features.store.storage import remove_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from features.store.store import Store

_HOUR_SECONDS = 3600
_DATA = f"{BATCH_ID}=*/*.parquet"
_REMOVED_KEPT = "delta.deletedFileRetentionDuration"
_REMOVED_KEPT_HOURS = 168
_UNFINISHED_ENTRY = re.compile(r".*#\d+|_commit_.*\.tmp")
_HIDDEN_MODEL = re.compile(r"\.(\d+\.[0-9a-f]{32}|training-[0-9a-f]{16})")  # half-written, or left
DROPPED = ".dropped"
"""Folder of the store where tables go that are being dropped."""


class Stale(NamedTuple):
    """A file or folder that nothing needs."""

    path: Path
    size_bytes: int


def stale_files(store: Store, table: str, retention_hours: int) -> list[Stale]:
    """Parquet files of a table that its log does not list, or no longer, for so long.

    A file that the log removed counts from its removal, one that no log ever listed from its last change. Delta is
    only asked which ones: its own sweeping would also take files that are not ours, and write to the log.
    """
    folder = store.table_path(table)
    paths = store.load(table).vacuum(retention_hours, dry_run=True, enforce_retention_duration=False, full=True)
    ours = (folder / path for path in paths if re.fullmatch(rf"{BATCH_ID}=[^/]+/[^/]+\.parquet", path))
    return _sized(ours)


def keep_removed(store: Store, table: str, retention_hours: int) -> None:
    """Let the log remember removed files as long as the retention: by itself it forgets them after a week."""
    wanted = f"interval {retention_hours} hours"
    handle = store.load(table)
    if retention_hours > _REMOVED_KEPT_HOURS and handle.metadata().configuration.get(_REMOVED_KEPT) != wanted:
        handle.alter.set_table_properties({_REMOVED_KEPT: wanted})


def stale_leftovers(store: Store, retention_hours: int) -> list[Stale]:
    """What else dead runs left in a store: unfinished models, temporary files, leases, tables that never began."""
    cutoff = time.time() - retention_hours * _HOUR_SECONDS
    old = [path for path in _temporary(store) if _changed(path) < cutoff]
    claims = (store.path / "models").glob(f"*/*/{CLAIM}")
    old += [path.parent for path in claims if _changed(path) < cutoff and is_unfinished(path.parent)]
    dropped = (store.path / DROPPED).glob("*")
    return _sized([*old, *dead_leases(store), *dropped])


def _temporary(store: Store) -> Iterator[Path]:
    root = store.path
    yield from (path for path in (root / "models").glob("*/.*") if _HIDDEN_MODEL.fullmatch(path.name))
    yield from root.glob(f".{MARKER}.*")
    yield from (path for path in (root / ".index").glob("*") if path.name.count(".") > 1)
    made = set(store.tables())
    for folder in (*root.glob("*"), *root.glob("*/*")):
        if not folder.is_dir() or not is_table(folder.relative_to(root).as_posix()):
            continue
        yield from (path for path in (folder / "_delta_log").glob("*") if _UNFINISHED_ENTRY.fullmatch(path.name))
        if folder.relative_to(root).as_posix() not in made:
            yield from folder.glob(_DATA)


def sweep(stale: Iterable[Stale]) -> None:
    """Delete; what a rival has deleted in between is no matter.

    Raises:
        OSError: The folder may not be written.
    """
    for path, _ in stale:
        with contextlib.suppress(FileNotFoundError):
            if path.is_dir():
                remove_folder(path)
            else:
                path.unlink()


def _sized(paths: Iterable[Path]) -> list[Stale]:
    """Those of the paths that exist: a log names what it removed also when it is gone."""
    found = []
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            inside = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
            found.append(Stale(path, sum(file.stat().st_size for file in inside)))
    return found


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()
