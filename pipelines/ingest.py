"""The ingest job: each planned batch is hashed, decoded once, and written; `media` is committed last."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import apache_beam as beam

from features.identity import fingerprint
from features.media.limits import Limits
from features.media.options import DecodeOptions
from features.media.sandbox import borrow_sandbox
from features.privacy.consent_policy import policy_of
from features.privacy.consent_review import decided
from features.privacy.erasure import complete_erasure
from features.schema import BASE_TABLES, OPTIONAL_TABLES
from features.sources.ahead import CopiesAhead
from features.store import Commit, FileRecord, Store, commit_files, write_file
from features.store.commit import live_files
from features.store.failures import close_failures, open_letters
from features.store.files import BatchWriter
from features.store.index import media_index
from features.store.lineage import read_lineage
from features.store.media import MediaSettlement, duplicates_in, read_record, settle_results
from features.store.plan import PlannedBatch, read_plan
from features.store.rows import table_of
from features.store.tombstones import Place, add_tombstones, read_tombstones
from pipelines.ingest_source import (
    STAGE,
    Decoder,
    KnownMedia,
    Outcomes,
    ingest_source,
    limits_of,
    span_of,
    spooled_tables,
)
from pipelines.long_media import PartTask, decode_waiting, join_parts, tasks_of
from pipelines.options import decode_config
from pipelines.sinks import CommitWave, Heartbeat, commit_tables, write_failures
from pipelines.waves import Summary, Wave, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from features.privacy.consent_policy import ConsentPolicy
    from features.store.lineage import Lineage
    from pipelines.options import DecodeConfig

TABLES = (*BASE_TABLES, "source_results", "media")
"""Tables of the stage, in the order of their commits after `failures`; the optional ones follow the base tables."""

_DECODED = (*BASE_TABLES, *OPTIONAL_TABLES)


def lineage_of(store: Store, config: DecodeConfig, wave: Wave) -> Lineage:
    """What the wave's files say of their making; a batch that was planned otherwise says so instead."""
    options = decode_config(config)
    return wave.lineage(STAGE, fingerprint=fingerprint(options), inputs=store.versions(["sources"]), config=options)


def build(root: beam.PCollection[str], config: DecodeConfig, wave: Wave) -> beam.PCollection[Commit]:
    """Batch ids → commits made."""
    store = Store.open(wave.store)
    lineage, policy = lineage_of(store, config, wave), policy_of(store.path, config.consent)
    return (
        root
        | "SpreadBatches" >> beam.Reshuffle()
        | "IngestBatch" >> beam.FlatMap(ingest_planned, wave.store, lineage, limits_of(config), span_of(config), policy)
        | "SpreadParts" >> beam.Reshuffle()
        | "DecodePart" >> beam.FlatMap(decode_waiting, wave.store, lineage, limits_of(config))
        | "CommitWave" >> CommitWave(partial(commit_wave, wave, lineage), partial(join_parts, wave.store))
    )


def run(config: DecodeConfig, wave: Wave, options: PipelineOptions) -> Summary:
    """Run one wave in this process and count what it committed."""
    from pipelines.runners import run_pipeline

    run_pipeline(lambda pipeline: build(pipeline | beam.Create(wave.batch_ids), config, wave), options)
    return summary(Store.open(wave.store), wave.batch_ids)


def summary(store: Store, batch_ids: tuple[str, ...]) -> Summary:
    """What is committed of ingested batches."""
    optional = (table for table in OPTIONAL_TABLES if store.has(table))
    return summarise(store, (*TABLES, *optional), batch_ids, (STAGE,))


def ingest_planned(
    batch_id: str, root: str, lineage: Lineage, limits: Limits, span_us: int = 0, policy: ConsentPolicy | None = None
) -> list[FileRecord | PartTask]:
    """Ingest a batch by the list that `sources` holds of it, with the consent that stands now."""
    store = Store.open(root)
    planned = read_plan(store, [batch_id])
    batch = planned[0] if planned else PlannedBatch(batch_id, ())  # all of it was forgotten meanwhile
    batch = batch._replace(sources=tuple(decided(source, policy) for source in batch.sources))
    return list(ingest_batch(store, batch, as_planned(store, batch_id, lineage), limits, span_us))


def as_planned(store: Store, batch_id: str, lineage: Lineage) -> Lineage:
    """The lineage with the decoding options that the batch was planned with, whatever options this run has."""
    (path, _), *_ = live_files(store.load("sources"), [batch_id])
    config = next((one.config for one in read_lineage(store.table_path("sources") / path) if one.config), "")
    return replace(lineage, config=config, fingerprint=fingerprint(config)) if config else lineage


def ingest_batch(
    store: Store, batch: PlannedBatch, lineage: Lineage, limits: Limits | None = None, span_us: int = 0
) -> Iterator[FileRecord | PartTask]:
    """Decode a batch's sources in order and write one file a table.

    Args:
        store: The store.
        batch: The batch as planned.
        lineage: What makes it; its `config` says how to decode.
        limits: What the decoding of one source may take.
        span_us: Workers share a media twice as long; 0: whatever its length, it is decoded here.

    Yields:
        Records of the files, for the commit; and parts of long media, which wait for a worker.

    Raises:
        StoreError: The store cannot be written. What is wrong with a source is its dead letter instead.
        SandboxError: Nothing can be decoded here.
    """
    options = DecodeOptions(**json.loads(lineage.config))
    outcomes, beat = Outcomes(), Heartbeat()
    known = KnownMedia(media_index(store), batch.batch_id, read_tombstones(store))
    with ExitStack() as stack:
        sandbox = stack.enter_context(borrow_sandbox())
        decoder = Decoder(store, sandbox, options, limits or Limits(), beat, span_us)
        writers = {
            table: stack.enter_context(BatchWriter(store, table, batch.batch_id, lineage=[lineage]))
            for table in spooled_tables(options)
        }
        if any(source.consent != "refused" for source in batch.sources):
            sandbox.warm_up()  # it starts while the first source is hashed
        copies = stack.enter_context(CopiesAhead(batch.sources, decoder.limits.fetching, beat))
        for source, copy in copies:
            beat()
            ingest_source(source, copy, known, decoder, outcomes, writers)
            beat.done()
    if outcomes.forgotten:  # before the plan is cleared of them, in `commit_wave`
        places = [Place(m, batch.batch_id, s.uri, s.size_bytes, s.mtime_us) for s, m in outcomes.forgotten]
        add_tombstones(store, places, lineage.run_id)
    yield from (writer.record for writer in writers.values() if writer.record is not None)
    for table, rows in (("source_results", outcomes.results), ("media", outcomes.media)):
        yield write_file(store, table, batch.batch_id, table_of(table, rows), lineage=[lineage])
    yield from write_failures(store, batch.batch_id, outcomes.failures, lineage)
    yield from tasks_of(batch.batch_id, outcomes.long, span_us, lineage.config)


def commit_wave(wave: Wave, lineage: Lineage, files: Sequence[FileRecord]) -> Iterator[Commit]:
    """Commit a wave: failures, base and optional tables, `source_results`, and `media` as the mark of whole batches."""
    store = Store.open(wave.store)
    commit = partial(commit_tables, store, lineage=lineage, batch_ids=wave.batch_ids)
    yield from commit([file for file in files if file.table in ("failures", *_DECODED)], _DECODED)
    media = [file for file in files if file.table == "media"]
    results = [file for file in files if file.table == "source_results"]
    settlement = MediaSettlement(store, duplicates_in(store, results))
    expected = settlement.find_losers(media)
    settled = [settle_results(store, file, expected) for file in results]
    came_back = any("forgotten" in read_record(store, file)["status"].to_pylist() for file in settled)
    yield from commit(settled, ("source_results",))
    yield from _close_retried(store, wave, lineage)
    yield commit_files(
        store,
        "media",
        media,
        stage=STAGE,
        generation=wave.generation,
        metadata=lineage.metadata(),
        settle=settlement.settle,
    )
    late = {batch_id for batch_id, _ in settlement.losers - expected}
    if late:  # a rival run committed the same bytes in between
        corrected = [settle_results(store, file, settlement.losers) for file in results if file.batch_id in late]
        yield commit_files(
            store, "source_results", corrected, stage=f"{STAGE}:late", generation=2, metadata=lineage.metadata()
        )
    if came_back:
        complete_erasure(store, wave.run_id)  # the plan names where they lie


def _close_retried(store: Store, wave: Wave, lineage: Lineage) -> Iterator[Commit]:
    """Close older letters of the sources that these batches took up again; what failed again has a new letter."""
    waiting = {letter.uri for letter in open_letters(store) if letter.stage == STAGE}
    for batch in read_plan(store, wave.batch_ids) if waiting else ():
        uris = [source.uri for source in batch.sources if source.uri in waiting]
        closing = replace(lineage, stage=f"close:{batch.batch_id}")
        commit = close_failures(store, STAGE, uris, before=batch.batch_id, lineage=closing)
        if commit is not None:
            yield commit
