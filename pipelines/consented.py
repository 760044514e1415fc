"""What follows from a change of consent: scores and features that are owed again to media that may be used now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.privacy.consent import REFUSED, allowed, purposes_of
from features.privacy.consent_changes import write_changes
from features.privacy.consent_review import judge, review
from features.schema import BATCH_ID
from features.store.commit import forget_generations, remove_files
from features.store.models import find_model, list_models
from features.store.read import read_table
from pipelines.reading import score_stage

if TYPE_CHECKING:
    from collections.abc import Collection

    from features.privacy.consent_policy import ConsentPolicy
    from features.privacy.consent_review import Review
    from features.spec import FeatureSpec
    from features.store import Store


def apply_consent(store: Store, policy: ConsentPolicy, run_id: str) -> Review:
    """Let `media.consent` say what a consent file says, and let media that may be used again be scored again.

    Raises:
        StoreError: A table cannot be read or written; run again, and it goes on from there.
    """
    found = review(judge(store, policy), policy)
    # First: killed after it, the batches are scored as they were before; the other way round, never.
    let_score_again(store, {change.batch_id for change in found.changes if "features" in change.lifted})
    write_changes(store, policy, found.changes, run_id)
    return found


def let_score_again(store: Store, batch_ids: Collection[str]) -> None:
    """Take batches out of the scores of the newest models, so that they are pending there."""
    for name in sorted({ref.name for ref in list_models(store)} if batch_ids else ()):
        ref = find_model(store, name)
        if store.has(ref.table):
            files = store.files(ref.table)
            scored = files.filter(pc.is_in(files[BATCH_ID], pa.array(sorted(batch_ids), pa.string())))
            remove_files(store, ref.table, scored["path"].to_pylist(), stage="consent")
            forget_generations(store, ref.table, score_stage(ref), sorted(set(scored[BATCH_ID].to_pylist())))


def wrongly_skipped(store: Store, spec: FeatureSpec) -> dict[str, frozenset[str]]:
    """Media by batch that an extractor passed over for want of consent, and that it has consent for by now.

    Media that were refused as they came in have no content that it could read.
    """
    coverage = read_table(store, spec.coverage_table, columns=["media_id", "status"])
    skipped = coverage.filter(pc.equal(coverage["status"], "skipped"))
    if not skipped.num_rows:
        return {}
    columns = ["media_id", "consent", "duration_us"]
    media = read_table(store, "media", batch_ids=set(skipped[BATCH_ID].to_pylist()), columns=columns)
    media = media.filter(pc.is_valid(media["duration_us"]))
    for purpose in purposes_of(spec):
        media = media.filter(allowed(media, purpose))
    return _by_batch(skipped.filter(pc.is_in(skipped["media_id"], media["media_id"].combine_chunks())))


def bare_media(store: Store) -> dict[str, frozenset[str]]:
    """Media by batch without content, which were refused for all purposes as they came in, and are not refused now."""
    media = read_table(store, "media", columns=["media_id", "consent", "duration_us"])
    media = media.filter(pc.and_(pc.is_null(media["duration_us"]), pc.not_equal(media["consent"], REFUSED)))
    return _by_batch(media)


def _by_batch(rows: pa.Table) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for row in rows.select([BATCH_ID, "media_id"]).to_pylist():
        found.setdefault(row[BATCH_ID], set()).add(row["media_id"])
    return {batch_id: frozenset(media_ids) for batch_id, media_ids in found.items()}
