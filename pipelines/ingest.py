"""The ingest job: each planned batch is hashed, decoded once, and written; `media` is committed last."""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam

from features.errors import MediaError, TriptychError
from features.identity import fingerprint, media_id_of_file
from features.media.decode import DecodeOptions, decode_media, end_of, with_text
from features.privacy.erasure import complete_erasure
from features.store import Commit, FileRecord, Store, commit_files, write_file
from features.store.commit import live_files
from features.store.failures import close_failures, open_letters
from features.store.files import BatchWriter
from features.store.index import MediaIndex, media_index
from features.store.lineage import read_lineage
from features.store.media import MediaSettlement, duplicates_in, read_record, settle_results
from features.store.plan import PlannedBatch, Source, read_plan
from features.store.rows import audio_rows, frame_rows, table_of, transcript_rows
from features.store.tombstones import Place, add_tombstones, read_tombstones
from features.transcripts.sidecars import read_sidecars
from pipelines.options import decode_config
from pipelines.sinks import CommitWave, Failure, Heartbeat, commit_tables, write_failures
from pipelines.waves import Summary, Wave, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from features.records import DecodedMedia
    from features.store.lineage import Lineage
    from features.store.tombstones import Tombstones
    from pipelines.options import DecodeConfig

STAGE = "ingest"
TABLES = ("frames", "audio", "transcripts", "source_results", "media")
"""Tables of the stage, in the order of their commits after `failures`."""

_BASE_TABLES = ("frames", "audio", "transcripts")
_FACTS = (
    *("container", "duration_us", "width", "height", "rotation", "frame_rate", "sample_rate_hz"),
    *("has_video", "has_audio", "has_text", "language"),
)


def lineage_of(store: Store, config: DecodeConfig, wave: Wave) -> Lineage:
    """What the wave's files say of their making; a batch that was planned otherwise says so instead."""
    options = decode_config(config)
    return wave.lineage(STAGE, fingerprint=fingerprint(options), inputs=store.versions(["sources"]), config=options)


def build(root: beam.PCollection[str], config: DecodeConfig, wave: Wave) -> beam.PCollection[Commit]:
    """Batch ids → commits made."""
    lineage = lineage_of(Store.open(wave.store), config, wave)
    return (
        root
        | "SpreadBatches" >> beam.Reshuffle()
        | "IngestBatch" >> beam.FlatMap(ingest_planned, wave.store, lineage)
        | "CommitWave" >> CommitWave(partial(commit_wave, wave, lineage))
    )


def run(config: DecodeConfig, wave: Wave, options: PipelineOptions) -> Summary:
    """Run one wave in this process and count what it committed."""
    from pipelines.runners import run_pipeline

    run_pipeline(lambda pipeline: build(pipeline | beam.Create(wave.batch_ids), config, wave), options)
    return summary(Store.open(wave.store), wave.batch_ids)


def summary(store: Store, batch_ids: tuple[str, ...]) -> Summary:
    """What is committed of ingested batches."""
    return summarise(store, TABLES, batch_ids, (STAGE,))


def ingest_planned(batch_id: str, root: str, lineage: Lineage) -> list[FileRecord]:
    """Ingest a batch by the list that `sources` holds of it."""
    store = Store.open(root)
    planned = read_plan(store, [batch_id])
    batch = planned[0] if planned else PlannedBatch(batch_id, ())  # all of it was forgotten meanwhile
    return list(ingest_batch(store, batch, as_planned(store, batch_id, lineage)))


def as_planned(store: Store, batch_id: str, lineage: Lineage) -> Lineage:
    """The lineage with the decoding options that the batch was planned with, whatever options this run has."""
    (path, _), *_ = live_files(store.load("sources"), [batch_id])
    config = next((one.config for one in read_lineage(store.table_path("sources") / path) if one.config), "")
    return replace(lineage, config=config, fingerprint=fingerprint(config)) if config else lineage


@dataclass
class _Outcomes:
    """What became of a batch's sources so far."""

    media: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    forgotten: list[tuple[Source, str]] = field(default_factory=list)

    def result(self, source: Source, media_id: str | None, status: str) -> None:
        row = {"uri": source.uri, "media_id": media_id, "status": status, "finished_at": datetime.now(UTC)}
        self.results.append(row)

    def forgot(self, source: Source, media_id: str, tombstones: Tombstones) -> None:
        """Forgotten bytes in a place where they did not lie before: only a hash of it is kept."""
        self.forgotten.append((source, media_id))
        self.result(source._replace(uri=tombstones.uri_hash(source.uri)), None, "forgotten")

    def failed(self, source: Source, media_id: str | None, error: Exception, message: str) -> None:
        letter = Failure(STAGE, media_id, source.uri, type(error).__name__, message, source.attempt)
        self.failures.append(letter)
        self.result(source, media_id, "failed")


def ingest_batch(store: Store, batch: PlannedBatch, lineage: Lineage) -> Iterator[FileRecord]:
    """Decode a batch's sources in order and write one file a table.

    Args:
        store: The store.
        batch: The batch as planned.
        lineage: What makes it; its `config` says how to decode.

    Yields:
        Records of the files, for the commit.

    Raises:
        StoreError: The store cannot be written. What is wrong with a source is its dead letter instead.
    """
    options = DecodeOptions(**json.loads(lineage.config))
    outcomes, beat = _Outcomes(), Heartbeat()
    known = _Known(media_index(store), batch.batch_id, read_tombstones(store))
    with ExitStack() as stack:
        writers = [
            stack.enter_context(BatchWriter(store, table, batch.batch_id, lineage=[lineage])) for table in _BASE_TABLES
        ]
        for source in batch.sources:
            beat()
            decoded = _ingest_source(source, known, options, outcomes, beat)
            if decoded is not None:
                _write_decoded(writers, *decoded)
            beat.done()
    if outcomes.forgotten:  # before the plan is cleared of them, in `commit_wave`
        places = [Place(m, batch.batch_id, s.uri, s.size_bytes, s.mtime_us) for s, m in outcomes.forgotten]
        add_tombstones(store, places, lineage.run_id)
    yield from (writer.record for writer in writers if writer.record is not None)
    for table, rows in (("source_results", outcomes.results), ("media", outcomes.media)):
        yield write_file(store, table, batch.batch_id, table_of(table, rows), lineage=[lineage])
    yield from write_failures(store, batch.batch_id, outcomes.failures, lineage)


class _Known:
    """Media that need no decoding: committed by another batch as this one began, done in this one, or forgotten."""

    def __init__(self, index: MediaIndex, batch_id: str, tombstones: Tombstones | None) -> None:
        self.tombstones = tombstones
        self._index = index
        self._batch_id = batch_id
        self._done: set[str] = set()

    def __contains__(self, media_id: str) -> bool:
        return media_id in self._done or self._index.batch_of(media_id) not in (None, self._batch_id)

    def add(self, media_id: str) -> None:
        """Note that this batch has a media."""
        self._done.add(media_id)


def _ingest_source(
    source: Source, known: _Known, options: DecodeOptions, outcomes: _Outcomes, beat: Callable[[], None]
) -> tuple[str, DecodedMedia] | None:
    media_id = None
    try:
        media_id = media_id_of_file(Path(source.uri))
        if known.tombstones is not None and media_id in known.tombstones.media_ids:
            outcomes.forgot(source, media_id, known.tombstones)
            return None
        _check_unchanged(source)
        if media_id in known:
            outcomes.result(source, media_id, "duplicate")
            return None
        decoded = None if source.consent == "refused" else _decode(source, options, outcomes, media_id, beat)
    except TriptychError as error:
        outcomes.failed(source, media_id, error, str(error))
        return None
    except Exception as error:  # noqa: BLE001 - a decoder's surprise costs its media, never the batch
        message = f"{source.uri!r}: {error or type(error).__name__}; report it with the file if it plays elsewhere"
        outcomes.failed(source, media_id, error, message)
        return None
    known.add(media_id)
    outcomes.media.append(media_row(source, media_id, decoded))
    outcomes.result(source, media_id, "done")
    return None if decoded is None else (media_id, decoded)


def _decode(
    source: Source, options: DecodeOptions, outcomes: _Outcomes, media_id: str, beat: Callable[[], None]
) -> DecodedMedia:
    path = Path(source.uri)
    if not path.stat().st_size:
        message = f"{source.uri!r} is empty (0 bytes); copy it again"
        raise MediaError(message)
    decoded = decode_media(path, options, on_progress=beat)
    _check_unchanged(source)
    sidecars = [Path(sidecar) for sidecar in source.sidecars]
    utterances, problems = read_sidecars(sidecars, media=path, end_us=end_of(decoded))
    for missed in decoded.missed:
        outcomes.failures.append(Failure(STAGE, media_id, f"{path}#{missed.part}", missed.error, missed.message))
    for sidecar, error in problems:
        outcomes.failures.append(Failure(STAGE, media_id, str(sidecar), type(error).__name__, str(error)))
    return with_text(decoded, utterances)


def _check_unchanged(source: Source) -> None:
    """Refuse bytes that are not those of the plan: of a file still being written, rows of two contents would mix."""
    status = Path(source.uri).stat()
    if (status.st_size, status.st_mtime_ns // 1000) != (source.size_bytes, source.mtime_us):
        message = (
            f"{source.uri!r} changed since it was planned ({source.size_bytes} bytes then, {status.st_size} now); "
            "ingest it again when it is complete: the next run takes it as a new source"
        )
        raise MediaError(message)


def media_row(source: Source, media_id: str, decoded: DecodedMedia | None) -> dict[str, Any]:
    """A row of `media`; without facts where nothing was decoded."""
    row: dict[str, Any] = {
        "media_id": media_id,
        "name": Path(source.uri).name,
        "uri": source.uri,
        "consent": source.consent,
        "has_video": False,
        "has_audio": False,
        "has_text": False,
        "subject_ids": [],
        "ingested_at": datetime.now(UTC),
    }
    if decoded is not None:
        row |= {name: getattr(decoded.info, name) for name in _FACTS}
    return row


def _write_decoded(writers: Sequence[BatchWriter], media_id: str, decoded: DecodedMedia) -> None:
    frames, audio, transcripts = writers
    frames.write(frame_rows(media_id, decoded.frames))
    audio.write(audio_rows(media_id, decoded.audio))
    transcripts.write(transcript_rows(media_id, decoded.utterances))


def commit_wave(wave: Wave, lineage: Lineage, files: Sequence[FileRecord]) -> Iterator[Commit]:
    """Commit a wave: failures, base tables, `source_results`, and `media` as the mark of whole batches."""
    store = Store.open(wave.store)
    commit = partial(commit_tables, store, lineage=lineage, batch_ids=wave.batch_ids)
    yield from commit([file for file in files if file.table in ("failures", *_BASE_TABLES)], _BASE_TABLES)
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
