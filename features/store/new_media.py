"""Media that there are only vectors of: rows of `media` without content, in a batch of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.compute as pc

from features.identity import MICROSECONDS, fingerprint, make_batch_id, second_of_batch
from features.privacy.consent import UNSTATED
from features.privacy.consent_policy import policy_of
from features.privacy.consent_review import decided
from features.schema import BASE_TABLES
from features.store.commit import commit_files
from features.store.files import write_file
from features.store.import_places import CONTAINER
from features.store.media import MediaSettlement, settle_results
from features.store.named_media import IMPORTED, imported_id, order_in, time_us
from features.store.plan import Source
from features.store.read import read_committed
from features.store.rows import table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.store.commit import Settle
    from features.store.feature_file import FeatureFile
    from features.store.lineage import Lineage
    from features.store.named_media import MediaFinder
    from features.store.store import Store

    Row = dict[str, Any]

_STAGE = "import"
_LATE = "import:late"


class NewMedia(NamedTuple):
    """Media to be added, as rows of `media`, and the batch that they get."""

    batch_id: str
    rows: tuple[Row, ...]


def plan_new_media(store: Store, file: FeatureFile, finder: MediaFinder, table: str) -> NewMedia | None:
    """The media that a file calls by a name, in its column `media`, that the store does not have.

    A media lasts until the latest end that the file states of it; rows with `order`, and rows without an end, last one
    second. What was forgotten does not come back.

    Args:
        store: The store; nothing is written.
        file: As of `read_feature_file`.
        finder: Knows the store's media.
        table: Table of the features. Where an import of the same file was killed, it has the batch, which goes on.

    Returns:
        The new media; None where there are none.

    Raises:
        ConfigError: A time or order is no number.
    """
    durations = _durations_us(file)
    new = sorted(name for name in durations if not finder.knows(name) and not finder.is_forgotten(name))
    if not new:
        return None
    now, policy = datetime.now(UTC), policy_of(store.path)
    rows: tuple[Row, ...] = tuple(
        {
            "media_id": imported_id(name),
            "name": name,
            "uri": f"{IMPORTED}{name}",
            "container": CONTAINER,
            "duration_us": durations[name],
            "has_video": False,
            "has_audio": False,
            "has_text": False,
            "consent": decided(Source(f"{IMPORTED}{name}", 0, 0), policy).consent,
            "subject_ids": [],
            "ingested_at": now,
            "superseded_by": None,
        }
        for name in new
    )
    return NewMedia(_batch_id(store, table, now, [file.checksum, *new]), rows)


def _batch_id(store: Store, table: str, now: datetime, entries: list[str]) -> str:
    """The batch of a killed import of the same; else a new one, which sorts after all that there are."""
    left = store.batches(table) - store.batches("media")
    ended = [batch_id for batch_id in left if batch_id.endswith(fingerprint(entries))]
    if ended:
        return max(ended)
    latest = second_of_batch(max(store.batches("media") | store.batches("sources"), default=""))
    return make_batch_id(now if latest is None else max(now, latest + timedelta(seconds=1)), 0, entries)


def _durations_us(file: FeatureFile) -> dict[str, int]:
    """Latest end by name."""
    ends: dict[str, int] = {}
    for number, row in enumerate(file.places, start=1):
        name = str(row["media"]) if row.get("media") not in (None, "") else ""
        if name:
            ends[name] = max(ends.get(name, 1), _end_us(row, file, number))
    return ends


def _end_us(row: Row, file: FeatureFile, number: int) -> int:
    if "order" in row:
        return (order_in(row, file.path, number) + 1) * MICROSECONDS
    end_us = time_us(row, "end", file.path, number)
    return end_us if end_us is not None else (time_us(row, "start", file.path, number) or 0) + MICROSECONDS


def commit_new_media(store: Store, new: NewMedia, lineage: Lineage) -> frozenset[str]:
    """Make a batch of new media whole: base tables without rows, what became of each, `media` as the mark, the plan.

    The plan comes last, unlike that of files: no run of ingest shall try to decode what has no content. Each step that
    was taken before a kill is passed over.

    Returns:
        Media that another batch had first: what was written of them in this batch is not seen.
    """
    results = table_of(
        "source_results",
        (
            {"uri": row["uri"], "media_id": row["media_id"], "status": "done", "finished_at": row["ingested_at"]}
            for row in new.rows
        ),
    )
    for table in BASE_TABLES:
        _commit(store, table, new, table_of(table, ()), lineage)
    media = write_file(store, "media", new.batch_id, table_of("media", new.rows), lineage=[lineage])
    settlement = MediaSettlement(store)
    losers = settlement.find_losers([media])
    file = write_file(store, "source_results", new.batch_id, results, lineage=[lineage])
    settled = settle_results(store, file, losers)
    store.ensure("source_results")
    commit_files(store, "source_results", [settled], stage=_STAGE, metadata=lineage.metadata())
    settle: Settle = settlement.settle
    commit_files(store, "media", [media], stage=_STAGE, metadata=lineage.metadata(), settle=settle)
    lost = frozenset(media_id for _, media_id in settlement.losers | losers)
    commit_plan(store, new.batch_id, tuple(row for row in new.rows if row["media_id"] not in lost), lineage)
    return lost


def commit_plan(store: Store, batch_id: str, rows: tuple[Row, ...], lineage: Lineage) -> None:
    """Let `sources` list new media; where it does so already, nothing happens.

    Args:
        store: The store.
        batch_id: Their batch.
        rows: Their rows of `media`.
        lineage: What adds them.
    """
    planned = (
        {
            "uri": row["uri"],
            "size_bytes": 0,
            "consent": UNSTATED,  # what a consent file says of it may change
            "sidecars": [],
            "config_fingerprint": "",
            "planned_at": row["ingested_at"],
            "attempt": 1,
        }
        for row in rows
    )
    file = write_file(store, "sources", batch_id, table_of("sources", planned), lineage=[lineage])
    commit_files(store, "sources", [file], stage=_STAGE, metadata=lineage.metadata())


def is_without_content(sources: Sequence[Source]) -> bool:
    """Whether the sources of a media are names: there is nothing that could be decoded."""
    return bool(sources) and all(source.uri.startswith(IMPORTED) for source in sources)


def restored(store: Store, batch_id: str, uri: str) -> Row:
    """What can be told of a media without content when its row of `media` is lost: by its name and its vectors.

    It lasts until the latest end of any vector, which may be less than was stated.

    Args:
        store: The store.
        batch_id: Its batch.
        uri: As in `sources`.
    """
    name = uri.removeprefix(IMPORTED)
    media_id, end_us = imported_id(name), 1
    for table in (table for table in store.tables() if table.startswith("features/")):
        rows = read_committed(store, table, batch_ids=[batch_id], columns=["media_id", "end_us"])
        end_us = max(end_us, pc.max(rows.filter(pc.equal(rows["media_id"], media_id))["end_us"]).as_py() or 0)
    return {"name": name, "container": CONTAINER, "duration_us": end_us}


def _commit(store: Store, table: str, new: NewMedia, rows: Any, lineage: Lineage) -> None:  # noqa: ANN401 - a pa.Table
    file = write_file(store, table, new.batch_id, rows, lineage=[lineage])
    commit_files(store, table, [file], stage=_STAGE, metadata=lineage.metadata())
