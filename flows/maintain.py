"""The maintain flow: the upkeep of a store, for a schedule."""

from __future__ import annotations

from prefect import flow
from prefect.artifacts import create_table_artifact

from features.errors import StoreError
from features.store import Store
from features.store.maintain import RETENTION_HOURS
from features.store.maintain import maintain as maintain_store
from flows.stages import new_run_id


@flow(name="maintain", description="Merge a batch's files, sweep what nothing lists, checkpoint and clean the logs.")
def maintain(store: str = "./triptych-store", retention_hours: int = RETENTION_HOURS) -> int:
    """The upkeep of a store.

    Args:
        store: Folder of the store.
        retention_hours: Sweep what nothing has listed for so many hours, longer than any job runs; at least 24.

    Returns:
        Bytes that were freed.
    """
    run_id = new_run_id()
    upkeep = maintain_store(Store.open(store), run_id, retention_hours=retention_hours)
    rows = [item._asdict() for item in upkeep.tables]
    create_table_artifact(key="upkeep", table=rows, description=f"run {run_id} of {store}")
    if upkeep.problems:
        raise StoreError("; ".join(upkeep.problems))
    return upkeep.freed_bytes
