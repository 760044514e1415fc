"""Dead letters of a batch that was done again: they follow its coverage, which is the one mark of what became of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from features.records import WITH_FAILURES
from features.schema import BATCH_ID
from features.store.commit import generations_of
from features.store.failures import FAILURES, is_open, rewrite
from features.store.lineage import read_lineage
from features.store.read import read_committed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from features.store.commit import Commit
    from features.store.lineage import Lineage
    from features.store.store import Store

    Row = dict[str, Any]

_ONLY = "media_ids"


class Covered(NamedTuple):
    """What a batch's coverage says.

    Attributes:
        lineage: What made it.
        failed: Media that failed, or some of whose items did, each with its message.
        media_ids: Media that the newest generation did again; None: all.
    """

    lineage: Lineage
    failed: Mapping[str, str]
    media_ids: Collection[str] | None


def only_media(media_ids: Collection[str]) -> str:
    """For a lineage's `config`: a generation that does only these media again says so."""
    return json.dumps({_ONLY: sorted(media_ids)}) if media_ids else ""


def follow_coverage(
    store: Store, table: str, stage: str, batch_ids: Collection[str], *, errors: Mapping[str, str] | None = None
) -> Iterator[Commit]:
    """Let the letters of batches that were done again say what their coverage says; saying it twice changes nothing.

    Letters of media that no longer fail are closed. One that failed again is closed too, and a new one counts its
    attempts on. So a run that died between the two commits is caught up with, by whoever comes next.

    Args:
        store: The store.
        table: Coverage of the extractor.
        stage: Its stage.
        batch_ids: Batches; those of the first generation are passed over.
        errors: By media: class of the error, where it is known; else it stays what it was.
    """
    told = generations_of(store, FAILURES, stage, batch_ids)
    done = generations_of(store, table, stage, batch_ids)
    behind: dict[int, dict[str, Covered]] = {}
    late = [batch_id for batch_id in batch_ids if done[batch_id] > max(1, told[batch_id])]
    for batch_id, covered in _covered(store, table, stage, late).items():
        behind.setdefault(covered.lineage.generation, {})[batch_id] = covered
    for _, batches in sorted(behind.items()):
        change = partial(_followed, batches, stage, errors or {})
        commit = rewrite(store, sorted(batches), change, next(iter(batches.values())).lineage)
        if commit is not None:
            yield commit


def _covered(store: Store, table: str, stage: str, batch_ids: Collection[str]) -> dict[str, Covered]:
    """What the coverage of batches says, all of one version."""
    if not batch_ids:
        return {}
    versions, wanted = {table: store.load(table).version()}, set(batch_ids)
    files = [file for file in store.files(table, versions[table]).to_pylist() if file[BATCH_ID] in wanted]
    failed: dict[str, dict[str, str]] = {file[BATCH_ID]: {} for file in files}
    columns = ["media_id", "status", "message"]
    for row in read_committed(store, table, batch_ids=batch_ids, columns=columns, versions=versions).to_pylist():
        if row["status"] in WITH_FAILURES:
            failed[row[BATCH_ID]][row["media_id"]] = row["message"] or ""
    found = {}
    for file in files:
        made = [one for one in read_lineage(store.table_path(table) / file["path"]) if one.stage == stage]
        if made:
            newest = max(made, key=lambda lineage: lineage.generation)
            found[file[BATCH_ID]] = Covered(newest, failed[file[BATCH_ID]], _only(newest))
    return found


def _only(lineage: Lineage) -> frozenset[str] | None:
    stated = json.loads(lineage.config) if lineage.config else {}
    return frozenset(stated[_ONLY]) if _ONLY in stated else None


def _followed(
    batches: Mapping[str, Covered], stage: str, errors: Mapping[str, str], batch_id: str, rows: Sequence[Row]
) -> list[Row]:
    """A batch's letters after its coverage."""
    covered, now = batches[batch_id], datetime.now(UTC)
    before = {row["media_id"]: row for row in rows if is_open(row, stage)}
    new = [
        _letter(media_id, before.get(media_id, {}), covered, stage, errors, now)
        for media_id in sorted(covered.failed)
        if media_id not in before or _is_older(before[media_id], covered)
    ]
    renewed = {row["media_id"] for row in new}
    kept = covered.failed.keys() - renewed
    closed = [{**row, "closed_at": now} if is_open(row, stage) and row["media_id"] not in kept else row for row in rows]
    return [*closed, *new]


def _is_older(letter: Mapping[str, Any], covered: Covered) -> bool:
    """Whether the media of a letter has been tried again since."""
    again = covered.media_ids is None or letter["media_id"] in covered.media_ids
    return again and (letter["generation"] or 1) < covered.lineage.generation


def _letter(
    media_id: str, before: Mapping[str, Any], covered: Covered, stage: str, errors: Mapping[str, str], now: datetime
) -> Row:
    return {
        "stage": stage,
        "media_id": media_id,
        "error": errors.get(media_id) or before.get("error") or "ExtractionError",
        "message": covered.failed[media_id],
        "attempts": (before["attempts"] or 1) + 1 if before else 1,
        "generation": covered.lineage.generation,
        "run_id": covered.lineage.run_id,
        "failed_at": now,
    }
