"""Whoever reads a store asks consent: the report, training, scoring; and what is granted again is scored again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.fusion.recipe import load_recipe
from features.privacy.consent_policy import ConsentPolicy, Default, Rule
from features.store import pending_batches, read_table
from features.store.models import ModelRef
from flows import stages
from flows.report.collect import collect
from flows.training import read_examples
from pipelines import score
from pipelines.consented import apply_consent
from pipelines.options import ScoreConfig
from pipelines.runners import pipeline_options

if TYPE_CHECKING:
    from pathlib import Path

    from features.store import Store

MODEL = ModelRef("moods", 1)
CONFIG = ScoreConfig(runner="in-process")


def apply(store: Store, *rules: Rule) -> None:
    apply_consent(store, ConsentPolicy(Default(), rules), "run")


def scored(store: Store) -> set[str]:
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    return {names[media_id] for media_id in read_table(store, MODEL.table)["media_id"].to_pylist()}


def score_pending(store: Store) -> None:
    for wave in stages.plan_score(CONFIG, store, MODEL, "again"):
        score.run(CONFIG, wave, pipeline_options(CONFIG))


def test_a_report_shows_neither_pictures_nor_scores_of_who_refused(store: Store) -> None:
    before = collect(store)
    apply(store, Rule(source="person_03*", refuse=("publish",)), Rule(source="person_04*", refuse=("features",)))
    after = collect(store)
    gone = {"person_03.mp4", "person_04.mp4"}
    assert {thumb.name for thumb in before.contact_sheet} - {thumb.name for thumb in after.contact_sheet} == gone
    assert {one.name for one in before.scores} - {one.name for one in after.scores} == gone
    assert after.num_scores == before.num_scores - 2
    assert after.num_media == before.num_media
    assert [note for note in after.notes if "2 of 12 media" in note]
    assert not [note for note in before.notes if "Consent" in note]


def test_what_is_granted_again_is_pending_for_scoring_and_scored(store: Store) -> None:
    """Its batch had been scored while it was refused."""
    everyone = scored(store)
    refused = Rule(source="person_05*", refuse=("features",))
    apply(store, refused)
    (batch_id,) = {row["batch_id"] for row in read_table(store, "media").to_pylist() if row["name"] == "person_05.mp4"}
    apply(store, refused, Rule(source="person_06*", refuse=("publish",)))  # nothing is lifted: nothing is scored anew
    assert pending_batches(store, MODEL.table) == ()
    apply(store)
    assert pending_batches(store, MODEL.table) == (batch_id,)
    apply(store, refused)
    score_pending(store)
    assert scored(store) == everyone - {"person_05.mp4"}
    apply(store)
    score_pending(store)
    assert scored(store) == everyone


def test_training_leaves_out_and_counts_who_refused_it(store: Store, made: Path) -> None:
    recipe = load_recipe(str(made / "moods.toml"))
    before, _ = read_examples(store, recipe)
    apply(store, Rule(source="person_03*", refuse=("training",)), Rule(source="person_04*", refuse=("publish",)))
    after, _ = read_examples(store, recipe)
    assert (before.left_out, after.left_out) == ({}, {"consent refused for training": 1})
    assert len(after.media_id) == len(before.media_id) - 1
