"""The score job: a batch's aligned features → RunInference → one row a segment, once a model."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.ml.inference.base import ModelHandler, RunInference

from features.fusion.checkpoint import load_model
from features.fusion.loaded import LoadedModel
from features.fusion.scoring import score_segments
from features.store import Commit, FileRecord, Store, write_file
from features.store.models import ModelRef, find_model, model_folder
from pipelines.coders import stays_whole
from pipelines.model_inputs import raw_of, raw_snapshot, raw_tables, read_with_neighbours
from pipelines.reading import (
    BatchTables,
    best_sources,
    keys_of_model,
    score_stage,
    transcript_tables,
)
from pipelines.sinks import CommitWave, Heartbeat, commit_tables
from pipelines.waves import Summary, Wave, summarise

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from apache_beam.options.pipeline_options import PipelineOptions

    from features.store.lineage import Lineage
    from pipelines.options import RunConfig


stays_whole(BatchTables)


@stays_whole
class BatchScores(NamedTuple):
    """A batch's rows of `scores/<model>`."""

    batch_id: str
    rows: pa.Table


class ModelScorer(ModelHandler[BatchTables, BatchScores, LoadedModel]):  # type: ignore[misc]
    """Loads a registered model once a worker process and scores whole batches."""

    def __init__(self, store: str, ref: ModelRef, versions: Mapping[str, int]) -> None:
        super().__init__()
        self._store = store
        self._ref = ref
        self._versions = dict(versions)

    def load_model(self) -> LoadedModel:
        """The ready model."""
        return load_model(model_folder(Store.open(self._store), self._ref))

    def run_inference(
        self, batch: Sequence[BatchTables], model: LoadedModel, inference_args: Mapping[str, Any] | None = None
    ) -> Iterator[BatchScores]:
        """One output a batch."""
        del inference_args
        beat = Heartbeat()
        snapshot = raw_snapshot(Store.open(self._store), model.recipe, self._versions)
        for given in batch:
            beat()
            rows = score_segments(
                model,
                media=given.media,
                features=given.features,
                transcripts_sources=best_sources(given.transcripts),
                transcripts=given.transcripts,
                shots=given.shots,
                raw=raw_of(snapshot, model.recipe, given.batch_id),
                beside=given.beside,
            )
            beat.done(given.media.num_rows)
            yield BatchScores(given.batch_id, rows)

    def get_num_bytes(self, batch: Sequence[BatchTables]) -> int:
        """Bytes of features, for Beam's counters; by default it pickles the batch to know."""
        return sum(rows.nbytes for given in batch for rows in given.features.values())

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """An element is a whole batch already."""
        return {"min_batch_size": 1, "max_batch_size": 1}


def build(root: beam.PCollection[str], ref: ModelRef, wave: Wave) -> beam.PCollection[Commit]:
    """Batch ids → commits made."""
    lineage = lineage_of(Store.open(wave.store), ref, wave)
    return (
        root
        | "SpreadBatches" >> beam.Reshuffle()
        | "ReadFeatures" >> beam.Map(read_batch, wave.store, ref, lineage).with_output_types(BatchTables)
        | "Score" >> RunInference(ModelScorer(wave.store, ref, lineage.versions)).with_output_types(BatchScores)
        | "WriteFiles" >> beam.Map(write_batch, wave.store, ref, lineage)
        | "CommitWave" >> CommitWave(partial(commit_wave, wave, ref, lineage))
    )


def lineage_of(store: Store, ref: ModelRef, wave: Wave) -> Lineage:
    """What the scores say of their making; their inputs are read at the versions that stand here."""
    model = load_model(model_folder(store, ref))
    features = [f"features/{key}" for key in keys_of_model(store, model)]
    shots = ["shots@1"] if model.recipe.score_segmentation == "shots" else []
    return wave.lineage(
        score_stage(ref),
        fingerprint=model.fingerprint,
        inputs=store.versions(["media", *features, *raw_tables(model.recipe), *transcript_tables(store), *shots]),
    )


def run(config: RunConfig, wave: Wave, options: PipelineOptions) -> Summary:
    """Run one wave in this process and count what it committed."""
    from pipelines.runners import run_pipeline

    del config
    store = Store.open(wave.store)
    ref = find_model(store, wave.targets[0])
    run_pipeline(lambda pipeline: build(pipeline | beam.Create(wave.batch_ids), ref, wave), options)
    return summary(store, ref, wave.batch_ids)


def summary(store: Store, ref: ModelRef, batch_ids: tuple[str, ...]) -> Summary:
    """What is committed of scored batches."""
    return summarise(store, (ref.table,), batch_ids, (score_stage(ref),))


def read_batch(batch_id: str, root: str, ref: ModelRef, lineage: Lineage) -> BatchTables:
    """Read what the model needs of a batch, and of media of the same subjects where it normalises per subject."""
    store = Store.open(root)
    model = load_model(model_folder(store, ref))
    return read_with_neighbours(store, model.recipe, keys_of_model(store, model), batch_id, lineage.versions)


def write_batch(output: BatchScores, root: str, ref: ModelRef, lineage: Lineage) -> FileRecord:
    """Write a batch's scores."""
    return write_file(Store.open(root), ref.table, output.batch_id, output.rows, lineage=[lineage])


def commit_wave(wave: Wave, ref: ModelRef, lineage: Lineage, files: Sequence[FileRecord]) -> Iterator[Commit]:
    """Commit a wave's scores."""
    store = Store.open(wave.store)
    yield from commit_tables(store, files, (ref.table,), lineage=lineage, batch_ids=wave.batch_ids)
