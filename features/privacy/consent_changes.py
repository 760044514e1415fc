"""Writing what a consent file makes of media into `media.consent`; readers ask it, so it holds at once for all of them.

No content goes: `forget` erases. The write is repeated on the fresh table where a rival was faster, so that of a row
only the consent changes.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.schema import BATCH_ID
from features.store.commit import Settled, commit_files, live_files
from features.store.files import write_file
from features.store.lineage import Lineage, carried, code_version
from features.store.plan import waves
from features.store.read import read_committed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deltalake import DeltaTable

    from features.privacy.consent_policy import ConsentPolicy
    from features.privacy.consent_review import Judged
    from features.store.files import FileRecord
    from features.store.store import Store

    Change = Callable[[pa.Table], pa.Table]

STAGE = "consent"
"""Stage of the commits."""

_TABLE = "media"
_BATCHES_A_COMMIT = 256


def write_changes(store: Store, policy: ConsentPolicy, changes: Sequence[Judged], run_id: str) -> None:
    """Let `media.consent` say what a file was found to say of some media, a commit for some batches at a time.

    Args:
        store: The store.
        policy: The file, for lineage.
        changes: What `review` found.
        run_id: For lineage.

    Raises:
        StoreError: The table cannot be read or written.
    """
    texts: dict[str, dict[str, str]] = {}
    for change in changes:
        texts.setdefault(change.batch_id, {})[change.media_id] = change.after
    for batch_ids in waves(sorted(texts), _BATCHES_A_COMMIT):
        lineage = Lineage(run_id, STAGE, code_version(), fingerprint=policy.fingerprint)
        rewrite_media(store, {batch_id: partial(_with_consent, texts[batch_id]) for batch_id in batch_ids}, lineage)


def rewrite_media(store: Store, changes: Mapping[str, Change], lineage: Lineage) -> None:
    """Replace the rows of batches of `media` by changed ones, in one commit.

    Args:
        store: The store.
        changes: By batch: makes its rows of those that are there now; called again where a rival was faster.
        lineage: What changes them.

    Raises:
        StoreError: The table cannot be read or written.
    """
    once = replace(lineage, stage=f"{lineage.stage}:{uuid.uuid4().hex[:8]}")  # a second write is not the first again

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        del files  # rivals may have written in between: what counts is what is there now
        return _settled(store, handle, changes, once)

    first = _settled(store, store.load(_TABLE), changes, once)
    commit_files(store, _TABLE, first.files, stage=once.stage, metadata=once.metadata(), settle=settle)


def _settled(store: Store, handle: DeltaTable, changes: Mapping[str, Change], lineage: Lineage) -> Settled:
    """The batches' files as the handle lists them, and those that replace them."""
    live = live_files(handle, changes)
    rows = read_committed(store, _TABLE, batch_ids=changes, versions={_TABLE: handle.version()})
    files = []
    for batch_id in sorted({batch_id for _, batch_id in live}):
        own = rows.filter(pc.equal(rows[BATCH_ID], batch_id)).drop_columns([BATCH_ID])
        paths = [path for path, batch in live if batch == batch_id]
        made = carried(store.table_path(_TABLE), paths, lineage)
        files.append(write_file(store, _TABLE, batch_id, changes[batch_id](own), lineage=made))
    return Settled(files, live)


def _with_consent(texts: Mapping[str, str], rows: pa.Table) -> pa.Table:
    told = zip(rows["media_id"].to_pylist(), rows["consent"].to_pylist(), strict=True)
    place = rows.schema.get_field_index("consent")
    return rows.set_column(place, rows.schema.field(place), pa.array([texts.get(*pair) for pair in told], pa.string()))
