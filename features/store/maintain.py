"""Upkeep: a batch's files are merged, what nothing needs is swept, logs are checkpointed and cleaned."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError, StoreError
from features.store.files import reason_of
from features.store.leases import Leases, live_leases
from features.store.lineage import Lineage, code_version
from features.store.merge import Merged, merge_files, several_files
from features.store.storage import remedy
from features.store.sweep import keep_removed, stale_files, stale_leftovers, sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.store.store import Store
    from features.store.sweep import Stale

RETENTION_HOURS = 168
"""How long files stay that nothing lists, and removed ones that older versions still list."""
_SAFE_HOURS = 24
_LEASE = "maintain"


class TableUpkeep(NamedTuple):
    """What was done for a table, or would be.

    Attributes:
        table: Name of the table.
        merged: Files that went into others.
        swept: Files that were deleted.
        freed_bytes: Their size, and that of the log's files.
        log_files: Entries and checkpoints of the log that were deleted.
    """

    table: str
    merged: int
    swept: int
    freed_bytes: int
    log_files: int


class Upkeep(NamedTuple):
    """What was done for a store; `others` are leftovers outside of tables that are in use."""

    tables: tuple[TableUpkeep, ...]
    others: int
    others_bytes: int
    problems: tuple[str, ...]

    @property
    def freed_bytes(self) -> int:
        """All that was freed."""
        return self.others_bytes + sum(table.freed_bytes for table in self.tables)


def check_retention(store: Store, retention_hours: int, *, force: bool) -> None:
    """Refuse to sweep what a job may still be writing.

    Args:
        store: The store.
        retention_hours: How old a file must be.
        force: The user says that nothing runs; the leases are asked all the same.

    Raises:
        ConfigError: The retention is negative, or short and not forced.
        StoreError: It is short, and a run is at work.
    """
    if retention_hours < 0:
        message = f"the retention must be at least 0 hours, not {retention_hours}; the default is {RETENTION_HOURS}"
        raise ConfigError(message)
    if retention_hours >= _SAFE_HOURS:
        return
    if not force:
        message = (
            f"a retention of {retention_hours} hours may sweep what a job is still writing; "
            f"name {_SAFE_HOURS} hours or more, or add --yes when nothing runs on the store"
        )
        raise ConfigError(message)
    at_work = sorted({f"run {holder.run_id} on {holder.host}" for _, holder in live_leases(store)})
    if at_work:
        message = (
            f"{', '.join(at_work)} is at work on the store {store.root!r}; with a retention of {retention_hours} hours "
            "its files would be swept: wait until it ends"
        )
        raise StoreError(message)


def maintain(
    store: Store,
    run_id: str,
    *,
    retention_hours: int = RETENTION_HOURS,
    force: bool = False,
    dry_run: bool = False,
    on_progress: Callable[[str], None] = lambda _: None,
) -> Upkeep:
    """Complete what was to be forgotten; merge, sweep, checkpoint and clean all tables.

    Args:
        store: The store.
        run_id: This run, for the commits' metadata.
        retention_hours: How long a file must have been unlisted, longer than any job may run. Older versions can be
            read as long.
        force: Allow a retention below a day.
        dry_run: Only find out what would be done. Logs are not looked at, and what merging leaves is not counted.
        on_progress: Called with each table's name.

    Raises:
        ConfigError, StoreError: As of `check_retention`; a log is damaged; the disk is full or may not be written.
    """
    from features.privacy.erasure import complete_erasure

    if not dry_run:
        check_retention(store, retention_hours, force=force)
    made: list[TableUpkeep] = []
    problems: list[str] = []
    with Leases(store, run_id) as leases:
        if not dry_run:
            leases.take([_LEASE])  # so that another does not sweep what this one is writing
            complete_erasure(store, run_id)
        for table in store.tables():
            on_progress(table)
            upkeep, told = _maintain_table(store, table, run_id, retention_hours, dry_run)
            made.append(upkeep)
            problems += told
        others = stale_leftovers(store, retention_hours)
        if not dry_run:
            _sweep(store, others)
    return Upkeep(tuple(made), len(others), sum(stale.size_bytes for stale in others), tuple(problems))


def _maintain_table(
    store: Store, table: str, run_id: str, retention_hours: int, dry_run: bool
) -> tuple[TableUpkeep, tuple[str, ...]]:
    if dry_run:
        merged = Merged(sum(len(paths) - 1 for paths in several_files(store, table).values()))
    else:
        metadata = Lineage(run_id, "maintain", code_version()).metadata()
        merged = merge_files(store, table, metadata=metadata)
        keep_removed(store, table, retention_hours)
    stale = stale_files(store, table, retention_hours)
    freed, log_files = sum(one.size_bytes for one in stale), 0
    if not dry_run:
        _sweep(store, stale)
        log_files, log_bytes = _clean_log(store, table)
        freed += log_bytes
    return TableUpkeep(table, merged.num_files, len(stale), freed, log_files), merged.problems


def _sweep(store: Store, stale: list[Stale]) -> None:
    try:
        sweep(stale)
    except OSError as error:
        what = remedy(store.root, error, "see to the rights there, then run again")
        message = f"cannot sweep the store {store.root!r} ({reason_of(error)}); {what}"
        raise StoreError(message) from error


def _clean_log(store: Store, table: str) -> tuple[int, int]:
    """Checkpoint a log and delete its entries that are older than `delta.logRetentionDuration`, 30 days by default.

    Application transactions and the removals of the last week stand in the checkpoint.
    """
    from deltalake.exceptions import DeltaError

    log = store.table_path(table) / "_delta_log"
    handle = store.load(table)
    try:
        if not (log / f"{handle.version():020}.checkpoint.parquet").exists():
            handle.create_checkpoint()
        before = _sizes(log)
        handle.cleanup_metadata()
    except (DeltaError, OSError) as error:
        what = remedy(store.root, error, "free space, then run again")
        message = f"cannot checkpoint table {table!r} in {store.root!r} ({reason_of(error)}); {what}"
        raise StoreError(message) from error
    gone = before.keys() - _sizes(log).keys()
    return len(gone), sum(before[name] for name in gone)


def _sizes(log: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in log.iterdir() if path.is_file()}
