"""Dead letters: one open letter a media and stage, its attempts counted; what is resolved is closed, never deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from features.schema import BATCH_ID
from features.store.commit import Commit, Settled, commit_files, live_files
from features.store.files import write_file
from features.store.lineage import carried
from features.store.media import read_record
from features.store.read import read_committed
from features.store.rows import table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from deltalake import DeltaTable

    from features.store.files import FileRecord
    from features.store.lineage import Lineage
    from features.store.store import Store

    Row = dict[str, Any]
    Change = Callable[[str, list[Row]], list[Row]]

FAILURES = "failures"


class Letter(NamedTuple):
    """An open dead letter; `attempts` counts those that were made in vain."""

    batch_id: str
    stage: str
    media_id: str | None
    uri: str | None
    error: str
    message: str
    attempts: int

    @property
    def about(self) -> tuple[str, str | None]:
        """What it is about, whatever its batch and attempt: the stage, and the source or the media."""
        return self.stage, self.uri or self.media_id


def open_letters(store: Store) -> tuple[Letter, ...]:
    """All open dead letters, by batch and stage."""
    rows = read_committed(store, FAILURES, columns=[*Letter._fields[1:], "closed_at"]).to_pylist()
    found = [
        Letter(**{name: row[name] for name in Letter._fields} | {"attempts": row["attempts"] or 1})
        for row in rows
        if row["closed_at"] is None
    ]
    return tuple(sorted(found, key=lambda letter: (letter.batch_id, *map(str, letter.about))))


def closed_media(store: Store, stage: str) -> dict[str, frozenset[str]]:
    """Media of a stage's closed letters by batch: their rows are not those of the batch's first making."""
    rows = read_committed(store, FAILURES, columns=["stage", "media_id", "closed_at"]).to_pylist()
    found: dict[str, set[str]] = {}
    for row in rows:
        if row["stage"] == stage and row["closed_at"] is not None and row["media_id"] is not None:
            found.setdefault(row[BATCH_ID], set()).add(row["media_id"])
    return {batch_id: frozenset(media_ids) for batch_id, media_ids in found.items()}


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant; by default all.

    Attributes:
        stage: Their stage begins so: `ingest`, `extract`, `extract:mfcc@1`.
        error: Class of the error, or a glob that the class or the message matches.
        media: First digits of the media_id, or the source's path or file name.
        media_ids: Media that `media` names, where it is neither in the letter: the name of a media that is in.
    """

    stage: str = ""
    error: str = ""
    media: str = ""
    media_ids: frozenset[str] = frozenset()

    def takes(self, row: Mapping[str, Any]) -> bool:
        """Whether a letter, as a row of `failures`, is meant."""
        error = not self.error or any(fnmatchcase(row[name] or "", self.error) for name in ("error", "message"))
        return str(row["stage"]).startswith(self.stage) and error and (not self.media or self._names(row))

    def _names(self, row: Mapping[str, Any]) -> bool:
        media_id, uri = row["media_id"] or "", row["uri"] or ""
        return media_id.startswith(self.media) or self.media in (uri, Path(uri).name) or media_id in self.media_ids


def commit_failures(
    store: Store, files: Sequence[FileRecord], batch_ids: Collection[str], *, lineage: Lineage
) -> Commit | None:
    """Commit a stage's dead letters of a wave.

    The first generation adds its letters. A later one closes the stage's open letters of all the batches, and its own
    letters count on from them.

    Args:
        store: The store.
        files: Files of `failures`, of batches that have any.
        batch_ids: All batches of the wave.
        lineage: Stage and generation that made them.

    Returns:
        What was committed, or None where there was nothing to say.
    """
    if lineage.generation == 1:
        if not files:
            return None
        return commit_files(store, FAILURES, files, stage=lineage.stage, metadata=lineage.metadata())
    new: dict[str, list[Row]] = {batch_id: [] for batch_id in sorted(batch_ids)}
    for file in files:
        new[file.batch_id] += read_record(store, file).to_pylist()

    def change(batch_id: str, rows: list[Row]) -> list[Row]:
        return _retried(rows, new[batch_id], lineage.stage)

    return rewrite(store, list(new), change, lineage)


def close_failures(store: Store, stage: str, uris: Collection[str], *, before: str, lineage: Lineage) -> Commit | None:
    """Close a stage's open letters of these URIs in all older batches: a newer one has taken the sources up.

    Args:
        store: The store.
        stage: Stage whose letters are closed.
        uris: Places of the sources.
        before: The batch that took them up. Of two that did, the newer keeps its letters, whichever ends first.
        lineage: What closes them; its stage names the write and must be unique to it.
    """
    wanted = set(uris)
    if not wanted:
        return None
    batch_ids = sorted({x.batch_id for x in open_letters(store) if x.stage == stage and x.uri in wanted})
    batch_ids = [batch_id for batch_id in batch_ids if batch_id < before]

    def change(batch_id: str, rows: list[Row]) -> list[Row]:
        del batch_id
        now = datetime.now(UTC)
        return [{**row, "closed_at": now} if is_open(row, stage) and row["uri"] in wanted else row for row in rows]

    return rewrite(store, batch_ids, change, lineage) if batch_ids else None


def is_open(row: Mapping[str, Any], stage: str) -> bool:
    """Whether a row is an open letter of a stage."""
    return row["stage"] == stage and row["closed_at"] is None


def _retried(rows: Sequence[Row], new: Sequence[Row], stage: str) -> list[Row]:
    """Old letters, the stage's open ones closed, and new letters that count on from them."""
    now = datetime.now(UTC)
    attempts = {_about(row): row["attempts"] or 1 for row in rows if is_open(row, stage)}
    closed = [{**row, "closed_at": now} if is_open(row, stage) else row for row in rows]
    return [*closed, *({**row, "attempts": attempts.get(_about(row), 0) + 1} for row in new)]


def _about(row: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return row["media_id"], row["uri"]


def rewrite(store: Store, batch_ids: Sequence[str], change: Change, lineage: Lineage) -> Commit | None:
    """Replace batches' letters by changed ones, in one commit that is repeated on what a rival leaves.

    Args:
        store: The store.
        batch_ids: Batches that may change.
        change: Called with a batch and its rows; gives its new rows.
        lineage: What changes them; its stage and generation name the write: a batch is changed by it once.
    """

    def rewritten(handle: DeltaTable, batch_ids: Sequence[str], *, unchanged: bool) -> Settled:
        removed = live_files(handle, batch_ids)
        rows: dict[str, list[Row]] = {batch_id: [] for batch_id in batch_ids}
        for row in read_committed(store, FAILURES, batch_ids=batch_ids).to_pylist():
            rows[row.pop(BATCH_ID)].append(row)
        changed = {batch_id: change(batch_id, old) for batch_id, old in rows.items()}
        changed = {batch_id: new for batch_id, new in changed.items() if unchanged or new != rows[batch_id]}
        files = []
        for batch_id, new in changed.items():
            paths = [path for path, batch in removed if batch == batch_id]
            made = carried(store.table_path(FAILURES), paths, lineage)
            files.append(write_file(store, FAILURES, batch_id, table_of(FAILURES, new), lineage=made))
        return Settled(files, [(path, batch) for path, batch in removed if batch in changed])

    def settle(handle: DeltaTable, files: Sequence[FileRecord]) -> Settled:
        # Rivals may have written in between: merge with what is there now. A batch that this generation has done is
        # not among the files; of the others all are written, for the commit replaces all.
        return rewritten(handle, sorted({file.batch_id for file in files}), unchanged=True)

    first = rewritten(store.ensure(FAILURES), batch_ids, unchanged=False)
    if not first.files:
        return None
    return commit_files(
        store,
        FAILURES,
        first.files,
        stage=lineage.stage,
        generation=lineage.generation,
        metadata=lineage.metadata(),
        settle=settle,
    )
