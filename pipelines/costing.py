"""CPU, time and bytes of a run's stages: of what comes in, and of what extractors and models still owe."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, NamedTuple

from features.extractors.registry import get_extractor
from features.extractors.speeds import known_speeds
from features.media.options import DecodeOptions, tables_asked
from features.planning import rates
from features.planning.calibration import Calibration, bytes_calibration, cpu_calibration, efficiency
from features.planning.figures import StageFigures, TableFigures
from features.planning.records import newest_records, stages_of
from features.planning.work import Work, work_in
from features.schema import BASE_TABLES
from features.store import pending_batches
from features.store.models import find_model, list_models
from pipelines.history import records_of_older_runs
from pipelines.options import decode_config

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.planning.figures import Sources
    from features.planning.records import RunRecord, StageRecord
    from features.spec import FeatureSpec
    from features.store import Store
    from pipelines.options import NightlyConfig

_MEGABYTE = 1 << 20
_SMALL_NIGHT_BATCHES = 4
_SMALL_BATCH_BYTES = 16 << 20
_BASE = ("frames", "audio")
BY_SAMPLE = "the sample"
SOURCE_FILES = "source files"
"""Stands among the tables for what is read of the sources."""


class Costs(NamedTuple):
    """What a run costs; `backlog_seconds` is the time of media that are in and that it catches up with."""

    stages: tuple[StageFigures, ...]
    tables: tuple[TableFigures, ...]
    backlog_seconds: float


class Owed(NamedTuple):
    """What an extractor or a model has to go through."""

    work: Work
    num_batches: int


def cost_run(
    config: NightlyConfig, store: Store | None, makers: Sequence[str], coming: Work, sources: Sources
) -> Costs:
    """Cost a run.

    Args:
        config: As for the run.
        store: Its store, where there is one.
        makers: Its extractors.
        coming: What comes in.
        sources: How many sources, and how large.
    """
    return _Costing(config, store, makers, coming, sources).costs()


def num_batches_of(config: NightlyConfig, num_sources: float, size_bytes: float) -> int:
    """Batches that so many sources are planned as; see `BatchLimits`."""
    if num_sources < 1:
        return 0
    by_size = math.ceil(size_bytes / (config.batch_megabytes * _MEGABYTE))
    least = max(1, by_size, math.ceil(num_sources / config.batch_sources))
    spread = max(_SMALL_NIGHT_BATCHES, size_bytes // _SMALL_BATCH_BYTES)
    return int(min(num_sources, max(least, min(config.num_workers, spread))))


class _Costing:
    """One run."""

    def __init__(
        self, config: NightlyConfig, store: Store | None, makers: Sequence[str], coming: Work, sources: Sources
    ) -> None:
        self.backlog_seconds = 0.0
        self._config = config
        self._store = store
        self._coming = coming
        self._sources = sources
        self._specs = {maker: get_extractor(maker).spec for maker in makers}
        self._records = self._known_records()
        self._options = DecodeOptions(**json.loads(decode_config(config)))
        self._speeds = known_speeds(config.device)
        self._num_new = num_batches_of(config, sources.new + sources.waiting, sources.size_bytes)

    def costs(self) -> Costs:
        """All of it."""
        specs, models = tuple(self._specs.values()), self._models()
        owed = {spec.key: self._owed(spec.coverage_table) for spec in specs}
        owed_scores = {table: self._owed(table) for table in models.values()}
        stages = [self._ingest(), *(self._extract(maker, owed[spec.key]) for maker, spec in self._specs.items())]
        stages += [self._score(key, owed_scores[table]) for key, table in models.items()]
        tables = [*self._ingested(owed), *(table for spec in specs for table in self._extracted(spec, owed[spec.key]))]
        tables += [self._scored(table, owed_scores[table]) for table in models.values()]
        return Costs(tuple(stages), tuple(tables), self.backlog_seconds)

    def _known_records(self) -> tuple[RunRecord, ...]:
        if self._store is None:
            return ()
        return newest_records(self._store) or records_of_older_runs(self._store)

    def _models(self) -> dict[str, str]:
        """Stages and tables of the models that a run scores with: the newest of each name."""
        if self._store is None:
            return {}
        refs = [find_model(self._store, name) for name in sorted({ref.name for ref in list_models(self._store)})]
        return {f"score {ref.key}": ref.table for ref in refs}

    def _owed(self, done: str) -> Owed:
        """What comes in, and the backlog."""
        batch_ids = pending_batches(self._store, done) if self._store is not None else ()
        if self._store is None or not batch_ids:
            return Owed(self._coming, self._num_new)
        backlog = work_in(self._store, batch_ids)
        self.backlog_seconds = max(self.backlog_seconds, backlog.media_seconds)
        return Owed(self._coming.plus(backlog), self._num_new + len(batch_ids))

    def _ingest(self) -> StageFigures:
        cost = rates.ingest_cost(self._coming, self._options)
        known = cpu_calibration(
            stages_of(self._records, "ingest"), lambda one: rates.ingest_cost(one.work, self._options).cpu_seconds
        )
        return self._stage("ingest", "ingest", cost, known, self._num_new if self._sources.size_bytes else 0)

    def _extract(self, maker: str, owed: Owed) -> StageFigures:
        """An extractor's share: extractors of one input start together, so each has its part of that."""
        spec = self._specs[maker]
        cost = rates.extract_cost(spec, owed.work, self._speeds)
        known = cpu_calibration(stages_of(self._records, "extract"), self._predicted)
        sharers = sum((one.inputs in _BASE) == (spec.inputs in _BASE) for one in self._specs.values())
        return self._stage(f"extract {spec.key}", "extract", cost, known, owed.num_batches, sharers)

    def _predicted(self, one: StageRecord) -> float:
        """CPU seconds of an earlier run of extractors, by the rates; 0 where one of them is not asked for now."""
        if not one.targets or any(maker not in self._specs for maker in one.targets):
            return 0.0
        specs = (self._specs[maker] for maker in one.targets)
        return sum(rates.extract_cost(spec, one.work, self._speeds).cpu_seconds for spec in specs)

    def _score(self, key: str, owed: Owed) -> StageFigures:
        known = cpu_calibration(stages_of(self._records, "score"), lambda one: rates.score_cost(one.work).cpu_seconds)
        return self._stage(key, "score", rates.score_cost(owed.work), known, owed.num_batches)

    def _stage(
        self, name: str, kind: str, cost: rates.Cost, known: Calibration, num_batches: int, sharers: int = 1
    ) -> StageFigures:
        workers = self._config.num_workers
        num_waves = math.ceil(num_batches / self._config.wave_size)
        seconds = cost.cpu_seconds * known.factor
        at_once = max(1, min(workers, os.cpu_count() or 1, num_batches))
        wall = seconds / (at_once * efficiency(stages_of(self._records, kind)))
        wall += rates.wall_start_seconds(kind, num_waves) / sharers
        start = rates.start_seconds(kind, num_waves, workers) / sharers
        return StageFigures(name, seconds + start, wall, known.origin(cost.origin))

    def _ingested(self, owed: dict[str, Owed]) -> list[TableFigures]:
        tables = [TableFigures(SOURCE_FILES, 0.0, self._sources.size_bytes, "the listing")]
        for table in (*BASE_TABLES, *tables_asked(asdict(self._options)), "media", "sources", "source_results"):
            size = rates.table_bytes(table, self._coming, self._num_new)
            known = Calibration()
            if table == "transcripts":
                known = bytes_calibration(
                    stages_of(self._records, "ingest"),
                    table,
                    lambda one: rates.table_bytes("transcripts", one.work, one.num_batches),
                )
            read = self._read_again(table, owed)
            origin = BY_SAMPLE if table in ("frames", "audio") else rates.BY_DEFAULT
            tables.append(TableFigures(table, size * known.factor, read, known.origin(origin)))
        return tables

    def _read_again(self, table: str, owed: dict[str, Owed]) -> float:
        """Bytes that extractors read of a base table: once for all that read it."""
        works = [owed[spec.key] for spec in self._specs.values() if spec.inputs == table]
        return max((rates.table_bytes(table, one.work, one.num_batches) for one in works), default=0.0)

    def _extracted(self, spec: FeatureSpec, owed: Owed) -> list[TableFigures]:
        work, num_batches = owed
        known = bytes_calibration(
            stages_of(self._records, "extract"),
            spec.table,
            lambda one: rates.extracted_bytes(spec, one.work, one.num_batches),
        )
        size = rates.extracted_bytes(spec, work, num_batches) * known.factor
        coverage = rates.coverage_bytes(work, num_batches)
        return [
            TableFigures(spec.table, size, 0.0, known.origin()),
            TableFigures(spec.coverage_table, coverage, 0.0, rates.BY_DEFAULT),
        ]

    def _scored(self, table: str, owed: Owed) -> TableFigures:
        known = bytes_calibration(
            stages_of(self._records, "score"), table, lambda one: rates.score_bytes(one.work, one.num_batches)
        )
        size = rates.score_bytes(owed.work, owed.num_batches) * known.factor
        return TableFigures(table, size, 0.0, known.origin())
