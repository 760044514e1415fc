"""What a consent file makes of a store's media: what is written, what stays, and what rivals do meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from features.privacy.consent_changes import write_changes
from features.privacy.consent_policy import ConsentPolicy, Default, Rule
from features.privacy.consent_review import judge, review
from features.store import Store, read_table
from features.store.lineage import read_lineage
from pipelines.consented import apply_consent
from tests.store.making import frames, media, put, result

if TYPE_CHECKING:
    from pathlib import Path

NAMES = {"b1": ("one", "two"), "b2": ("three", "four")}
ALL = ("features", "training", "biometric", "publish")


@pytest.fixture
def held(tmp_path: Path) -> Store:
    """Four media in two batches; `two` lies in a second place, `three` was refused as it came in."""
    store = Store.create(tmp_path / "store")
    for batch_id, names in NAMES.items():
        sources = [{"uri": f"/v/{name}.mp4", "consent": "unstated"} for name in names]
        rows = [media(name, uri=f"/v/{name}.mp4", subject_ids=[f"s-{name}"]) for name in names]
        results = [result(name, f"/v/{name}.mp4") for name in names]
        if batch_id == "b2":
            sources[0]["consent"] = "refused"
            rows[0] |= {"consent": "refused", "duration_us": None}
            sources.append({"uri": "/private/copy.mp4", "consent": "unstated"})
            results.append(result("two", "/private/copy.mp4", "duplicate"))
        put(store, "sources", batch_id, sources)
        put(store, "frames", batch_id, [row for name in names for row in frames(name, 2)])
        put(store, "source_results", batch_id, results)
        put(store, "media", batch_id, rows)
    return store


def consent(store: Store) -> dict[str, str]:
    return {row["media_id"]: row["consent"] for row in read_table(store, "media").to_pylist()}


def policy(*rules: Rule, refuse: tuple[str, ...] = ()) -> ConsentPolicy:
    return ConsentPolicy(Default(refuse=refuse), rules)


def without_consent(store: Store) -> list[dict[str, Any]]:
    return read_table(store, "media").drop_columns(["consent"]).to_pylist()


def test_only_the_consent_changes_and_content_stays(held: Store) -> None:
    before, pictures = without_consent(held), read_table(held, "frames").to_pylist()
    found = apply_consent(held, policy(Rule(subject="s-one", refuse=("training",)), refuse=("publish",)), "run")
    assert consent(held) == {
        "one": "refused:training,publish",
        "two": "refused:publish",
        "three": "refused",
        "four": "refused:publish",
    }
    assert without_consent(held) == before
    assert read_table(held, "frames").to_pylist() == pictures
    assert {change.media_id for change in found.changes} == {"one", "two", "four"}
    assert found.num_media == 4


def test_saying_it_twice_changes_nothing(held: Store) -> None:
    rules = policy(Rule(source="one*", refuse=("all",)))
    apply_consent(held, rules, "first")
    version = held.load("media").version()
    assert apply_consent(held, rules, "second").changes == ()
    assert held.load("media").version() == version
    assert consent(held)["one"] == "refused"


def test_only_batches_with_a_change_are_written(held: Store) -> None:
    files = {row["batch_id"]: row["path"] for row in held.files("media").to_pylist()}
    apply_consent(held, policy(Rule(source="one*", refuse=("training",))), "run")
    now = {row["batch_id"]: row["path"] for row in held.files("media").to_pylist()}
    assert now["b2"] == files["b2"]
    assert now["b1"] != files["b1"]
    (*_, made) = read_lineage(held.table_path("media") / now["b1"])
    assert (made.run_id, made.stage.partition(":")[0]) == ("run", "consent")


def test_what_a_rule_refused_is_lifted_with_the_rule_but_not_what_was_stated(held: Store) -> None:
    apply_consent(held, policy(Rule(source="*", refuse=("all",))), "first")
    assert set(consent(held).values()) == {"refused"}
    found = apply_consent(held, policy(Rule(source="*", grant=("all",))), "second")
    assert consent(held) == {"one": "granted", "two": "granted", "three": "refused", "four": "granted"}
    assert {change.lifted for change in found.changes} == {frozenset(ALL)}
    apply_consent(held, policy(), "third")
    assert consent(held) == {"one": "unstated", "two": "unstated", "three": "refused", "four": "unstated"}


def test_a_copy_in_a_place_that_refuses_counts(held: Store) -> None:
    apply_consent(held, policy(Rule(source="/private/*", refuse=("training",))), "run")
    assert consent(held) == {"one": "unstated", "two": "refused:training", "three": "refused", "four": "unstated"}


def test_where_the_plan_is_lost_nothing_is_lifted(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    put(store, "media", "b", [media("one", consent="refused:training"), media("two")])
    apply_consent(store, policy(Rule(source="*", grant=("all",))), "run")
    assert consent(store) == {"one": "refused:training", "two": "granted"}


def test_rules_that_match_nothing_and_unknown_people_are_told(held: Store) -> None:
    rules = policy(
        Rule(source="*/nowhere/*", refuse=("all",)),
        Rule(subject="s-one", source="two*", refuse=("all",)),
        Rule(subject="s-nine", refuse=("all",)),
        Rule(subject="s-four", refuse=("all",)),
    )
    found = review(judge(held, rules), rules)
    assert found.unused == (1, 2, 3)
    assert found.unknown_subjects == ("s-nine",)


def test_what_a_rival_wrote_meanwhile_stays(held: Store) -> None:
    """It was judged, then newer bytes superseded a media of the batch."""
    rules = policy(Rule(source="one*", refuse=("training",)))
    found = review(judge(held, rules), rules)
    newer = [media("one", uri="/v/one.mp4", superseded_by="five"), media("two", uri="/v/two.mp4")]
    put(held, "media", "b1", newer, generation=2)
    write_changes(held, rules, found.changes, "run")
    rows = {row["media_id"]: (row["consent"], row["superseded_by"]) for row in read_table(held, "media").to_pylist()}
    assert rows["one"] == ("refused:training", "five")
    assert rows["two"] == ("unstated", None)


def test_a_store_without_media_has_nothing_to_say(tmp_path: Path) -> None:
    found = apply_consent(Store.create(tmp_path / "store"), policy(Rule(subject="s", refuse=("all",))), "run")
    assert (found.num_media, found.changes, found.unknown_subjects) == (0, (), ("s",))
