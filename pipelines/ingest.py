"""The ingest job: each planned batch is hashed, decoded once, and written; `media` is committed last."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apache_beam as beam

from features.errors import MediaError, TriptychError
from features.identity import media_id_of_file, seconds_to_us
from features.media.decode import DecodeOptions, decode_media, with_text
from features.store import Commit, FileRecord, Store, commit_files, write_file
from features.store.files import BatchWriter
from features.store.media import MediaSettlement, known_media_ids, settle_results
from features.store.plan import PlannedBatch, Source, read_plan
from features.store.rows import audio_rows, frame_rows, table_of, transcript_rows
from features.transcripts.sidecars import read_sidecars
from pipelines.sinks import CommitWave, Failure, Heartbeat, commit_tables, write_failures
from pipelines.waves import Summary, Wave, summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from features.records import DecodedMedia
    from pipelines.options import IngestConfig

STAGE = "ingest"
TABLES = ("frames", "audio", "transcripts", "source_results", "media")
"""Tables of the stage, in the order of their commits after `failures`."""

_BASE_TABLES = ("frames", "audio", "transcripts")
_FACTS = (
    *("container", "duration_us", "width", "height", "rotation", "frame_rate", "sample_rate_hz"),
    *("has_video", "has_audio", "has_text", "language"),
)


def decode_options(config: IngestConfig) -> DecodeOptions:
    """What decoding needs of the configuration."""
    return DecodeOptions(
        frame_interval_us=seconds_to_us(config.frame_interval_seconds),
        frame_short_side=config.frame_short_side,
        jpeg_quality=config.jpeg_quality,
    )


def build(root: beam.PCollection[str], config: IngestConfig, wave: Wave) -> beam.PCollection[Commit]:
    """Batch ids → commits made."""
    return (
        root
        | "SpreadBatches" >> beam.Reshuffle()
        | "IngestBatch" >> beam.FlatMap(ingest_planned, wave, decode_options(config))
        | "CommitWave" >> CommitWave(partial(commit_wave, wave))
    )


def run(config: IngestConfig, wave: Wave, options: PipelineOptions) -> Summary:
    """Run one wave in this process and count what it committed."""
    from pipelines.runners import run_pipeline

    run_pipeline(lambda pipeline: build(pipeline | beam.Create(wave.batch_ids), config, wave), options)
    return summary(Store.open(wave.store), wave.batch_ids)


def summary(store: Store, batch_ids: tuple[str, ...]) -> Summary:
    """What is committed of ingested batches."""
    return summarise(store, TABLES, batch_ids, (STAGE,))


def ingest_planned(batch_id: str, wave: Wave, options: DecodeOptions) -> list[FileRecord]:
    """Ingest a batch by the list that `sources` holds of it."""
    store = Store.open(wave.store)
    (batch,) = read_plan(store, [batch_id])
    return list(ingest_batch(store, batch, wave, options))


@dataclass
class _Outcomes:
    """What became of a batch's sources so far."""

    media: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def result(self, source: Source, media_id: str | None, status: str) -> None:
        row = {"uri": source.uri, "media_id": media_id, "status": status, "finished_at": datetime.now(UTC)}
        self.results.append(row)


def ingest_batch(store: Store, batch: PlannedBatch, wave: Wave, options: DecodeOptions) -> Iterator[FileRecord]:
    """Decode a batch's sources in order and write one file a table.

    Args:
        store: The store.
        batch: The batch as planned.
        wave: Wave that it belongs to.
        options: How to decode.

    Yields:
        Records of the files, for the commit.

    Raises:
        StoreError: The store cannot be written. What is wrong with a source is its dead letter instead.
    """
    outcomes = _Outcomes()
    seen = set(_known(wave.store, wave.run_id, wave.batch_ids))
    beat = Heartbeat()
    with ExitStack() as stack:
        writers = [stack.enter_context(BatchWriter(store, table, batch.batch_id)) for table in _BASE_TABLES]
        for source in batch.sources:
            beat()
            decoded = _ingest_source(source, seen, options, outcomes, beat)
            if decoded is not None:
                _write_decoded(writers, *decoded)
            beat.done()
    yield from (writer.record for writer in writers if writer.record is not None)
    yield write_file(store, "source_results", batch.batch_id, table_of("source_results", outcomes.results))
    yield write_file(store, "media", batch.batch_id, table_of("media", outcomes.media))
    yield from write_failures(store, batch.batch_id, outcomes.failures, wave)


@lru_cache(maxsize=1)
def _known(store: str, run_id: str, batch_ids: tuple[str, ...]) -> frozenset[str]:
    """Committed media as this wave began, read once a worker process."""
    del run_id, batch_ids  # they only make the cache forget the wave before
    return known_media_ids(Store.open(store))


def _ingest_source(
    source: Source, seen: set[str], options: DecodeOptions, outcomes: _Outcomes, beat: Callable[[], None]
) -> tuple[str, DecodedMedia] | None:
    media_id = None
    try:
        media_id = media_id_of_file(Path(source.uri))
        _check_unchanged(source)
        if media_id in seen:
            outcomes.result(source, media_id, "duplicate")
            return None
        decoded = None if source.consent == "refused" else _decode(source, options, outcomes, media_id, beat)
    except TriptychError as error:
        outcomes.failures.append(Failure(STAGE, media_id, source.uri, type(error).__name__, str(error)))
        outcomes.result(source, media_id, "failed")
        return None
    except Exception as error:  # noqa: BLE001 - a decoder's surprise costs its media, never the batch
        message = f"{source.uri!r}: {error or type(error).__name__}; report it with the file if it plays elsewhere"
        outcomes.failures.append(Failure(STAGE, media_id, source.uri, type(error).__name__, message))
        outcomes.result(source, media_id, "failed")
        return None
    seen.add(media_id)
    outcomes.media.append(_media_row(source, media_id, decoded))
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
    utterances, problems = read_sidecars([Path(sidecar) for sidecar in source.sidecars])
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


def _media_row(source: Source, media_id: str, decoded: DecodedMedia | None) -> dict[str, Any]:
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


def commit_wave(wave: Wave, files: Sequence[FileRecord]) -> Iterator[Commit]:
    """Commit a wave: failures, base tables, `source_results`, and `media` as the mark of whole batches."""
    store = Store.open(wave.store)
    yield from commit_tables(store, files, ("failures", *_BASE_TABLES), stage=STAGE, wave=wave)
    media = [file for file in files if file.table == "media"]
    results = [file for file in files if file.table == "source_results"]
    settlement = MediaSettlement(store)
    expected = settlement.find_losers(media)
    settled = [settle_results(store, file, expected) for file in results]
    yield from commit_tables(store, settled, ("source_results",), stage=STAGE, wave=wave)
    yield commit_files(
        store, "media", media, stage=STAGE, generation=wave.generation, metadata=wave.metadata, settle=settlement.settle
    )
    late = {batch_id for batch_id, _ in settlement.losers - expected}
    if late:  # a rival run committed the same bytes in between
        corrected = [settle_results(store, file, settlement.losers) for file in results if file.batch_id in late]
        yield commit_files(store, "source_results", corrected, stage=STAGE, generation=wave.generation + 1)
