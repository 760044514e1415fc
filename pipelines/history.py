"""What runs took that were made before records were kept: from the table `runs`, and the footers of what they wrote."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from features.errors import StoreError
from features.planning.records import RunRecord, StageRecord
from features.planning.work import work_in
from features.schema import BATCH_ID
from features.store.lineage import read_lineage
from features.store.read import read_table
from pipelines.reading import maker_of

if TYPE_CHECKING:
    from features.store import Store

_NEWEST_FILES = 64
_RUNS = 5
_BATCHES_A_WORKER = 2


def records_of_older_runs(store: Store) -> tuple[RunRecord, ...]:
    """The newest runs of ingest and extract, newest first, as far as the store tells.

    What they took is told in seconds of time. It counts as so many CPU seconds on each core of this machine, which is
    an upper bound.
    """
    if not store.has("runs"):
        return ()
    rows = read_table(store, "runs").sort_by([("started_at", "descending")]).to_pylist()
    done = [row for row in rows if row["status"] == "done" and row["stage"] in ("ingest", "extract")]
    tables = ["media", *(table for table in store.tables() if table.startswith("coverage/"))] if done else []
    written = {table: _batches_by_run(store, table) for table in tables}
    records = [_record(store, row["run_id"], row["stage"], row["seconds"], written) for row in done[:_RUNS]]
    return tuple(record for record in records if record is not None)


def _record(
    store: Store, run_id: str, stage: str, seconds: float, written: dict[str, dict[str, set[str]]]
) -> RunRecord | None:
    tables = [table for table in written if (table == "media") == (stage == "ingest") and run_id in written[table]]
    batch_ids = sorted(set().union(*(written[table][run_id] for table in tables)))
    if not batch_ids:
        return None
    workers = os.cpu_count() or 1
    targets = tuple(maker_of(store, table.partition("/")[2]) for table in tables if table != "media")
    one = StageRecord(
        stage=stage,
        targets=targets,
        num_waves=math.ceil(len(batch_ids) / (_BATCHES_A_WORKER * workers)),
        num_workers=workers,
        cpu_seconds=seconds * workers,
        wall_seconds=seconds,
        work=work_in(store, batch_ids),
        num_batches=len(batch_ids),
    )
    return RunRecord(run_id, stage, (one,))


def _batches_by_run(store: Store, table: str) -> dict[str, set[str]]:
    """Batches of the newest files of a table, by the run that made them."""
    files = store.files(table).sort_by([(BATCH_ID, "descending")]).slice(0, _NEWEST_FILES)
    found: dict[str, set[str]] = {}
    for file in files.to_pylist():
        try:
            made = read_lineage(store.table_path(table) / file["path"])
        except StoreError:
            continue  # `verify` finds what is damaged
        if made:
            found.setdefault(made[0].run_id, set()).add(file[BATCH_ID])
    return found
