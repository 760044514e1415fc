"""The commit loop: each batch of each table becomes visible whole, once, whatever dies when.

A batch's commit carries an application transaction `<stage>:<table>:<batch>` whose version is the batch's
generation. A fresh handle is asked for it first; a stale one is refused by Delta when a rival committed the
same id in between. So a commit that is repeated - by a retry, a second run, or a resumed one - does nothing.
"""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, NamedTuple

from features.errors import StoreError
from features.schema import BATCH_ID, schema_of
from features.store.files import reason_of
from features.store.storage import remedy
from features.store.store import files_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, RemoveAction

    from features.spec import FeatureSpec
    from features.store.files import FileRecord
    from features.store.store import Store

    Settle = Callable[[DeltaTable, Sequence[FileRecord]], "Settled"]

_MAX_ATTEMPTS = 50
_FIRST_WAIT_SECONDS = 0.02
_LONGEST_WAIT_SECONDS = 2.0


class Commit(NamedTuple):
    """What became visible by a commit; empty where all of it was visible before, or was settled away."""

    table: str
    batch_ids: tuple[str, ...]
    num_files: int
    num_rows: int


class Settled(NamedTuple):
    """Files to commit after a look at the fresh table, and live files (path, batch) that they replace."""

    files: Sequence[FileRecord]
    removed: Sequence[tuple[str, str]] = ()


def commit_files(
    store: Store,
    table: str,
    files: Sequence[FileRecord],
    *,
    stage: str,
    generation: int = 1,
    metadata: Mapping[str, str] | None = None,
    spec: FeatureSpec | None = None,
    settle: Settle | None = None,
) -> Commit:
    """Make the files of one or more batches visible in a table, once.

    Args:
        store: The store.
        table: Table that the files were written for.
        files: All files of the batches.
        stage: Stage that made them; part of the transaction's name.
        generation: 1 for new batches; a higher one replaces the batches' files.
        metadata: Lineage kept in the commit: run, code version, inputs.
        spec: For a feature table: what made it.
        settle: Called with the fresh table on each try; may replace files. Such commits, and those that remove files,
            are serial on a table.

    Returns:
        What was committed by this call.

    Raises:
        StoreError: The commit lost to rivals too often, or the log cannot be written.
    """
    from features.store.cleansing import Gate  # it commits, too

    gate = Gate(store, table, stage)
    for attempt in range(_MAX_ATTEMPTS):
        handle = store.ensure(table, spec)
        new = _not_yet_committed(handle, table, files, stage, generation)
        if not new:
            return Commit(table, (), 0, 0)
        settled = settle(handle, new) if settle else Settled(new)
        if not settled.files:
            return Commit(table, (), 0, 0)
        settled = gate.let_through(settled)
        batch_ids = tuple(sorted({file.batch_id for file in new}))
        removed = set(settled.removed)
        if generation > 1:
            removed |= set(live_files(handle, batch_ids))
        transactions = {_app_id(stage, table, batch_id): generation for batch_id in batch_ids}
        if settle or removed:  # two that remove the same file must not both add its rows again
            transactions |= _serial(handle, table)
        try:
            _commit_once(
                handle, table, settled.files, sorted(removed), transactions, {**(metadata or {}), "stage": stage}
            )
        except _commit_failed():
            _wait(attempt)
            continue
        except OSError as error:
            raise _not_written(store, table, error) from error
        gate.look_again(settled.files)
        made = {file.batch_id for file in settled.files}.intersection(batch_ids)
        num_rows = sum(file.num_rows for file in settled.files)
        return Commit(table, tuple(sorted(made)), len(settled.files), num_rows)
    raise _lost(table)


def remove_files(
    store: Store, table: str, paths: Collection[str], *, stage: str, metadata: Mapping[str, str] | None = None
) -> int:
    """Take files out of a table's log; their rows are seen no more. What is gone already is no matter.

    Serial on the table, as all commits that remove files: what a rival has just merged or replaced is looked at anew.

    Args:
        store: The store.
        table: Name of the table.
        paths: Files, as the log lists them.
        stage: Why they go; kept in the commit.
        metadata: Lineage kept in the commit.

    Returns:
        Number of files that were taken out.

    Raises:
        StoreError: The commit lost to rivals too often, or the log cannot be written.
    """
    for attempt in range(_MAX_ATTEMPTS):
        handle = store.load(table)
        removed = [(path, batch_id) for path, batch_id in _all_live(handle) if path in set(paths)]
        if not removed:
            return 0
        try:
            _commit_once(handle, table, [], removed, _serial(handle, table), {**(metadata or {}), "stage": stage})
        except _commit_failed():
            _wait(attempt)
            continue
        except OSError as error:
            raise _not_written(store, table, error) from error
        return len(removed)
    raise _lost(table)


def _not_yet_committed(
    handle: DeltaTable, table: str, files: Sequence[FileRecord], stage: str, generation: int
) -> list[FileRecord]:
    batch_ids = {file.batch_id for file in files}
    done = {
        batch_id
        for batch_id in batch_ids
        if (handle.transaction_version(_app_id(stage, table, batch_id)) or 0) >= generation
    }
    return [file for file in files if file.batch_id not in done]


def _app_id(stage: str, table: str, batch_id: str) -> str:
    return f"{stage}:{table}:{batch_id}"


def live_files(handle: DeltaTable, batch_ids: Collection[str]) -> list[tuple[str, str]]:
    """Path and batch of the files that a handle lists for these batches."""
    wanted = set(batch_ids)
    return [(path, batch_id) for path, batch_id in _all_live(handle) if batch_id in wanted]


def _all_live(handle: DeltaTable) -> list[tuple[str, str]]:
    rows = files_of(handle).select(["path", BATCH_ID]).to_pylist()
    return [(row["path"], row[BATCH_ID]) for row in rows]


def _serial(handle: DeltaTable, table: str) -> dict[str, int]:
    """A transaction of which only one can follow the handle's version."""
    return {f"serial:{table}": handle.version() + 1}


def generation_of(store: Store, table: str, stage: str, batch_id: str) -> int:
    """Generation of a batch that a stage has committed to a table; 0 where it has not."""
    return generations_of(store, table, stage, [batch_id])[batch_id]


def generations_of(store: Store, table: str, stage: str, batch_ids: Iterable[str]) -> dict[str, int]:
    """Generations of batches that a stage has committed to a table, by one look; 0 where it has not."""
    if not store.has(table):
        return dict.fromkeys(batch_ids, 0)
    handle = store.load(table)
    return {b: handle.transaction_version(_app_id(stage, table, b)) or 0 for b in batch_ids}


def next_generations(store: Store, tables: Iterable[str], stage: str, batch_ids: Collection[str]) -> dict[str, int]:
    """The generation that doing batches again gets: above all that the stage has committed to any of its tables.

    A run that died between two tables leaves them apart; with the next of either one, the batch would never be whole.
    """
    found = [generations_of(store, table, stage, batch_ids) for table in tables]
    return {batch_id: 1 + max(generations[batch_id] for generations in found) for batch_id in batch_ids}


def forget_generations(store: Store, table: str, stage: str, batch_ids: Collection[str]) -> None:
    """Let a stage commit batches of a table anew, from generation 1: what it made of them was dropped elsewhere.

    Raises:
        StoreError: The write lost to rivals too often.
    """
    for attempt in range(_MAX_ATTEMPTS):
        handle = store.load(table)
        app_ids = [_app_id(stage, table, batch_id) for batch_id in batch_ids]
        known = [app_id for app_id in app_ids if handle.transaction_version(app_id)]
        if not known:
            return
        try:
            _commit_once(handle, table, [], [], dict.fromkeys(known, 0), {"stage": f"forget:{stage}"})
        except _commit_failed():
            _wait(attempt)
    raise _lost(table)


def _commit_once(
    handle: DeltaTable,
    table: str,
    files: Sequence[FileRecord],
    removed: Sequence[tuple[str, str]],
    transactions: Mapping[str, int],
    metadata: Mapping[str, str],
) -> None:
    from deltalake import CommitProperties, Transaction

    lineage = {**metadata, "checksums": json.dumps({file.path: file.checksum for file in files}, sort_keys=True)}
    actions: list[AddAction | RemoveAction] = [_add(file) for file in files]
    actions += [_remove(path, batch_id) for path, batch_id in removed]
    handle.create_write_transaction(
        actions,
        mode="append",
        schema=schema_of(table),
        partition_by=[BATCH_ID],
        commit_properties=CommitProperties(
            app_transactions=[Transaction(app_id, version) for app_id, version in transactions.items()],
            custom_metadata=lineage,
        ),
    )


def _add(file: FileRecord) -> AddAction:
    from deltalake.transaction import AddAction

    return AddAction(
        path=file.path,
        size=file.size_bytes,
        partition_values={BATCH_ID: file.batch_id},
        modification_time=time.time_ns() // 1_000_000,
        data_change=True,
        stats=json.dumps({"numRecords": file.num_rows}),
    )


def _remove(path: str, batch_id: str) -> RemoveAction:
    from deltalake.transaction import RemoveAction

    return RemoveAction(path, True, time.time_ns() // 1_000_000, partition_values={BATCH_ID: batch_id})


def _commit_failed() -> type[Exception]:
    from deltalake.exceptions import CommitFailedError

    kind: type[Exception] = CommitFailedError
    return kind


def _not_written(store: Store, table: str, error: OSError) -> StoreError:
    what = remedy(store.root, error, "free space or rights, then run again")
    return StoreError(f"cannot commit to table {table!r} in {store.root!r} ({reason_of(error)}); {what}")


def _lost(table: str) -> StoreError:
    return StoreError(
        f"the commit to table {table!r} lost to rivals {_MAX_ATTEMPTS} times; run again when they are done"
    )


def _wait(attempt: int) -> None:
    longest = min(_LONGEST_WAIT_SECONDS, _FIRST_WAIT_SECONDS * 2**attempt)
    time.sleep(random.uniform(0, longest))  # noqa: S311 - spreads rivals, not a secret
