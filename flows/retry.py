"""What `failures --retry` does again: open letters → a new batch of sources, or a new generation of batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from features.errors import TriptychError
from features.extractors.registry import get_extractor
from features.sources.urls import is_url
from features.store.commit import next_generations
from features.store.covered import follow_coverage
from features.store.failures import closed_media, open_letters
from features.store.import_spec import IMPORT
from features.store.models import find_model, list_models
from features.store.plan import read_plan, unfinished_batches, waves
from features.store.stale import stale_batches
from features.transcripts.sidecars import SIDECAR_SUFFIXES
from flows import stages
from pipelines.manifests import as_it_is_now
from pipelines.reading import extract_stage, maker_of, score_stage
from pipelines.remote_sources import now_of
from pipelines.sources import list_sources
from pipelines.waves import Wave

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from features.spec import FeatureSpec
    from features.store import Store
    from features.store.failures import Letter, Wanted
    from features.store.plan import Source
    from pipelines.options import RetryConfig

INGEST: Final = "ingest"
EXTRACT: Final = "extract"
SCORE: Final = "score"
_SHOWN = 3


class Due(NamedTuple):
    """What a retry will do.

    Attributes:
        ingest: Letters of sources, newest by source.
        again: Letters of extractors and models.
        cut_off: Batches of earlier retries of sources that were not finished.
        num_left: Letters that are left out.
        notes: Why, a line each.
    """

    ingest: tuple[Letter, ...]
    again: tuple[Letter, ...]
    cut_off: frozenset[str]
    num_left: int
    notes: tuple[str, ...]


def due_letters(store: Store, wanted: Wanted, max_attempts: int) -> Due:
    """Choose what to do again: letters that can be and have not had their attempts.

    Where an earlier retry died before it wrote what became of its media, that is written first.
    """
    _catch_up(store, wanted)
    letters = [letter for letter in open_letters(store) if wanted.takes(letter._asdict())]
    able, notes = [], []
    for letter, reason in zip(letters, _reasons(store, letters), strict=True):
        able += [] if reason else [letter]
        notes += [reason] if reason else []
    due = [letter for letter in able if letter.attempts < max_attempts]
    notes = [*_counted(notes), *_had_their_attempts([x for x in able if x.attempts >= max_attempts])]
    newest = {letter.about: letter for letter in due if letter.stage == INGEST}
    again = tuple(letter for letter in due if letter.stage != INGEST)
    cut_off = _cut_off(store) if INGEST.startswith(wanted.stage) else frozenset()
    return Due(tuple(newest.values()), again, cut_off, len(letters) - len(due), tuple(notes))


def _cut_off(store: Store) -> frozenset[str]:
    planned = read_plan(store, unfinished_batches(store))
    return frozenset(batch.batch_id for batch in planned if any(source.attempt > 1 for source in batch.sources))


def _catch_up(store: Store, wanted: Wanted) -> None:
    by_stage: dict[str, set[str]] = {}
    for letter in open_letters(store):
        if letter.stage.startswith(f"{EXTRACT}:") and letter.stage.startswith(wanted.stage):
            by_stage.setdefault(letter.stage, set()).add(letter.batch_id)
    for stage, batch_ids in by_stage.items():
        table = f"coverage/{stage.partition(':')[2]}"
        for _ in follow_coverage(store, table, stage, batch_ids):
            pass


def _reasons(store: Store, letters: Sequence[Letter]) -> Iterator[str]:
    """For each letter: why it cannot be done again by itself and what to do, or nothing."""
    sources = _sources_of(store, {letter.batch_id for letter in letters if letter.stage == INGEST})
    told: dict[str, str] = {}
    for letter in letters:
        if letter.stage == INGEST:
            yield "" if (letter.batch_id, letter.uri) in sources else _no_source(letter)
        else:
            if letter.stage not in told:
                told[letter.stage] = _not_runnable(store, letter.stage)
            yield told[letter.stage]


def _sources_of(store: Store, batch_ids: Collection[str]) -> dict[tuple[str, str | None], Source]:
    return {(batch.batch_id, source.uri): source for batch in read_plan(store, batch_ids) for source in batch.sources}


def _no_source(letter: Letter) -> str:
    if Path(letter.uri or "").suffix.lower() in SIDECAR_SUFFIXES:
        return (
            f"{letter.uri!r} is no media by itself, and its media is in without it: mend the text, put it into the "
            "video as a subtitle track, and ingest that"
        )
    if "#track:" in (letter.uri or ""):
        return f"{letter.uri!r} cannot be read by this version, and its media is in without it"
    return f"{letter.uri!r} stands in no plan of this store: ingest it by name"


def _not_runnable(store: Store, stage: str) -> str:
    kind, _, key = stage.partition(":")
    if kind == IMPORT:
        return f"vectors of {stage!r} are no features: mend them in their file, and triptych import-features it again"
    if kind not in (EXTRACT, SCORE):
        return f"no stage can do a letter of {stage!r} again: put back what is missing, then triptych verify --repair"
    try:
        now = get_extractor(maker_of(store, key)).spec.key if kind == EXTRACT else find_model(store, key).key
    except TriptychError as error:
        return f"{stage} cannot run here: {error}"
    return "" if now == key else f"a letter of {stage} is of an older version; the extractor is {now} now: extract"


def _counted(notes: Iterable[str]) -> Iterator[str]:
    counts: dict[str, int] = {}
    for note in notes:
        counts[note] = counts.get(note, 0) + 1
    return (note if count == 1 else f"{note} ({count} letters)" for note, count in counts.items())


def _had_their_attempts(letters: Sequence[Letter]) -> Iterator[str]:
    for attempts in sorted({letter.attempts for letter in letters}):
        count = sum(letter.attempts == attempts for letter in letters)
        had = f"{count} letter{'s' if count > 1 else ''} had {attempts} attempt{'s' if attempts > 1 else ''}"
        yield f"{had}: --max-attempts {attempts + 1}"


def plan_ingest_again(
    config: RetryConfig, store: Store, due: Due, run_id: str
) -> tuple[Callable[[], Iterable[Wave]], tuple[str, ...]]:
    """Commit a new batch of the letters' sources, as they are listed now; each attempt at a source is planned once.

    Returns:
        What gives the waves that are left of the batches with these sources, also of a retry that was cut off; and
        notes of sources that are gone.
    """
    uris = {letter.uri for letter in due.ingest}
    waiting = _planned(store, uris)
    new = {letter.uri: letter for letter in due.ingest if letter.uri is not None and letter.uri not in waiting}
    listed = _listed(store, new, allow_private=config.allow_private_addresses)
    if listed:
        stages.plan_listed(config, store, listed, run_id, again=True)
    batch_ids = due.cut_off.union(_planned(store, uris).values())
    gone = sorted(new.keys() - {source.uri for source in listed})
    return lambda: stages.plan_unfinished(config, store, run_id, batch_ids), _gone(gone)


def _planned(store: Store, uris: Collection[str | None]) -> dict[str, str]:
    """The batches that some sources wait in to be ingested."""
    planned = read_plan(store, unfinished_batches(store)) if uris else ()
    return {source.uri: batch.batch_id for batch in planned for source in batch.sources if source.uri in uris}


def _listed(store: Store, letters: Mapping[str, Letter], *, allow_private: bool) -> list[Source]:
    """Sources of letters by URI, as they are now: but for the consent, which was stated with the plan."""
    before = _sources_of(store, {letter.batch_id for letter in letters.values()})
    samples = {uri for uri, letter in letters.items() if before[letter.batch_id, uri].sample is not None}
    there = sorted(uri for uri in letters if uri not in samples and not is_url(uri) and Path(uri).is_file())
    found = [
        now._replace(attempt=letters[uri].attempts + 1)
        for uri in sorted(samples)
        if (now := as_it_is_now(before[letters[uri].batch_id, uri], allow_private=allow_private)) is not None
    ]
    remote = [
        now_of(before[letters[uri].batch_id, uri], allow_private=allow_private)
        for uri in letters
        if is_url(uri) and uri not in samples
    ]
    for source in (*(list_sources(there, store=store.root) if there else ()), *filter(None, remote)):
        letter = letters[source.uri]
        consent = before[letter.batch_id, source.uri].consent
        found.append(source._replace(consent=consent, attempt=letter.attempts + 1))
    return found


def _gone(uris: Sequence[str]) -> tuple[str, ...]:
    if not uris:
        return ()
    shown = ", ".join(map(repr, uris[:_SHOWN])) + (", …" if len(uris) > _SHOWN else "")
    what = "1 source is" if len(uris) == 1 else f"{len(uris)} sources are"
    return (f"{what} gone or may not be read: {shown}; put back what is wanted, then retry",)


def plan_extract_again(config: RetryConfig, store: Store, letters: Sequence[Letter], run_id: str) -> Iterator[Wave]:
    """Waves of extractors over the failed media of letters that are still as they were chosen.

    Recognisers come first, then the others, then text extractors; at last what had read a recogniser's old text.
    """
    specs = {letter.stage: _spec(store, letter.stage) for letter in letters if letter.stage.startswith(f"{EXTRACT}:")}
    for stage, spec in sorted(specs.items(), key=lambda item: (_level(item[1]), item[0])):
        media = _still(store, letters, stage)
        done = store.batches(spec.coverage_table)
        first = sorted(media.keys() - done)  # the extractor's own run died before its mark of done
        for wave in waves(first, config.wave_size):
            yield Wave(store.root, EXTRACT, wave, run_id, (spec.maker,))
        yield from _extract_waves(config, store, spec, {b: m for b, m in media.items() if b in done}, run_id, "failed")
    yield from _stale_text(config, store, run_id)


def _spec(store: Store, stage: str) -> FeatureSpec:
    return get_extractor(maker_of(store, stage.partition(":")[2])).spec


def _level(spec: FeatureSpec) -> tuple[bool, bool]:
    return spec.inputs == "transcripts", spec.output != "transcripts"


def _still(store: Store, letters: Iterable[Letter], stage: str) -> dict[str, set[str]]:
    """Media by batch of a stage's letters that nobody has tried again since they were chosen."""
    media: dict[str, set[str]] = {}
    for letter in set(letters).intersection(open_letters(store)):
        if letter.stage == stage and letter.media_id is not None:
            media.setdefault(letter.batch_id, set()).add(letter.media_id)
    return media


def _extract_waves(
    config: RetryConfig,
    store: Store,
    spec: FeatureSpec,
    media: Mapping[str, Collection[str]],
    run_id: str,
    scope: Literal["all", "failed"],
) -> Iterator[Wave]:
    for generation, batch_ids in _by_generation(store, (spec.table, spec.coverage_table), extract_stage(spec), media):
        for wave in waves(batch_ids, config.wave_size):
            media_ids = tuple(sorted(media_id for batch_id in wave for media_id in media[batch_id]))
            yield Wave(store.root, EXTRACT, wave, run_id, (spec.maker,), generation, scope, media_ids)


def _by_generation(
    store: Store, tables: Sequence[str], stage: str, batch_ids: Collection[str]
) -> Iterator[tuple[int, list[str]]]:
    """Batches by the generation that they get: one wave is one generation."""
    generations = next_generations(store, tables, stage, batch_ids)
    for generation in sorted(set(generations.values())):
        yield generation, sorted(batch_id for batch_id, own in generations.items() if own == generation)


def _changed(store: Store, *, text: bool) -> dict[str, dict[str, frozenset[str]]]:
    """Tables in which retries have replaced rows: media by batch. Of text only, or all."""
    families = ("transcripts/",) if text else ("transcripts/", "features/")
    tables = [table for table in store.tables() if table.startswith(families)]
    found = {table: closed_media(store, f"{EXTRACT}:{table.partition('/')[2]}") for table in tables}
    return {table: media for table, media in found.items() if media}


def _stale_text(config: RetryConfig, store: Store, run_id: str) -> Iterator[Wave]:
    """Waves of text extractors over media whose recognised text is another now."""
    changed = _changed(store, text=True)
    media: dict[str, frozenset[str]] = {}
    for by_batch in changed.values():
        for batch_id, media_ids in by_batch.items():
            media[batch_id] = media.get(batch_id, frozenset()) | media_ids
    for table in store.tables() if media else ():
        spec = store.spec(table) if table.startswith("features/") else None
        if spec is not None and spec.inputs == "transcripts" and not _not_runnable(store, extract_stage(spec)):
            stale = stale_batches(store, table, changed, media)
            yield from _extract_waves(config, store, spec, {b: media[b] for b in stale}, run_id, "all")


def plan_score_again(config: RetryConfig, store: Store, letters: Sequence[Letter], run_id: str) -> Iterator[Wave]:
    """Waves of models over batches of letters, and over those whose features or text a retry has mended."""
    changed = _changed(store, text=False)
    candidates = {batch_id for media in changed.values() for batch_id in media}
    for ref in list_models(store):
        stage = score_stage(ref)
        failed = {x.batch_id for x in set(letters).intersection(open_letters(store)) if x.stage == stage}
        stale = stale_batches(store, ref.table, changed, candidates) if candidates else ()
        for generation, batch_ids in _by_generation(store, (ref.table,), stage, failed.union(stale)):
            for wave in waves(batch_ids, config.wave_size):
                yield Wave(store.root, SCORE, wave, run_id, (ref.key,), generation)
