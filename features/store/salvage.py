"""What of a damaged batch can be kept without computing: sound files, statements, and the list of its sources."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features.errors import MediaError
from features.identity import fingerprint, media_id_of_file, second_of_batch
from features.schema import BASE_TABLES, BATCH_ID, OPTIONAL_TABLES, data_schema_of
from features.store.checks import PLACE, LiveFile, read_rows, rules_of
from features.store.commit import commit_files, remove_files
from features.store.files import write_file
from features.store.lineage import Lineage, config_in
from features.store.rows import table_of
from features.transcripts.sidecars import find_sidecars

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from features.store.store import Store

    Row = dict[str, Any]

_INGESTED = ("sources", *BASE_TABLES, *OPTIONAL_TABLES, "source_results", "media")


class Kept(NamedTuple):
    """What is left of a batch of statements."""

    num_dropped_files: int
    num_rows: int


def drop_files(store: Store, table: str, paths: Collection[str]) -> int:
    """Take files out of a table's log; the rows in them are seen no more. What is gone already is no matter.

    Returns:
        Number of files taken out.

    Raises:
        StoreError: The log cannot be written.
    """
    return remove_files(store, table, paths, stage="repair")


def live_of(store: Store, table: str, batch_id: str) -> list[LiveFile]:
    """A batch's live files."""
    if not store.has(table):
        return []
    rows = store.files(table).filter(pc.field(BATCH_ID) == batch_id).to_pylist()
    return [LiveFile(table, batch_id, row["path"], row["size_bytes"], row["num_records"]) for row in rows]


def keep_statements(store: Store, table: str, batch_id: str, bad: Collection[str], lineage: Lineage) -> Kept:
    """Keep of what nobody can compute again the rows of sound files, each key once; drop the rest.

    Args:
        store: The store.
        table: `labels/...`, `splits/...`, `failures`, `runs` or `tombstones`.
        batch_id: Its damaged batch.
        bad: Files that are not as they were committed.
        lineage: What mends it.
    """
    dropped = drop_files(store, table, bad)
    rows = _once(table, readable_rows(store, table, batch_id))
    if rows.num_rows != sum(file.num_rows or 0 for file in live_of(store, table, batch_id)):
        file = write_file(store, table, batch_id, rows, lineage=[lineage])
        stage = f"repair:{lineage.run_id}"
        commit_files(store, table, [file], stage=stage, generation=2, metadata=lineage.metadata())
    return Kept(dropped, rows.num_rows)


def readable_rows(store: Store, table: str, batch_id: str) -> pa.Table:
    """Rows of a batch's files as far as they can be read at all, without `batch_id`."""
    schema = data_schema_of(table)
    tables = [schema.empty_table()]
    for file in live_of(store, table, batch_id):
        try:
            tables.append(read_rows(store.table_path(table), [file], schema.names).drop_columns([PLACE]))
        except (OSError, pa.ArrowException):
            continue
    return pa.concat_tables(tables)


def _once(table: str, rows: pa.Table) -> pa.Table:
    """Rows without those whose key an earlier one has."""
    key = rules_of(table).key
    if not key:
        return rows
    first: dict[tuple[object, ...], int] = {}
    for place, values in enumerate(zip(*(rows[name].to_pylist() for name in key), strict=True)):
        first.setdefault(values, place)
    return rows.take(pa.array(sorted(first.values()), pa.int64()))


def salvaged(store: Store, table: str, batch_id: str, media_id: str) -> pa.Table:
    """What can be read of a media's rows in a damaged batch: each key once, by time."""
    rows = readable_rows(store, table, batch_id)
    own = _once(table, rows.filter(pc.equal(rows["media_id"], media_id)))
    return own.sort_by(rules_of(table).time or "media_id")


def rebuild_sources(store: Store, batch_id: str, bad: Collection[str], lineage: Lineage) -> int:
    """Write a batch's list of sources anew, from its sound files and from what became of them.

    A source counts as listed in its present state only where its bytes are still those that were ingested: else the
    next run takes it as new.

    Returns:
        Sources in the list.
    """
    drop_files(store, "sources", bad)
    results = readable_rows(store, "source_results", batch_id).to_pylist()
    results = [row for row in results if row["status"] != "forgotten"]  # those name no place
    media = {row["uri"]: row for row in readable_rows(store, "media", batch_id).to_pylist()}
    ids = {uri: row["media_id"] for uri, row in media.items()} | {row["uri"]: row["media_id"] for row in results}
    before = {row["uri"]: row for row in readable_rows(store, "sources", batch_id).to_pylist()}
    lineage = replace(lineage, config=config_of(store, batch_id))
    stated = {"planned_at": second_of_batch(batch_id), "config_fingerprint": fingerprint(lineage.config)}
    rows = []
    for uri, media_id in ids.items():
        consent = media[uri]["consent"] if uri in media else "unstated"
        made = {"uri": uri, "consent": consent, **stated, **_listed(uri, media_id)}
        rows.append(before.get(uri, made))
    if rows:
        file = write_file(store, "sources", batch_id, table_of("sources", rows), lineage=[lineage])
        stage = f"repair:{lineage.run_id}"
        commit_files(store, "sources", [file], stage=stage, generation=2, metadata=lineage.metadata())
    return len(rows)


def _listed(uri: str, media_id: str | None) -> Row:
    path = Path(uri)
    try:
        status = path.stat()
        if media_id is not None and media_id_of_file(path) != media_id:
            return {}
    except (OSError, MediaError):
        return {}
    sidecars = [str(sidecar) for sidecar in find_sidecars(path)]
    return {"size_bytes": status.st_size, "mtime_us": status.st_mtime_ns // 1000, "sidecars": sidecars}


def config_of(store: Store, batch_id: str, tables: Iterable[str] = _INGESTED) -> str:
    """The options that a batch was ingested with, of the first file that still tells; empty where none does."""
    paths = (store.table_path(table) / file.path for table in tables for file in live_of(store, table, batch_id))
    return config_in(paths)
