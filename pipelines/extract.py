"""The extract job: a batch's base rows → RunInference → feature or transcript rows, coverage last."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.ml.inference.base import RunInference

from features.extractors.registry import get_extractor
from features.privacy.consent import first_refused, purposes_of
from features.records import WITH_FAILURES, FeatureRow, MediaRows, Utterance
from features.schema import BATCH_ID
from features.store import Commit, FileRecord, Store, read_table, write_file
from features.store.covered import only_media
from features.store.lineage import Lineage, read_lineage
from features.store.media import read_record
from features.store.rows import audio_of, feature_rows_of, frames_of, table_of, transcript_rows, utterances_of
from features.transcripts.choice import best_text
from pipelines.again import commit_again
from pipelines.inference import BatchInput, BatchOutput, ExtractorHandler, Outputs
from pipelines.reading import extract_stage, transcript_tables, transcripts_of
from pipelines.sinks import CommitWave, Failure, commit_tables, write_failures
from pipelines.waves import Summary, Wave, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from features.extractors.engine import Extracted
    from features.spec import FeatureSpec
    from pipelines.options import InferenceConfig


def build(root: beam.Pipeline, config: InferenceConfig, wave: Wave) -> beam.PCollection[Commit]:
    """The wave's batches through each of its extractors → commits made.

    Extractors of one wave do not read each other's output. Those that read the same table go through a batch together,
    and each has the batches that it still owes.
    """
    groups: dict[str, list[str]] = {}
    for maker in wave.targets:
        groups.setdefault(get_extractor(maker).spec.inputs, []).append(maker)
    files = [_extract_with(root, inputs, makers, config, wave) for inputs, makers in groups.items()]
    return files | "MeetOfExtractors" >> beam.Flatten() | "CommitWave" >> CommitWave(partial(commit_wave, wave))


def _extract_with(
    root: beam.Pipeline, inputs: str, makers: Sequence[str], config: InferenceConfig, wave: Wave
) -> beam.PCollection[FileRecord]:
    store = Store.open(wave.store)
    specs = {maker: get_extractor(maker).spec for maker in makers}
    lineages = {maker: lineage_of(store, spec, wave) for maker, spec in specs.items()}
    return (
        root
        | f"{inputs}:Batches" >> beam.Create(_owed_by_batch(store, specs, wave))
        | f"{inputs}:Spread" >> beam.Reshuffle()
        | f"{inputs}:ReadRows" >> beam.FlatMap(read_batches, wave, lineages).with_output_types(BatchInput)
        | f"{inputs}:Infer" >> RunInference(ExtractorHandler(makers, config)).with_output_types(Outputs)
        | f"{inputs}:WriteFiles" >> beam.FlatMap(write_batches, wave, lineages)
    )


def _owed_by_batch(store: Store, specs: Mapping[str, FeatureSpec], wave: Wave) -> list[tuple[str, tuple[str, ...]]]:
    """Batches, each with the extractors that it still owes rows to."""
    owing: dict[str, list[str]] = {}
    for maker, spec in specs.items():
        for batch_id in owed(store, spec, wave):
            owing.setdefault(batch_id, []).append(maker)
    return [(batch_id, tuple(makers)) for batch_id, makers in sorted(owing.items())]


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


def read_batches(given: tuple[str, tuple[str, ...]], wave: Wave, lineages: Mapping[str, Lineage]) -> list[BatchInput]:
    """Read what extractors need of a batch: its media, and the rows of the one table that they read.

    Extractors that may not see the same media, by consent, go through the batch apart.
    """
    batch_id, makers = given
    store, specs = Store.open(wave.store), [get_extractor(maker).spec for maker in makers]
    spec, versions = specs[0], lineages[makers[0]].versions
    media = read_table(store, "media", batch_ids=[batch_id], versions=versions).to_pylist()
    rows = _input_rows(store, spec, batch_id, versions)
    starts = _slices(rows)
    kept = frozenset.intersection(*(kept_media(store, spec, wave, batch_id) for spec in specs))
    wanted = [row for row in media if row["media_id"] not in kept]
    by_skipped: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for maker, one in zip(makers, specs, strict=True):
        by_skipped.setdefault(skipped_media(wanted, one), []).append(maker)
    found = []
    for skipped, some in by_skipped.items():
        left_out = dict(skipped)
        seen = [row for row in wanted if row["media_id"] not in left_out]
        medias = [_media_rows(row, spec, rows.slice(*starts.get(row["media_id"], (0, 0)))) for row in seen]
        found.append(BatchInput(batch_id, tuple(some), tuple(medias), skipped))
    return found


def skipped_media(media: Sequence[Mapping[str, Any]], spec: FeatureSpec) -> tuple[tuple[str, str], ...]:
    """Media that an extractor has no consent for, each with the reason."""
    refused = [(row["media_id"], first_refused(row["consent"], purposes_of(spec))) for row in media]
    return tuple((media_id, f"consent refused for {purpose}") for media_id, purpose in refused if purpose is not None)


def kept_media(store: Store, spec: FeatureSpec, wave: Wave, batch_id: str) -> frozenset[str]:
    """Media of a batch that the wave does not do again: their rows stay."""
    if not wave.keeps_rows:
        return frozenset()
    rows = read_table(store, spec.coverage_table, batch_ids=[batch_id], columns=["media_id", "status"]).to_pylist()
    again = {row["media_id"] for row in rows if wave.scope == "all" or row["status"] in WITH_FAILURES}
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
        loudness_lufs=row["loudness_lufs"],
    )


def write_batches(outputs: Outputs, wave: Wave, lineages: Mapping[str, Lineage]) -> list[FileRecord]:
    """Write what extractors made of a batch."""
    return [file for output in outputs.by_maker for file in write_batch(output, wave, lineages[output.maker])]


def write_batch(output: BatchOutput, wave: Wave, lineage: Lineage) -> list[FileRecord]:
    """Write an extractor's rows, coverage and dead letters of a batch."""
    store = Store.open(wave.store)
    spec = get_extractor(output.maker).spec
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
        if f.status in WITH_FAILURES
    ]
    rows = _rows_of(spec, output.found)
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


def _rows_of(spec: FeatureSpec, found: Sequence[Extracted]) -> pa.Table:
    if spec.output == "transcripts":
        told = [(one.media_id, [row for row in one.rows if isinstance(row, Utterance)]) for one in found]
        return pa.concat_tables([table_of(spec.table, ()), *(transcript_rows(*own) for own in told if own[1])])
    return feature_rows_of(
        [(one.media_id, [row for row in one.rows if isinstance(row, FeatureRow)]) for one in found], spec.table
    )


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
