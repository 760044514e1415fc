"""The job for media whose use was refused as they came in, and is allowed now: each is decoded into its own batch.

Its row of `media` is there already, without content. Rows of its tracks are added to the batch's tables, a file each,
and the row of `media` is filled last: that is the mark of done.
"""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import pyarrow as pa

from features.errors import MediaError, SandboxError, StoreError
from features.identity import fingerprint
from features.media.options import DecodeOptions
from features.media.sandbox import borrow_sandbox
from features.privacy.consent_changes import rewrite_media
from features.samples.record import media_id_of
from features.schema import BASE_TABLES, OPTIONAL_TABLES, data_schema_of
from features.sources.spool import local_copy
from features.store import Commit, FileRecord, Store, commit_files, write_file
from features.store.failures import open_letters
from features.store.files import BatchWriter
from features.store.media import read_record
from features.store.plan import Source, read_plan
from features.store.read import read_table
from features.store.rows import table_of
from features.store.salvage import config_of
from pipelines.consented import bare_media
from pipelines.ingest_source import (
    STAGE,
    Decoder,
    Outcomes,
    letter_of,
    limits_of,
    media_row,
    spooled_tables,
    write_rows,
)
from pipelines.options import decode_config
from pipelines.sinks import CommitWave, Heartbeat, write_failures
from pipelines.waves import Summary, Wave, summarise

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from features.media.limits import Limits
    from features.store.lineage import Lineage
    from pipelines.options import DecodeConfig

    Row = dict[str, Any]

TABLES = (*BASE_TABLES, *OPTIONAL_TABLES)

_KEPT = ("media_id", "name", "uri", "consent", "subject_ids", "recorded_at", "ingested_at", "superseded_by")
"""Columns of `media` that decoding does not tell."""


class LateMedia(NamedTuple):
    """A media that was decoded late: its files, that of its row of `media` among them; or those of its dead letter."""

    media_id: str
    files: tuple[FileRecord, ...]


def owed_media(store: Store) -> dict[str, frozenset[str]]:
    """Media by batch that are allowed for some purpose and have no content, but for those that failed to be decoded."""
    failed = {letter.media_id for letter in open_letters(store) if letter.stage == STAGE}
    found = {batch_id: media_ids - failed for batch_id, media_ids in bare_media(store).items()}
    return {batch_id: media_ids for batch_id, media_ids in found.items() if media_ids}


def build(root: beam.Pipeline, config: DecodeConfig, wave: Wave) -> beam.PCollection[Commit]:
    """The wave's media → commits made."""
    owed = owed_media(Store.open(wave.store))
    pairs = [(batch_id, media_id) for batch_id in wave.batch_ids for media_id in sorted(owed.get(batch_id, ()))]
    return (
        root
        | "Media" >> beam.Create(pairs)
        | "SpreadMedia" >> beam.Reshuffle()
        | "DecodeLate" >> beam.Map(decode_late, wave, limits_of(config), decode_config(config))
        | "CommitWave" >> CommitWave(partial(commit_wave, wave), _once)
    )


def run(config: DecodeConfig, wave: Wave, options: PipelineOptions) -> Summary:
    """Run one wave in this process and count what is committed of its batches."""
    from pipelines.runners import run_pipeline

    run_pipeline(lambda pipeline: build(pipeline, config, wave), options)
    return summarise(Store.open(wave.store), (*BASE_TABLES, "media"), wave.batch_ids, (STAGE,))


def decode_late(given: tuple[str, str], wave: Wave, limits: Limits, usual: str) -> LateMedia:
    """Decode one media as its batch was, and write its files.

    Raises:
        StoreError: The store cannot be read or written. What is wrong with a media is its dead letter instead.
        SandboxError: Nothing can be decoded here.
    """
    batch_id, media_id = given
    store, beat = Store.open(wave.store), Heartbeat()
    config = config_of(store, batch_id) or usual
    lineage = wave.lineage(STAGE, fingerprint=fingerprint(config), config=config)
    source, options = _source(store, batch_id, media_id), DecodeOptions(**json.loads(config))
    outcomes, local = Outcomes(), source
    try:
        with ExitStack() as stack:
            local = stack.enter_context(local_copy(source, limits.fetching, beat))
            _check_content(source, local, media_id)
            decoder = Decoder(store, stack.enter_context(borrow_sandbox()), options, limits, beat)
            tables = spooled_tables(options)
            decoded = stack.enter_context(closing(decoder.decode(local, media_id, tables)))
            files = _written(store, batch_id, tables, lineage, decoded)
            row = media_row(source, media_id, decoded.outcome.info)
            outcomes.missed(source, media_id, decoded.outcome, local)
    except (StoreError, SandboxError):
        raise
    except Exception as error:  # noqa: BLE001 - a surprise costs its media, never the batch
        letters = [letter_of(source, media_id, error, local)]
        return LateMedia(media_id, tuple(write_failures(store, batch_id, letters, lineage)))
    beat.done()
    files.append(write_file(store, "media", batch_id, table_of("media", [row]), lineage=[lineage]))
    files += write_failures(store, batch_id, outcomes.failures, lineage)
    return LateMedia(media_id, tuple(files))


def _check_content(source: Source, local: Source, media_id: str) -> None:
    if media_id_of(local) != media_id:
        message = f"{source.uri!r} has other bytes now; put back those that were refused, or forget the media"
        raise MediaError(message)


def commit_wave(wave: Wave, late: Sequence[LateMedia]) -> Iterator[Commit]:
    """Commit media by media: dead letters, rows, and the row of `media` last. Done again, it does nothing."""
    store = Store.open(wave.store)
    for one in late:
        lineage = wave.lineage(STAGE)
        files = {file.table: file for file in one.files}
        for table in ("failures", *TABLES):
            if table in files:
                # The name is the media's, so that rows which a run left before it died are not added to once more.
                stage = f"late:{one.media_id}" + (f":{wave.run_id}" if table == "failures" else "")
                yield commit_files(store, table, [files[table]], stage=stage, metadata=lineage.metadata())
        if "media" in files:
            fill_row(store, one.media_id, files["media"], wave)


def fill_row(store: Store, media_id: str, file: FileRecord, wave: Wave) -> None:
    """Fill a media's row with what decoding told; what was stated about it stays."""
    (facts,) = read_record(store, file).to_pylist()

    def filled(rows: pa.Table) -> pa.Table:
        schema = data_schema_of("media")
        told = [_filled(row, facts) if row["media_id"] == media_id else row for row in rows.to_pylist()]
        return pa.Table.from_pylist(told, schema=schema)

    rewrite_media(store, {file.batch_id: filled}, wave.lineage(f"late:{media_id}"))


def _filled(row: Row, facts: Row) -> Row:
    return {**row, **{name: value for name, value in facts.items() if name not in _KEPT}}


def _source(store: Store, batch_id: str, media_id: str) -> Source:
    """Where the bytes of a media lie, and the text beside it."""
    rows = read_table(store, "media", batch_ids=[batch_id], columns=["media_id", "uri", "consent"]).to_pylist()
    row = next(row for row in rows if row["media_id"] == media_id)
    planned = (source for batch in read_plan(store, [batch_id]) for source in batch.sources)
    source = next((source for source in planned if source.uri == row["uri"]), Source(row["uri"], 0, 0))
    return source._replace(consent=row["consent"] or "unstated")


def _written(store: Store, batch_id: str, tables: Iterable[str], lineage: Lineage, decoded: Any) -> list[FileRecord]:  # noqa: ANN401 - Decoded
    with ExitStack() as stack:
        writers = {
            table: stack.enter_context(BatchWriter(store, table, batch_id, lineage=[lineage])) for table in tables
        }
        write_rows(decoded, writers)
    return [writer.record for writer in writers.values() if writer.record is not None and writer.record.num_rows]


def _once(values: Iterable[object]) -> list[LateMedia]:
    """Media as they come out of a shuffle, in order, each once."""
    found = (LateMedia(value[0], tuple(FileRecord(*file) for file in value[1])) for value in values)  # type: ignore[index]
    return sorted({one.media_id: one for one in found}.values())
