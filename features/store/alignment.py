"""What the tables of one batch must have in common: batches, media, and as many rows as coverage says."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.errors import StoreError
from features.media.options import tables_asked
from features.schema import BASE_TABLES, OPTIONAL_TABLES
from features.store.checks import Problem, read_rows
from features.store.lineage import config_in
from features.store.read import read_committed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from features.store.store import Store
    from features.store.verify import Snapshot

_NOT_OF_MEDIA = ("sources", "source_results", "media", "failures", "runs", "tombstones")


class Doubt(NamedTuple):
    """A problem of a table, unless all these media stand in another batch, which had their bytes first."""

    table: str
    problem: Problem
    media_ids: tuple[str, ...]


class Rivals(NamedTuple):
    """The tables that an extractor fills."""

    key: str
    rows: str
    coverage: str


def forgotten_media(store: Store) -> frozenset[str]:
    """Media that have been erased: that a result tells of them still is no fault."""
    try:
        return frozenset(read_committed(store, "tombstones", columns=["media_id"])["media_id"].to_pylist())
    except StoreError:  # a damaged file is a finding of its own
        return frozenset()


class Batch:
    """One batch across the tables.

    Args:
        snapshot: All tables' files.
        batch_id: The batch.
        tables: Tables that are verified.
        sound: Of these, rows of the batch where its files are as they were committed.
    """

    def __init__(
        self, snapshot: Snapshot, batch_id: str, tables: Collection[str], sound: Mapping[str, pa.Table]
    ) -> None:
        self._snapshot = snapshot
        self._batch_id = batch_id
        self._tables = tables
        self._sound = sound
        self.media_rows = self._read("media", ["media_id"])
        self._results = self._read("source_results", ["media_id", "status"])

    def problems(self) -> Iterator[tuple[str, Problem]]:
        """Tables that lack the batch or have it and should not, and rows that are not as many as coverage says."""
        for table, problem in (*self._of_ingest(), *self._of_extractors(), *self._of_scores(), *self._strays()):
            if table in self._tables:
                yield table, problem

    def doubts(self, forgotten: Collection[str]) -> Iterator[Doubt]:
        """Rows of media that `media` does not list in the batch, and results of media that it has not."""
        if self.media_rows is None:
            return
        listed = set(self.media_rows["media_id"].to_pylist())
        known = listed | self._media_of("duplicate")
        for table, rows in self._sound.items():
            unknown = () if table in _NOT_OF_MEDIA else sorted(set(rows["media_id"].to_pylist()) - known)
            if unknown:
                what = f"has rows of {len(unknown)} media that media does not list in the batch, such as {unknown[0]}"
                yield Doubt(table, Problem("unknown", what), tuple(unknown))
        lost = sorted(self._media_of("done") - listed - set(forgotten))
        if lost and "media" in self._tables:
            what = f"lacks {len(lost)} media that source_results says were done, such as {lost[0]}"
            yield Doubt("media", Problem("lost", what), tuple(lost))

    def _read(self, table: str, columns: Sequence[str]) -> pa.Table | None:
        """Rows of a table, verified or not; None where it lacks the batch or is damaged."""
        files = self._snapshot.files(table, self._batch_id)
        if not files or (table in self._tables and table not in self._sound):
            return None
        try:
            return read_rows(self._snapshot.store.table_path(table), files, columns)
        except (OSError, pa.ArrowException):
            return None

    def _has(self, table: str) -> bool:
        return self._batch_id in self._snapshot.batches(table)

    def _is_known(self) -> bool:
        return any(self._has(table) for table in ("media", "source_results", "sources"))

    def _media_of(self, status: str) -> set[str]:
        if self._results is None:
            return set()
        return {row["media_id"] for row in self._results.to_pylist() if row["status"] == status}

    def _of_ingest(self) -> Iterator[tuple[str, Problem]]:
        if self._is_known() and "sources" in self._snapshot.tables and not self._has("sources"):
            yield "sources", Problem("lost", "lacks the batch, which was ingested")
        if self._has("media"):
            for table in (*BASE_TABLES, "source_results"):
                if not self._has(table):
                    yield table, Problem("lost", "lacks the batch, which media lists as whole")
            for table in self._asked():
                if not self._has(table):
                    yield table, Problem("lost", "lacks the batch, which was to have it")
        elif self._is_known() and self._snapshot.was_committed("media", "ingest", self._batch_id):
            yield "media", Problem("lost", "lacks the batch, which was committed once")

    def _asked(self) -> tuple[str, ...]:
        """Optional tables that the batch's plan asked for, or that had the batch once."""
        folder = self._snapshot.store.table_path("sources")
        config = config_in(folder / file.path for file in self._snapshot.files("sources", self._batch_id))
        asked = tables_asked(json.loads(config or "{}"))
        once = (table for table in OPTIONAL_TABLES if self._snapshot.was_committed(table, "ingest", self._batch_id))
        return tuple(dict.fromkeys([*asked, *once]))

    def _of_extractors(self) -> Iterator[tuple[str, Problem]]:
        if not self._has("media"):
            return
        for table in self._snapshot.tables:
            if table.startswith("coverage/"):
                key = table.partition("/")[2]
                names = [f"{family}/{key}" for family in ("features", "transcripts")]
                rows = next((name for name in names if name in self._snapshot.tables), names[0])
                yield from self._of_extractor(Rivals(key, rows, table))

    def _of_extractor(self, own: Rivals) -> Iterator[tuple[str, Problem]]:
        stage = f"extract:{own.key}"
        covered, has_rows = self._has(own.coverage), self._has(own.rows)
        if not covered and self._snapshot.was_committed(own.coverage, stage, self._batch_id):
            yield own.coverage, Problem("lost", "lacks the batch, which was committed once")
        if not has_rows and (covered or self._snapshot.was_committed(own.rows, stage, self._batch_id)):
            yield own.rows, Problem("lost", "lacks the batch, which was committed once")
        if covered and has_rows:
            yield from self._check_coverage(own)

    def _check_coverage(self, own: Rivals) -> Iterator[tuple[str, Problem]]:
        coverage = self._read(own.coverage, ["media_id", "num_rows"])
        if coverage is None or self.media_rows is None:
            return
        stated = {row["media_id"]: row["num_rows"] or 0 for row in coverage.to_pylist()}
        missing = sorted(set(self.media_rows["media_id"].to_pylist()) - set(stated))
        if missing:
            yield own.coverage, Problem("lost", f"lacks {len(missing)} media of the batch, such as {missing[0]}")
        rows = self._sound[own.rows] if own.rows in self._sound else self._read(own.rows, ["media_id"])
        if rows is None:
            return
        there = Counter(rows["media_id"].to_pylist())
        for media_id in sorted(stated):
            if there[media_id] != stated[media_id]:
                what = f"has {there[media_id]} rows of media {media_id}, its coverage says {stated[media_id]}"
                yield own.rows, Problem("coverage", what)
                return

    def _of_scores(self) -> Iterator[tuple[str, Problem]]:
        if not self._has("media"):
            return
        for table in self._snapshot.tables:
            family, _, key = table.partition("/")
            committed = family == "scores" and not self._has(table)
            if committed and self._snapshot.was_committed(table, f"score:{key}", self._batch_id):
                yield table, Problem("lost", "lacks the batch, which was committed once")

    def _strays(self) -> Iterator[tuple[str, Problem]]:
        if self._is_known():
            return
        for table in self._snapshot.tables:
            if self._has(table) and table not in _NOT_OF_MEDIA:
                yield table, Problem("stray", "has the batch, which nobody planned")
