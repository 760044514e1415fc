"""What each stage still owes, as waves, and the shell around running them: the flows and the command line share it."""

from __future__ import annotations

import uuid
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import AllMediaFailedError, ConfigError, StoreError
from features.extractors.registry import default_extractors, get_extractor, ordered
from features.fusion.recipe import load_recipe
from features.privacy.consent_policy import find_policy
from features.store import (
    Store,
    commit_files,
    pending_batches,
    plan_sources,
    read_table,
    unfinished_batches,
    write_file,
)
from features.store.labels import read_label_file
from features.store.lineage import Lineage, code_version
from features.store.plan import BatchLimits, read_plan, waves
from features.store.rows import table_of
from features.store.storage import place_of, root_of
from features.tokenizer.folder import newest_maker
from pipelines.options import decode_config
from pipelines.reading import check_shots_of, feature_keys, inputs_of, scores_shots
from pipelines.sources import check_sources, list_configured
from pipelines.stated import check_labels_from
from pipelines.waves import Summary, Wave

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from features.store.models import ModelRef
    from features.store.plan import Source
    from pipelines.options import DecodeConfig, ExtractConfig, IngestConfig, NightlyConfig, RunConfig

_MEGABYTE = 1 << 20
_SEVERAL_SOURCES = 3
_REMEDY = "see that this machine's FFmpeg has their codecs (triptych doctor) and that they play elsewhere"
_REMEDIES = {
    "MediaError": "see that the disk of the sources is mounted and may be read",
    "DecoderMemoryError": "allow more memory with --decode-memory-megabytes",
    "DecoderTimeoutError": "see that the disk of the sources answers, or allow more with --decode-stall-seconds",
}


def new_run_id() -> str:
    """Name of a run: its start in UTC and a few random digits."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def plan_ingest(config: IngestConfig, root: str, run_id: str) -> tuple[Store, list[Wave]]:
    """List the sources, commit what is new as batches, and return the waves that ingest owes.

    Sources are listed before the store is touched, so a wrong path leaves no trace. Planned batches that were not
    finished come first.

    Raises:
        ConfigError: A source is missing or empty.
        StoreError: The folder is no store.
    """
    store_path = root_of(root)
    check_labels_from(config.labels_from)
    sources = list_configured(config, store_path)
    store = Store.create(root)
    unfinished = unfinished_batches(store)
    new = plan_listed(config, store, sources, run_id, limit=config.limit or None)
    return store, list(_ingest_waves(config, store, (*unfinished, *new), run_id))


def plan_listed(
    config: DecodeConfig,
    store: Store,
    sources: Iterable[Source],
    run_id: str,
    *,
    limit: int | None = None,
    again: bool = False,
) -> tuple[str, ...]:
    """Commit what is new of listed sources as batches; with `again`, also what is known, once an attempt."""
    limits = BatchLimits(
        max_bytes=config.batch_megabytes * _MEGABYTE,
        max_sources=config.batch_sources,
        min_batches=config.num_workers,
    )
    return plan_sources(
        store,
        sources,
        now=datetime.now(UTC),
        limits=limits,
        config=decode_config(config),
        limit=limit,
        run_id=run_id,
        again=again,
    )


def plan_unfinished(
    config: RunConfig, store: Store, run_id: str, only: Collection[str] | None = None
) -> Iterator[Wave]:
    """Waves of the planned batches (of some only) that are not ingested by now, whoever planned them."""
    batch_ids = [batch_id for batch_id in unfinished_batches(store) if only is None or batch_id in only]
    return _ingest_waves(config, store, batch_ids, run_id)


def _ingest_waves(config: RunConfig, store: Store, batch_ids: Sequence[str], run_id: str) -> Iterator[Wave]:
    for wave in waves(batch_ids, config.wave_size):
        yield Wave(store.root, "ingest", wave, run_id)


def check_ingested(store: Store, wave: Wave) -> None:
    """Refuse to go on after a wave of ingest that failed for every source, of several, at the first attempt.

    One bad file is a dead letter; a wave of them is a disk that is not mounted or a codec that is missing, and would
    go on through the whole archive. What is committed, the dead letters too, stays.

    Raises:
        AllMediaFailedError: At least three sources, and not one came in, was known, or was refused.
    """
    if wave.stage != "ingest":
        return
    sources = [source for batch in read_plan(store, wave.batch_ids) for source in batch.sources]
    statuses = read_table(store, "source_results", batch_ids=wave.batch_ids, columns=["status"])["status"].to_pylist()
    is_new = any(source.attempt == 1 for source in sources)  # what is tried again has failed before
    if not is_new or len(statuses) < _SEVERAL_SOURCES or set(statuses) != {"failed"}:
        return
    letters = read_table(store, "failures", batch_ids=wave.batch_ids, columns=["stage", "error", "message"]).to_pylist()
    counts = Counter(letter["error"] for letter in letters if letter["stage"] == wave.stage)
    (commonest, _), *_ = counts.most_common()
    told = ", ".join(f"{count} {error}" for error, count in counts.most_common())
    example = next(letter["message"] for letter in letters if letter["error"] == commonest)
    message = (
        f"every source of the wave failed, {len(statuses)} of {len(statuses)} ({told}; such as: {example}); "
        f"{_REMEDIES.get(commonest, _REMEDY)}, then run triptych failures --retry"
    )
    raise AllMediaFailedError(message)


def chosen_extractors(
    names: Sequence[str], *, skip_black: bool = False, skip_silence: bool = False, store: Store | None = None
) -> tuple[tuple[str, ...], ...]:
    """Extractors by level: those that read base tables, then those that read recognised text.

    A text extractor brings the default recognisers with it, since it waits for what they hear. Plain `tokens` means
    the newest tokenizer of the store.

    Raises:
        ConfigError: An extractor is unknown, or the store has no tokenizer.
    """
    wanted = [_of_store(name, store) for name in names or default_extractors()]
    if skip_black or skip_silence:
        wanted = [_cleaned(name, skip_black=skip_black, skip_silence=skip_silence) for name in wanted]
    if any(get_extractor(name).spec.inputs == "transcripts" for name in wanted):
        wanted += [name for name in recognisers() if name not in wanted]
    return ordered(wanted)


def wanted_extractors(config: ExtractConfig, store: Store | None = None) -> tuple[tuple[str, ...], ...]:
    """The extractors that a configuration asks for, by level; `tokens` needs the store.

    Raises:
        ConfigError: An extractor is unknown, or the store has no tokenizer.
    """
    skip_black, skip_silence = config.skip_black, config.skip_silence
    return chosen_extractors(config.extractors, skip_black=skip_black, skip_silence=skip_silence, store=store)


def _of_store(name: str, store: Store | None) -> str:
    """What makes an extractor whose model lies in the store; another's name as it is."""
    return newest_maker(store) if name == "tokens" and store is not None else name


def _cleaned(maker: str, *, skip_black: bool, skip_silence: bool) -> str:
    """An extractor that leaves out what was asked, where it reads what may be left out; recognisers hear all."""
    spec = get_extractor(maker).spec
    suffix = {"frames": "+nonblack" * skip_black, "audio": "+nonsilent" * skip_silence}.get(spec.inputs, "")
    return maker if spec.output == "transcripts" or maker.endswith(suffix) else maker + suffix


def recognisers() -> tuple[str, ...]:
    """The speech recognisers among the default extractors."""
    return tuple(name for name in default_extractors() if get_extractor(name).spec.output == "transcripts")


def plan_extract(config: ExtractConfig, store: Store, levels: Sequence[Sequence[str]], run_id: str) -> Iterator[Wave]:
    """Waves that extractors owe, level by level.

    A level is planned when its first wave is asked for: the waves before must be done by then, for what they write is
    its input.
    """
    for level in levels:
        yield from _plan_level(config, store, level, run_id)


def _plan_level(config: ExtractConfig, store: Store, level: Sequence[str], run_id: str) -> Iterator[Wave]:
    heard = [get_extractor(name).spec for name in recognisers()]
    owed: dict[str, frozenset[str]] = {}
    for name in level:
        spec = get_extractor(name).spec
        owed[name] = frozenset(pending_batches(store, spec.coverage_table, needs=inputs_of(spec, heard)))
    batch_ids = sorted(frozenset().union(*owed.values()))
    for wave in waves(batch_ids, config.wave_size):
        targets = tuple(name for name in level if not owed[name].isdisjoint(wave))
        yield Wave(store.root, "extract", wave, run_id, targets)


def plan_score(config: RunConfig, store: Store, ref: ModelRef, run_id: str) -> Iterator[Wave]:
    """Waves that a model owes: whole batches that have its features, and no scores of its own yet.

    Raises:
        ConfigError: It scores shots, and media with video have none.
    """
    needs = [f"coverage/{key}" for key in feature_keys(store, ref)]
    batch_ids = pending_batches(store, ref.table, needs=needs)
    if scores_shots(store, ref):
        check_shots_of(store, batch_ids)
    for wave in waves(batch_ids, config.wave_size):
        yield Wave(store.root, "score", wave, run_id, (ref.key,))


def wave_label(stage: str, number: int, wave: Wave) -> str:
    """What a wave does, in a line."""
    targets = f" of {', '.join(wave.targets)}" if wave.stage == "extract" else ""
    return f"{stage}, wave {number}{targets}: {len(wave.batch_ids)} batches"


def record_run(
    store: Store, run_id: str, command: str, stage: str, started_at: datetime, summary: Summary, status: str = "done"
) -> None:
    """Add a row to `runs`; a run may do a stage in several goes, told apart by their start.

    Where it failed, the row is not worth another error: a disk that is full takes none, and that has been told.
    """
    with suppress(*((StoreError,) if status == "failed" else ())):
        _add_run(store, run_id, command, stage, started_at, summary, status)


def _add_run(
    store: Store, run_id: str, command: str, stage: str, started_at: datetime, summary: Summary, status: str
) -> None:
    now = datetime.now(UTC)
    row = {
        "run_id": run_id,
        "command": command,
        "stage": stage,
        "started_at": started_at,
        "finished_at": now,
        "num_batches": summary.num_batches,
        "num_rows": sum(summary.rows.values()),
        "num_failures": summary.num_failures,
        "seconds": (now - started_at).total_seconds(),
        "status": status,
    }
    store.ensure("runs")
    lineage = Lineage(run_id, f"run:{run_id}:{stage}:{started_at.isoformat()}", code_version())
    file = write_file(store, "runs", f"{now:%Y%m}", table_of("runs", [row]), lineage=[lineage])
    commit_files(store, "runs", [file], stage=lineage.stage, metadata=lineage.metadata())


def check_inputs(config: NightlyConfig, root: str) -> None:
    """Refuse what a run would only stumble over later, before any work is done and before the store is touched.

    Raises:
        TriptychError: A source, the store, the recipe, an extractor, the labels, the consent file or the report's
            folder is wrong.
    """
    check_sources(config.sources, store=root, also=config.also)
    check_labels_from(config.labels_from)
    find_policy(place_of(root), config.consent)
    load_recipe(config.recipe)
    wanted_extractors(config, Store(root_of(root)))
    if config.labels:
        read_label_file(Path(config.labels))
    if config.report and not Path(config.report).absolute().parent.is_dir():
        message = f"there is no folder for the report {config.report!r}; make it, or name another with --report"
        raise ConfigError(message)
    Store.check(root)


def require_batches(store: Store) -> None:
    """Refuse to go on with a store that has no whole batch.

    Raises:
        ConfigError: Nothing has been ingested.
    """
    if not store.batches("media"):
        message = (
            f"the store {store.root!r} holds no media; ingest some first: triptych --store {store.root} ingest SOURCE"
        )
        raise ConfigError(message)
