from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ModelError
from features.fusion.splits import assign_splits, groups_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

FRACTIONS = {"train": 0.6, "dev": 0.2, "test": 0.2}


def singles(count: int) -> dict[str, str]:
    return {f"{index:032x}": f"{index:032x}" for index in range(count)}


def alternating(groups: dict[str, str]) -> dict[str, str]:
    return {name: "ab"[index % 2] for index, name in enumerate(groups)}


def test_fractions_hold_in_each_class() -> None:
    groups = singles(46)
    splits = assign_splits(groups, alternating(groups), {}, FRACTIONS)
    counts = Counter((split, alternating(groups)[name]) for name, split in splits.items())
    assert Counter(splits.values()) == {"train": 28, "dev": 9, "test": 9}
    assert {counts["train", "a"], counts["train", "b"]} <= {13, 14, 15}
    assert all(4 <= counts[split, name] <= 5 for split in ("dev", "test") for name in "ab")


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(range(30)))
def test_order_does_not_show(order: list[int]) -> None:
    groups = singles(30)
    shuffled = {list(groups)[index]: groups[list(groups)[index]] for index in order}
    classes = alternating(groups)
    assert assign_splits(shuffled, classes, {}, FRACTIONS) == assign_splits(groups, classes, {}, FRACTIONS)


def test_added_media_move_nobody() -> None:
    groups = singles(60)
    few = dict(list(groups.items())[:40])
    before = assign_splits(few, alternating(groups), {}, FRACTIONS)
    after = assign_splits(groups, alternating(groups), before, FRACTIONS)
    assert before.items() <= after.items()
    assert set(after) == set(groups)
    assert Counter(after.values()) == {"train": 36, "dev": 12, "test": 12}


def test_a_group_stands_on_one_side() -> None:
    groups = {f"{index:032x}": f"{index // 4:032x}" for index in range(80)}
    splits = assign_splits(groups, alternating(groups), {}, FRACTIONS)
    assert all(len({splits[name] for name, own in groups.items() if own == group}) == 1 for group in groups.values())


def test_a_new_member_joins_its_group() -> None:
    groups = {"a": "a", "b": "a"}
    assert assign_splits(groups, {}, {"b": "test"}, FRACTIONS) == {"a": "test", "b": "test"}


def test_a_group_on_two_sides_is_refused() -> None:
    with pytest.raises(ModelError, match="group a stands on two sides of the split"):
        assign_splits({"a": "a", "b": "a"}, {}, {"a": "train", "b": "test"}, FRACTIONS)


def test_another_seed_deals_otherwise() -> None:
    groups = singles(40)
    assert assign_splits(groups, {}, {}, FRACTIONS, 1) != assign_splits(groups, {}, {}, FRACTIONS, 2)


def test_groups_join_through_shared_subjects(make_table: Callable[..., pa.Table]) -> None:
    subjects: dict[str, list[str] | None] = {"d": ["x"], "a": None, "b": ["x", "y"], "c": ["y"], "e": ["z"]}
    media = make_table("media", [{"media_id": name, "subject_ids": ids} for name, ids in subjects.items()])
    assert groups_of(media) == {"d": "b", "a": "a", "b": "b", "c": "b", "e": "e"}
