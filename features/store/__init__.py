"""The feature store: Delta tables partitioned by batch, committed exactly once, planned without reading data."""

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
