"""The repair job: damaged base tables of whole batches are made again from the sources, as a new generation.

Only the damaged tables are replaced. A media whose bytes are gone keeps what can still be read of its rows, and a dead
letter of the stage `repair` says what was lost.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from features.errors import SandboxError, StoreError, TriptychError
from features.identity import fingerprint
from features.media.limits import Limits
from features.media.options import DecodeOptions, option_of
from features.media.sandbox import borrow_sandbox
from features.privacy.consent_policy import policy_of
from features.privacy.consent_review import decided
from features.samples.record import media_id_of
from features.schema import BASE_TABLES, OPTIONAL_TABLES
from features.sources.spool import local_copy
from features.store import Commit, FileRecord, Store, commit_files, write_file
from features.store.alignment import forgotten_media
from features.store.files import BatchWriter
from features.store.index import media_index
from features.store.media import MediaSettlement
from features.store.new_media import is_without_content, restored
from features.store.plan import Source, read_plan
from features.store.read import read_committed
from features.store.rows import table_of
from features.store.salvage import config_of, salvaged
from pipelines.ingest_source import STAGE, Decoder, media_row, write_rows
from pipelines.sinks import CommitWave, Failure, Heartbeat, write_failures
from pipelines.waves import Summary, Wave, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from features.media.sandbox import Decoded, Sandbox
    from features.records import MediaInfo
    from features.store.lineage import Lineage
    from pipelines.options import RunConfig

    Row = dict[str, Any]

REPAIR_STAGE = "repair"
"""Stage of the dead letters."""

_DECODED = (*BASE_TABLES, *OPTIONAL_TABLES)

TABLES = (*_DECODED, "source_results", "media")
"""Tables that the job can make again, in the order of their commits; a wave's targets are some of them."""


def build(root: beam.PCollection[str], wave: Wave) -> beam.PCollection[Commit]:
    """Batch ids → commits made."""
    return (
        root
        | "SpreadBatches" >> beam.Reshuffle()
        | "RepairBatch" >> beam.FlatMap(repair_batch, wave)
        | "CommitWave" >> CommitWave(partial(commit_wave, wave))
    )


def run(config: RunConfig, wave: Wave, options: PipelineOptions) -> Summary:
    """Run one wave in this process and count what is committed."""
    from pipelines.runners import run_pipeline

    del config
    run_pipeline(lambda pipeline: build(pipeline | beam.Create(wave.batch_ids), wave), options)
    return summarise(Store.open(wave.store), wave.targets, wave.batch_ids, (REPAIR_STAGE,))


def lineage_of(store: Store, wave: Wave, batch_id: str) -> Lineage:
    """What a batch's files say of their making: by the options that the batch was ingested with.

    Where nothing tells these any more, an optional table that the wave makes again tells that it was asked for.
    """
    config = config_of(store, batch_id)
    if not config:
        asked = {option_of(table): True for table in OPTIONAL_TABLES if table in wave.targets}
        config = json.dumps(asdict(DecodeOptions()) | asked, sort_keys=True)
    return wave.lineage(STAGE, fingerprint=fingerprint(config), config=config)


def repair_batch(batch_id: str, wave: Wave) -> list[FileRecord]:
    """Make a batch's damaged tables again and write one file a table; damaged `media` is out of the log by now."""
    store = Store.open(wave.store)
    return list(_Repair(store, batch_id, wave).files())


@dataclass
class _Member:
    """A media of the batch: where its bytes may be, and its row of `media`, where that is sound."""

    media_id: str
    sources: list[Source] = field(default_factory=list)
    row: Row | None = None
    ingested_at: datetime | None = None


class _Repair:
    """One batch."""

    def __init__(self, store: Store, batch_id: str, wave: Wave) -> None:
        self._store = store
        self._batch_id = batch_id
        self._lineage = lineage_of(store, wave, batch_id)
        self._targets = wave.targets
        self._beat = Heartbeat()
        self._failures: list[Failure] = []
        policy = policy_of(store.path)
        planned = (source for plan in read_plan(store, [batch_id]) for source in plan.sources)
        self._plan = {source.uri: decided(source, policy) for source in planned}
        self._media = {row["media_id"]: row for row in self._rows("media")}
        self._results = self._rows("source_results")

    def files(self) -> Iterator[FileRecord]:
        """The batch's new files, and its dead letters."""
        if "source_results" in self._targets or not self._results:
            self._results = self._results_again()
            rows = table_of("source_results", self._results)
            yield write_file(self._store, "source_results", self._batch_id, rows, lineage=[self._lineage])
        members = self._members()
        base = [table for table in _DECODED if table in self._targets]
        with ExitStack() as stack:
            writers = {
                table: stack.enter_context(BatchWriter(self._store, table, self._batch_id, lineage=[self._lineage]))
                for table in base
            }
            decoder = self._decoder(stack.enter_context(borrow_sandbox()))
            for member in members:
                self._beat()
                self._make(member, writers, decoder)
                self._beat.done()
        yield from (writer.record for writer in writers.values() if writer.record is not None)
        if "media" in self._targets:
            rows = table_of("media", (member.row for member in members if member.row is not None))
            yield write_file(self._store, "media", self._batch_id, rows, lineage=[self._lineage])
        yield from write_failures(
            self._store, self._batch_id, self._failures, replace(self._lineage, stage=REPAIR_STAGE)
        )

    def _rows(self, table: str) -> list[Row]:
        rows: list[Row] = read_committed(self._store, table, batch_ids=[self._batch_id]).to_pylist()
        return [{name: value for name, value in row.items() if name != "batch_id"} for row in rows]

    def _members(self) -> list[_Member]:
        """Media of the batch, in the order of its results."""
        members: dict[str, _Member] = {}
        gone = forgotten_media(self._store) if "media" in self._targets else frozenset()
        for result in self._results:
            media_id = result["media_id"]
            is_owed = "media" in self._targets and media_id not in gone
            if result["status"] == "done" and (media_id in self._media or is_owed):
                members[media_id] = _Member(media_id, [], self._media.get(media_id), result["finished_at"])
        for media_id, row in self._media.items():
            members.setdefault(media_id, _Member(media_id, [], row))
        for result in self._results:
            if result["media_id"] in members:
                uri = result["uri"]
                members[result["media_id"]].sources.append(self._plan.get(uri) or Source(uri, 0, 0))
        return list(members.values())

    def _results_again(self) -> list[Row]:
        """What became of each source, as `media`, the dead letters and the bytes tell."""
        by_uri = {row["uri"]: row for row in self._media.values()}
        letters = {row["uri"]: row["media_id"] for row in self._rows("failures") if row["stage"] == STAGE}
        results, seen = [], set(self._media)
        for uri in self._plan:
            finished_at = datetime.now(UTC)
            if uri in by_uri:
                media_id, status, finished_at = by_uri[uri]["media_id"], "done", by_uri[uri]["ingested_at"]
            elif uri in letters:
                media_id, status = letters[uri], "failed"
            else:
                media_id, status = self._identify(uri, seen)
            results.append({"uri": uri, "media_id": media_id, "status": status, "finished_at": finished_at})
        return results

    def _identify(self, uri: str, seen: set[str]) -> tuple[str | None, str]:
        """A source that left neither a media here nor a letter was a duplicate, unless `media` was lost with it."""
        self._beat()
        try:
            with local_copy(self._plan[uri], on_progress=self._beat) as local:
                media_id = media_id_of(local)
        except TriptychError as error:
            self._failures.append(Failure(REPAIR_STAGE, None, uri, type(error).__name__, str(error)))
            return None, "failed" if "media" in self._targets else "duplicate"
        known = media_id in seen or media_index(self._store).batch_of(media_id) not in (None, self._batch_id)
        if known or "media" not in self._targets:
            return media_id, "duplicate"
        seen.add(media_id)
        return media_id, "done"

    def _decoder(self, sandbox: Sandbox) -> Decoder:
        options = DecodeOptions(**json.loads(self._lineage.config))
        return Decoder(self._store, sandbox, options, Limits(), self._beat)

    def _make(self, member: _Member, writers: dict[str, BatchWriter], decoder: Decoder) -> None:
        if self._consent(member) == "refused" or is_without_content(member.sources):
            member.row = member.row or self._row(member, None)
            return
        if member.row is not None and not writers:
            return
        decoded, reason = self._decode(member, decoder, tuple(writers))
        if decoded is None:
            kept = {table: salvaged(self._store, table, self._batch_id, member.media_id) for table in writers}
            self._tell(member, kept, reason)
            for table, writer in writers.items():
                writer.write(kept[table])
        else:
            with closing(decoded):
                write_rows(decoded, writers)
        if member.row is None:
            member.row = self._row(member, None if decoded is None else decoded.outcome.info)

    def _consent(self, member: _Member) -> str:
        return str(member.row["consent"]) if member.row else member.sources[0].consent

    def _decode(self, member: _Member, decoder: Decoder, tables: tuple[str, ...]) -> tuple[Decoded | None, str]:
        """The media from the first place that still has its bytes, or why there is none."""
        reason = "no source is known"
        for source in member.sources:
            try:
                with local_copy(source, on_progress=self._beat) as local:
                    if media_id_of(local) != member.media_id:
                        reason = f"{source.uri!r} has changed since"
                        continue
                    return decoder.decode(local, member.media_id, tables), ""
            except (StoreError, SandboxError):
                raise
            except TriptychError as error:
                reason = str(error)
            except Exception as error:  # noqa: BLE001 - a decoder's surprise costs its media, never the batch
                reason = f"{source.uri!r}: {error or type(error).__name__}"
        return None, reason

    def _tell(self, member: _Member, kept: dict[str, pa.Table], reason: str) -> None:
        rows = ", ".join(f"{rows.num_rows} rows of {table}" for table, rows in kept.items())
        what = f"kept what could be read: {rows}" if kept else "its row of media tells only what its other tables tell"
        message = f"cannot be decoded again ({reason}); {what}; put the file back and ingest it to have it whole"
        uri = member.sources[0].uri if member.sources else None
        self._failures.append(Failure(REPAIR_STAGE, member.media_id, uri, "MediaError", message))

    def _row(self, member: _Member, info: MediaInfo | None) -> Row:
        """A row of `media`; of what cannot be decoded again, as far as the base tables tell."""
        row = media_row(member.sources[0], member.media_id, info)
        row["ingested_at"] = member.ingested_at or row["ingested_at"]
        if is_without_content(member.sources):
            return row | restored(self._store, self._batch_id, row["uri"])
        if info is not None or self._consent(member) == "refused":
            return row
        rows = {table: salvaged(self._store, table, self._batch_id, member.media_id) for table in BASE_TABLES}
        ends = [pc.max(rows[table][end]).as_py() or 0 for table, end in zip(BASE_TABLES, _ENDS, strict=True)]
        there = {name: rows[table].num_rows > 0 for name, table in zip(_HAS, BASE_TABLES, strict=True)}
        return {**row, **there, "duration_us": max(ends)}


_ENDS = ("valid_end_us", "end_us", "end_us")
_HAS = ("has_video", "has_audio", "has_text")


def commit_wave(wave: Wave, files: Sequence[FileRecord]) -> Iterator[Commit]:
    """Commit a wave: dead letters, then the tables that were made again, `media` last."""
    store, lineage = Store.open(wave.store), wave.lineage(STAGE)
    letters = [file for file in files if file.table == "failures"]
    if letters:
        name = f"{REPAIR_STAGE}:{wave.generation}:{'+'.join(wave.targets)}"
        yield commit_files(store, "failures", letters, stage=name, metadata=lineage.metadata())
    for table in TABLES:
        of_table = [file for file in files if file.table == table]
        if of_table:
            settle = MediaSettlement(store).settle if table == "media" else None
            yield commit_files(
                store,
                table,
                of_table,
                stage=STAGE,
                generation=wave.generation,
                metadata=lineage.metadata(),
                settle=settle,
            )
