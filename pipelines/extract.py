"""The extract job: a batch's base rows → RunInference → feature or transcript rows, coverage last."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.ml.inference.base import ModelHandler, RunInference

from features.extractors.engine import Extracted, extract_media
from features.extractors.registry import get_extractor
from features.records import FeatureRow, MediaRows, Utterance
from features.schema import BATCH_ID
from features.store import Commit, FileRecord, Store, read_table, write_file
from features.store.covered import only_media
from features.store.lineage import Lineage, read_lineage
from features.store.media import read_record
from features.store.rows import audio_of, feature_rows, frames_of, table_of, transcript_rows, utterances_of
from features.transcripts.choice import best_text
from pipelines.again import commit_again
from pipelines.reading import extract_stage, transcript_tables, transcripts_of
from pipelines.sinks import CommitWave, Failure, Heartbeat, commit_tables, write_failures
from pipelines.waves import Summary, Wave, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from features.extractors.base import Extractor
    from features.spec import FeatureSpec
    from pipelines.options import InferenceConfig


class BatchInput(NamedTuple):
    """A batch's media with what an extractor reads of them, and the media that are not its business."""

    batch_id: str
    medias: tuple[MediaRows, ...]
    skipped: tuple[str, ...]


class BatchOutput(NamedTuple):
    """What an extractor found in a batch, media by media in order."""

    batch_id: str
    found: tuple[Extracted, ...]


class ExtractorHandler(ModelHandler[BatchInput, BatchOutput, Any]):  # type: ignore[misc]
    """Loads an extractor's model once a worker process and runs it over whole batches, across their media."""

    def __init__(self, name: str, device: str, batch_size: int) -> None:
        super().__init__()
        self._name = name
        self._device = device
        self._batch_size = batch_size

    def load_model(self) -> Any:  # noqa: ANN401 - each extractor has its own model
        """The ready model."""
        return get_extractor(self._name).load(self._device)

    def run_inference(
        self,
        batch: Sequence[BatchInput],
        model: Any,  # noqa: ANN401 - each extractor has its own model
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterator[BatchOutput]:
        """One output a batch."""
        del inference_args
        extractor, beat = get_extractor(self._name), Heartbeat()
        for given in batch:
            found = []
            for one in extract_media(
                extractor, model, given.medias, batch_size=self._batch_size or None, on_progress=beat
            ):
                found.append(one)
                beat.done()
            beat.done(len(given.skipped))
            skipped = [Extracted(media_id, "skipped", (), None, "use refused") for media_id in given.skipped]
            yield BatchOutput(given.batch_id, (*found, *skipped))

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """An element is a whole batch already."""
        return {"min_batch_size": 1, "max_batch_size": 1}


def build(root: beam.Pipeline, config: InferenceConfig, wave: Wave) -> beam.PCollection[Commit]:
    """The wave's batches through each of its extractors → commits made.

    Extractors of one wave do not read each other's output. Each has the batches that it still owes.
    """
    files = [_extract_with(root, get_extractor(name), config, wave) for name in wave.targets]
    return files | "MeetOfExtractors" >> beam.Flatten() | "CommitWave" >> CommitWave(partial(commit_wave, wave))


def _extract_with(
    root: beam.Pipeline, extractor: Extractor, config: InferenceConfig, wave: Wave
) -> beam.PCollection[FileRecord]:
    store, name = Store.open(wave.store), extractor.spec.name
    lineage = lineage_of(store, extractor.spec, wave)
    return (
        root
        | f"{name}:Batches" >> beam.Create(owed(store, extractor.spec, wave))
        | f"{name}:Spread" >> beam.Reshuffle()
        | f"{name}:ReadRows" >> beam.Map(read_batch, wave, name, lineage)
        | f"{name}:Infer" >> RunInference(ExtractorHandler(name, config.device, config.batch_size))
        | f"{name}:WriteFiles" >> beam.FlatMap(write_batch, wave, name, lineage)
    )


def lineage_of(store: Store, spec: FeatureSpec, wave: Wave) -> Lineage:
    """What an extractor's files say of their making; its inputs are read at the versions that stand here."""
    tables = transcript_tables(store) if spec.inputs == "transcripts" else (spec.inputs,)
    inputs = store.versions(["media", *tables])
    only = only_media(wave.media_ids)
    return wave.lineage(extract_stage(spec), fingerprint=spec.fingerprint, inputs=inputs, config=only)


def run(config: InferenceConfig, wave: Wave, options: PipelineOptions) -> Summary:
    """Run one wave in this process and count what it committed."""
    from pipelines.runners import run_pipeline

    run_pipeline(lambda pipeline: build(pipeline, config, wave), options)
    return summary(Store.open(wave.store), wave.targets, wave.batch_ids)


def summary(store: Store, names: tuple[str, ...], batch_ids: tuple[str, ...]) -> Summary:
    """What is committed of extracted batches."""
    specs = [get_extractor(name).spec for name in names]
    return summarise(store, tuple(s.table for s in specs), batch_ids, tuple(extract_stage(s) for s in specs))


def owed(store: Store, spec: FeatureSpec, wave: Wave) -> list[str]:
    """Batches of the wave that the extractor has not covered; in a later generation: all."""
    done = store.batches(spec.coverage_table) if wave.generation == 1 else frozenset()
    return sorted(set(wave.batch_ids) - done)


def read_batch(batch_id: str, wave: Wave, name: str, lineage: Lineage) -> BatchInput:
    """Read what an extractor needs of a batch: its media, and the rows of the one table that it reads."""
    store, versions = Store.open(wave.store), lineage.versions
    spec = get_extractor(name).spec
    media = read_table(store, "media", batch_ids=[batch_id], versions=versions).to_pylist()
    rows = _input_rows(store, spec, batch_id, versions)
    starts = _slices(rows)
    kept = kept_media(store, spec, wave, batch_id)
    medias, skipped = [], []
    for row in media:
        if row["media_id"] in kept:
            continue
        if row["consent"] == "refused":
            skipped.append(row["media_id"])
            continue
        own = rows.slice(*starts.get(row["media_id"], (0, 0)))
        medias.append(_media_rows(row, spec, own))
    return BatchInput(batch_id, tuple(medias), tuple(skipped))


def kept_media(store: Store, spec: FeatureSpec, wave: Wave, batch_id: str) -> frozenset[str]:
    """Media of a batch that the wave does not do again: their rows stay."""
    if not wave.keeps_rows:
        return frozenset()
    rows = read_table(store, spec.coverage_table, batch_ids=[batch_id], columns=["media_id", "status"]).to_pylist()
    again = {row["media_id"] for row in rows if wave.scope == "all" or row["status"] == "failed"}
    again = again.intersection(wave.media_ids) if wave.media_ids else again
    return frozenset(row["media_id"] for row in rows) - again


def _input_rows(store: Store, spec: FeatureSpec, batch_id: str, versions: Mapping[str, int]) -> pa.Table:
    if spec.inputs != "transcripts":
        return read_table(store, spec.inputs, batch_ids=[batch_id], versions=versions)
    return transcripts_of(store, [batch_id], versions)


def _slices(rows: pa.Table) -> dict[str, tuple[int, int]]:
    """Offset and length of each media's rows; a media's rows stand together."""
    runs = pc.run_end_encode(rows["media_id"].combine_chunks()) if rows.num_rows else None
    if runs is None:
        return {}
    ends = runs.run_ends.to_pylist()
    starts = [0, *ends[:-1]]
    return {m: (a, b - a) for m, a, b in zip(runs.values.to_pylist(), starts, ends, strict=True)}


def _media_rows(row: Mapping[str, Any], spec: FeatureSpec, rows: pa.Table) -> MediaRows:
    return MediaRows(
        media_id=row["media_id"],
        duration_us=row["duration_us"] or 0,
        has_video=bool(row["has_video"]),
        has_audio=bool(row["has_audio"]),
        has_text=bool(row["has_text"]),
        frames=frames_of(rows) if spec.inputs == "frames" else (),
        audio=audio_of(rows) if spec.inputs == "audio" else (),
        utterances=best_text(utterances_of(rows), language=row["language"]) if spec.inputs == "transcripts" else (),
    )


def write_batch(output: BatchOutput, wave: Wave, name: str, lineage: Lineage) -> list[FileRecord]:
    """Write a batch's rows, coverage and dead letters."""
    store = Store.open(wave.store)
    spec = get_extractor(name).spec
    tables = [_rows_of(spec, found) for found in output.found if found.rows]
    coverage = table_of(
        spec.coverage_table,
        (
            {"media_id": f.media_id, "status": f.status, "num_rows": len(f.rows), "message": f.message}
            for f in output.found
        ),
    )
    failures = [
        Failure(extract_stage(spec), f.media_id, None, f.error or "ExtractionError", f.message or "")
        for f in output.found
        if f.status == "failed"
    ]
    rows = pa.concat_tables(tables) if tables else table_of(spec.table, ())
    if wave.keeps_rows:
        again = [found.media_id for found in output.found]
        rows = _with_kept(store, spec.table, output.batch_id, rows, again)
        coverage = _with_kept(store, spec.coverage_table, output.batch_id, coverage, again)
    return [
        write_file(store, spec.table, output.batch_id, rows, lineage=[lineage]),
        write_file(store, spec.coverage_table, output.batch_id, coverage, lineage=[lineage]),
        *write_failures(store, output.batch_id, failures, lineage),
    ]


def _with_kept(store: Store, table: str, batch_id: str, rows: pa.Table, again: Sequence[str]) -> pa.Table:
    """Rows of media that were done again among the rows that the batch keeps, in the order of its media."""
    before = read_table(store, table, batch_ids=[batch_id]).drop_columns([BATCH_ID])
    stay = before.filter(pc.invert(pc.is_in(before["media_id"], pa.array(again, pa.string()))))
    both = pa.concat_tables([stay, rows])
    media = read_table(store, "media", batch_ids=[batch_id], columns=["media_id"])["media_id"].combine_chunks()
    place = pc.index_in(both["media_id"].combine_chunks(), value_set=media)
    order = np.argsort(place.to_numpy(zero_copy_only=False), kind="stable")
    return both.take(pa.array(order))


def _rows_of(spec: FeatureSpec, found: Extracted) -> pa.Table:
    if spec.output == "transcripts":
        return transcript_rows(found.media_id, [row for row in found.rows if isinstance(row, Utterance)])
    return feature_rows(found.media_id, [row for row in found.rows if isinstance(row, FeatureRow)])


def commit_wave(wave: Wave, files: Sequence[FileRecord]) -> Iterator[Commit]:
    """Commit a wave: per extractor its failures, its rows, and coverage as the mark of done."""
    store = Store.open(wave.store)
    for name in wave.targets:
        spec = get_extractor(name).spec
        own = [file for file in files if file.table in (spec.table, spec.coverage_table)]
        letters = [f for f in files if f.table == "failures" and _stage_of(store, f) == extract_stage(spec)]
        batch_ids = {file.batch_id for file in own}
        if not own:
            continue
        (lineage,) = read_lineage(store.table_path(own[0].table) / own[0].path)
        store.ensure(spec.table, spec)  # refuses features that other weights made, before anything is committed
        if wave.generation > 1:
            yield from commit_again(store, spec, own, letters, lineage)
        else:
            tables = (spec.table, spec.coverage_table)
            yield from commit_tables(store, [*letters, *own], tables, lineage=lineage, batch_ids=batch_ids, spec=spec)


def _stage_of(store: Store, file: FileRecord) -> str:
    """Whose dead letters a file holds; it has at least one."""
    return str(read_record(store, file)["stage"][0])
