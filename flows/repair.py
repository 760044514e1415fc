"""Repairing what `verify` found: just the damaged batches are made again, each from what it is made of."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ModelError, TriptychError
from features.extractors.registry import extractor_names, get_extractor, ordered
from features.schema import BASE_TABLES, OPTIONAL_TABLES
from features.store.commit import generation_of
from features.store.import_spec import is_imported
from features.store.leases import Leases
from features.store.lineage import Lineage, code_version
from features.store.models import find_model
from features.store.plan import waves
from features.store.salvage import drop_files, keep_statements, live_of, rebuild_sources
from flows import stages
from flows.console import progress
from pipelines import supervise
from pipelines.leasing import lease_names
from pipelines.options import ExtractConfig, RunConfig
from pipelines.reading import extract_stage, makers_of, score_stage, spec_of
from pipelines.waves import Summary, Wave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from features.spec import FeatureSpec
    from features.store import Store
    from features.store.verify import Finding

    RunWave = Callable[[Wave, RunConfig], Summary]

_STATEMENTS = ("labels", "splits", "failures", "runs", "tombstones")
_BASE = (*BASE_TABLES, *OPTIONAL_TABLES, "source_results", "media")
_LOST = {
    "labels": "load them again: triptych label {name} FILE",
    "splits": "load them again: triptych label {name} FILE, with the column split",
    "failures": "the dead letters in it are lost",
    "runs": "the figures of runs in it are lost",
    "tombstones": "what it kept out may come back: forget it again",
}


class Damage(NamedTuple):
    """A batch of a table that is to be mended, and its files that are not as they were committed."""

    table: str
    batch_id: str
    bad: tuple[str, ...]
    kinds: frozenset[str]


class Repair:
    """Mends a store, step by step; each step may be killed, and the next `verify --repair` goes on.

    Args:
        store: The store.
        config: How waves run.
        run_wave: Runs one; by default supervised, in a child.
    """

    def __init__(self, store: Store, config: RunConfig, run_wave: RunWave = supervise.run_wave) -> None:
        self._store = store
        self._config = config
        self._run_wave = run_wave
        self._run_id = stages.new_run_id()
        self._summary = Summary.none()

    def mend(self, findings: Iterable[Finding]) -> Iterator[str]:
        """Mend what was found; a line a step."""
        started_at, left = datetime.now(UTC), _damages(findings)
        for step in (self._strays, self._extra_files, self._statements, self._sources, self._imported, self._base):
            for line, done in step(left):
                left = [damage for damage in left if damage not in done]
                yield line
        yield from self._extracted(left)
        yield from self._scored(left)
        if self._summary.num_batches:
            stages.record_run(self._store, self._run_id, "verify", "repair", started_at, self._summary)
            self._summary = Summary.none()

    def _strays(self, damages: Sequence[Damage]) -> Iterator[tuple[str, list[Damage]]]:
        for damage in damages:
            if "stray" in damage.kinds:
                paths = [file.path for file in live_of(self._store, damage.table, damage.batch_id)]
                count = drop_files(self._store, damage.table, paths)
                yield f"{damage.table}  batch {damage.batch_id}: took out {count} files that nobody planned", [damage]

    def _extra_files(self, damages: Sequence[Damage]) -> Iterator[tuple[str, list[Damage]]]:
        """Foreign files beside sound ones of our own are taken out; what is left was committed by us."""
        for damage in damages:
            live = {file.path for file in live_of(self._store, damage.table, damage.batch_id)}
            if damage.kinds == {"foreign"} and live - set(damage.bad):
                drop_files(self._store, damage.table, damage.bad)
                yield f"{damage.table}  batch {damage.batch_id}: took out {len(damage.bad)} foreign files", [damage]

    def _statements(self, damages: Sequence[Damage]) -> Iterator[tuple[str, list[Damage]]]:
        for damage in damages:
            family, _, name = damage.table.partition("/")
            if family in _STATEMENTS:
                kept = keep_statements(self._store, damage.table, damage.batch_id, damage.bad, self._lineage())
                lost = f"; {_LOST[family].format(name=name)}" if kept.num_dropped_files else ""
                told = f"took out {kept.num_dropped_files} files, {kept.num_rows} rows are left{lost}"
                yield f"{damage.table}  batch {damage.batch_id}: {told}", [damage]

    def _sources(self, damages: Sequence[Damage]) -> Iterator[tuple[str, list[Damage]]]:
        for damage in [damage for damage in damages if damage.table == "sources"]:
            for table in ("source_results", "media"):  # what is damaged there is no help
                for other in damages:
                    if (other.table, other.batch_id) == (table, damage.batch_id):
                        drop_files(self._store, table, other.bad)
            count = rebuild_sources(self._store, damage.batch_id, damage.bad, self._lineage())
            if count:
                yield f"sources  batch {damage.batch_id}: listed {count} sources again", [damage]
            else:
                taken = _take_out(self._store, damage.batch_id)
                told = f"nothing tells what was planned: took out {taken} files; ingest its sources again"
                yield f"batch {damage.batch_id}: {told}", [d for d in damages if d.batch_id == damage.batch_id]

    def _imported(self, damages: Sequence[Damage]) -> Iterator[tuple[str, list[Damage]]]:
        """Features that were imported only people can bring again: the batch's go, and the coverage that tells of them.

        What is left would not be whole, and a file that is imported again adds only what its batches lack.
        """
        for key, batch_id in sorted({(damage.table.partition("/")[2], damage.batch_id) for damage in damages}):
            spec = spec_of(self._store, key) if key else None
            if spec is None or not is_imported(spec):
                continue
            tables = (spec.coverage_table, spec.table)
            done = [damage for damage in damages if damage.table in tables and damage.batch_id == batch_id]
            if done:
                paths = {table: [file.path for file in live_of(self._store, table, batch_id)] for table in tables}
                count = sum(drop_files(self._store, table, own) for table, own in paths.items() if own)
                again = f"triptych import-features FILE --modality {spec.modality} --name {spec.name}"
                told = f"took out {count} files, which were imported: {again} --version {spec.version}, of each file"
                yield f"{spec.table}  batch {batch_id}: {told}", done

    def _base(self, damages: Sequence[Damage]) -> Iterator[tuple[str, list[Damage]]]:
        targets: dict[str, set[str]] = defaultdict(set)
        for damage in [damage for damage in damages if damage.table in _BASE]:
            targets[damage.batch_id].add(damage.table)
            if damage.table in ("source_results", "media") and damage.bad:  # no command could read them
                drop_files(self._store, damage.table, damage.bad)
        groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for batch_id, tables in targets.items():
            groups[tuple(table for table in _BASE if table in tables)].append(batch_id)
        for made, batch_ids in sorted(groups.items()):
            stages_of = [(table, "ingest") for table in made]
            yield from self._waves("repair", made, batch_ids, stages_of, damages)

    def _extracted(self, damages: Sequence[Damage]) -> Iterator[str]:
        """Extractors by level: what reads text comes after what hears it."""
        specs = _specs(self._store)
        owed: dict[str, set[str]] = defaultdict(set)
        for damage in damages:
            family, _, key = damage.table.partition("/")
            if family in ("features", "coverage", "transcripts") and key in specs:
                owed[specs[key].maker].add(damage.batch_id)
            elif family in ("features", "coverage", "transcripts") and key:
                yield f"{damage.table}  batch {damage.batch_id}: {_no_extractor(key)}"
        for name in [name for level in ordered(owed) for name in level]:
            spec = next(spec for spec in specs.values() if spec.maker == name)
            stages_of = [(table, extract_stage(spec)) for table in (spec.table, spec.coverage_table)]
            for line, _ in self._waves("extract", (name,), sorted(owed[name]), stages_of, ()):
                yield line

    def _scored(self, damages: Sequence[Damage]) -> Iterator[str]:
        owed: dict[str, list[str]] = defaultdict(list)
        for damage in damages:
            if damage.table.startswith("scores/"):
                owed[damage.table].append(damage.batch_id)
        for table, batch_ids in owed.items():
            try:
                ref = find_model(self._store, table.partition("/")[2])
            except ModelError as error:
                yield f"{table}: cannot be scored again: {error}"
                continue
            for line, _ in self._waves("score", (ref.key,), batch_ids, [(table, score_stage(ref))], ()):
                yield line

    def _waves(
        self,
        stage: Any,  # noqa: ANN401 - a literal
        targets: tuple[str, ...],
        batch_ids: Sequence[str],
        stages_of: Sequence[tuple[str, str]],
        damages: Sequence[Damage],
    ) -> Iterator[tuple[str, list[Damage]]]:
        for some in waves(sorted(batch_ids), self._config.wave_size):
            before = [generation_of(self._store, *one, batch_id) for one in stages_of for batch_id in some]
            wave = Wave(self._store.root, stage, some, self._run_id, targets, generation=max(before) + 1)
            named = f"{', '.join(targets)}  {len(some)} batches ({', '.join(some)})"
            done = [damage for damage in damages if damage.table in targets and damage.batch_id in some]
            try:
                with progress(f"make again: {named}", len(some)), Leases(self._store, self._run_id) as leases:
                    leases.take(
                        name for batch_id in some for name in lease_names(wave, batch_id)
                    )  # for maintain to see
                    summary = self._run_wave(wave, self._config_of(stage))
            except TriptychError as error:
                yield f"{named}: cannot be made again: {error}", done
                continue
            self._summary = self._summary.plus(summary)
            lost = stage == "repair" and summary.num_failures
            note = "; not all of it: see triptych failures; what was computed from the lost rows stays" if lost else ""
            yield f"{named}: made again as generation {wave.generation}{note}", done

    def _config_of(self, stage: str) -> RunConfig:
        options = {item.name: getattr(self._config, item.name) for item in dataclasses.fields(RunConfig)}
        return ExtractConfig(**options) if stage == "extract" else RunConfig(**options)

    def _lineage(self) -> Lineage:
        return Lineage(self._run_id, "repair", code_version())


def _take_out(store: Store, batch_id: str) -> int:
    """Take a batch out of every table's log, so that its sources count as new."""
    tables = [table for table in store.tables() if table not in _STATEMENTS]
    files = {table: [file.path for file in live_of(store, table, batch_id)] for table in tables}
    return sum(drop_files(store, table, paths) for table, paths in files.items() if paths)


def _damages(findings: Iterable[Finding]) -> list[Damage]:
    """Findings by table and batch."""
    bad: dict[tuple[str, str], set[str]] = defaultdict(set)
    kinds: dict[tuple[str, str], set[str]] = defaultdict(set)
    for finding in findings:
        bad[finding.table, finding.batch_id] |= {finding.path} - {""}
        kinds[finding.table, finding.batch_id].add(finding.kind)
    return [Damage(*place, tuple(sorted(bad[place])), frozenset(kinds[place])) for place in sorted(bad)]


def _specs(store: Store) -> dict[str, FeatureSpec]:
    """Specs of the extractors of this environment, by key; also of those that the store's tables name."""
    found = {}
    for name in dict.fromkeys((*extractor_names(), *makers_of(store))):
        try:
            spec = get_extractor(name).spec
        except TriptychError:
            continue  # a broken plug-in does not hide the rest
        found[spec.key] = spec
    return found


def _no_extractor(key: str) -> str:
    return (
        f"no extractor {key!r} is installed (see: triptych features), so it cannot be made again; install its package"
    )
