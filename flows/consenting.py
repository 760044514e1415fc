"""Consent in a run: the file is applied to media that are there, and what they are owed since is planned."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from features.extractors.registry import get_extractor
from features.privacy.consent_policy import find_policy
from features.store.commit import next_generations
from features.store.plan import waves
from flows import stages
from pipelines.consented import apply_consent, let_score_again, wrongly_skipped
from pipelines.reading import extract_stage
from pipelines.waves import Wave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from features.privacy.consent_policy import ConsentPolicy
    from features.privacy.consent_review import Judged, Review
    from features.store import Store
    from pipelines.options import DecodeConfig, ExtractConfig

_SHOWN = 3


def apply_file(store: Store, named: str, run_id: str) -> str:
    """Apply the consent file that there is; in a line what it changed, or nothing where there is none.

    Raises:
        ConfigError: The file cannot be read, or is wrong.
    """
    found = find_policy(store.path, named)
    return "" if found is None else told(store, *found, apply_consent(store, found[0], run_id))


def told(store: Store, policy: ConsentPolicy, path: Path, review: Review) -> str:
    """What applying a file changed, and what is odd about it, in a line."""
    parts = [f"{len(review.changes)} of {review.num_media} media changed by {path}"]
    withdrawn = [change for change in review.changes if change.withdrawn and change.is_decoded]
    if withdrawn:
        parts.append(
            f"withdrawn from {_some(withdrawn)}: no reader sees them; their content stays until: {forget(store)}"
        )
    bare = [change for change in review.changes if change.lifted and not change.is_decoded]
    if bare:
        parts.append(f"allowed now, to be decoded by ingest or nightly: {_some(bare)}")
    return "; ".join([*parts, *oddities(policy, review)])


def oddities(policy: ConsentPolicy, review: Review) -> list[str]:
    """What of a file may be a slip: people that no media has, and rules that no media falls under."""
    subjects = [f"no media has subject {subject!r}: check its spelling" for subject in review.unknown_subjects]
    unused = [
        f"no media falls under rule {number} (source {policy.rules[number - 1].source!r})"
        for number in review.unused
        if policy.rules[number - 1].subject not in review.unknown_subjects
    ]
    return subjects + unused


def forget(store: Store) -> str:
    """The command that erases."""
    return f"triptych --store {shlex.quote(store.root)} forget"


def late_planner(config: DecodeConfig, store: Store, run_id: str) -> Callable[[], Iterator[Wave]]:
    """What plans the waves of media that were refused as they came in, and are allowed now: they are to be decoded."""
    from pipelines.late import owed_media

    def plan() -> Iterator[Wave]:
        owed = owed_media(store)
        for wave in waves(sorted(owed), config.wave_size):
            media_ids = tuple(sorted(media_id for batch_id in wave for media_id in owed[batch_id]))
            yield Wave(store.root, "late", wave, run_id, media_ids=media_ids)

    return plan


def extract_planner(
    config: ExtractConfig, store: Store, levels: Sequence[Sequence[str]], run_id: str
) -> Callable[[], Iterator[Wave]]:
    """What plans the waves that extractors owe, again before each wave.

    Media that an extractor passed over and has consent for now come first, level by level; once it owes none of these,
    the run does not look for them any more.
    """
    settled: set[str] = set()

    def plan() -> Iterator[Wave]:
        for maker in [maker for level in levels for maker in level if maker not in settled]:
            again = list(_again(config, store, maker, run_id))
            settled.update([] if again else [maker])
            yield from again
        yield from stages.plan_extract(config, store, levels, run_id)

    return plan


def _again(config: ExtractConfig, store: Store, maker: str, run_id: str) -> Iterator[Wave]:
    spec = get_extractor(maker).spec
    media = wrongly_skipped(store, spec)
    let_score_again(store, media)
    generations = next_generations(store, (spec.table, spec.coverage_table), extract_stage(spec), media)
    for generation in sorted(set(generations.values())):
        batch_ids = sorted(batch_id for batch_id, own in generations.items() if own == generation)
        for wave in waves(batch_ids, config.wave_size):
            media_ids = tuple(sorted(media_id for batch_id in wave for media_id in media[batch_id]))
            yield Wave(store.root, "extract", wave, run_id, (maker,), generation, "all", media_ids)


def _some(changes: Sequence[Judged]) -> str:
    names = [change.name for change in changes[:_SHOWN]] + ["…"] * (len(changes) > _SHOWN)
    return f"{len(changes)} media ({', '.join(names)})"
