"""Splits and near-duplicates: none stands on both sides."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from features.fusion.splits import assign_splits, groups_of, near_duplicates_of, strays_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

FRACTIONS = {"train": 0.6, "dev": 0.2, "test": 0.2}
PICTURES = np.random.default_rng(0).integers(0, 256, (8, 16, 32), dtype=np.uint8)


def film(*numbers: int) -> bytes:
    """Hash of a media whose pictures come from these films, in equal parts."""
    return np.concatenate([PICTURES[number][: 16 // len(numbers)] for number in numbers]).tobytes()


def media_of(
    make_table: Callable[..., pa.Table], hashes: Mapping[str, bytes | None], subjects: Mapping[str, list[str]]
) -> pa.Table:
    rows = [{"media_id": m, "perceptual_hash": h, "subject_ids": subjects.get(m)} for m, h in hashes.items()]
    return make_table("media", rows)


def test_near_duplicates_and_subjects_join(make_table: Callable[..., pa.Table]) -> None:
    hashes = {"a": film(1), "b": film(2), "c": film(1), "d": None, "e": film(3)}
    media = media_of(make_table, hashes, {"c": ["x"], "d": ["x"]})
    assert groups_of(media) == {"a": "a", "b": "b", "c": "a", "d": "a", "e": "e"}


def test_a_table_without_hashes_is_as_before(make_table: Callable[..., pa.Table]) -> None:
    media = media_of(make_table, {"a": None, "b": None}, {})
    assert groups_of(media) == groups_of(media.drop_columns(["perceptual_hash"])) == {"a": "a", "b": "b"}
    assert near_duplicates_of(media) == []


def test_a_copy_that_comes_later_goes_where_the_first_is(make_table: Callable[..., pa.Table]) -> None:
    hashes = {f"{number}": film(number) for number in range(8)}
    before = assign_splits(groups_of(media_of(make_table, hashes, {})), {}, {}, FRACTIONS)
    more = media_of(make_table, hashes | {f"copy {number}": film(number) for number in range(8)}, {})
    after = assign_splits(groups_of(more, before), {}, before, FRACTIONS)
    assert before.items() <= after.items()
    assert all(after[f"copy {number}"] == before[f"{number}"] for number in range(8))
    assert strays_of(near_duplicates_of(more), after) == {}


def test_what_joins_two_sides_goes_to_test_and_nobody_moves(make_table: Callable[..., pa.Table]) -> None:
    """A film of two halves, one of which was learned from and one kept for the test."""
    hashes = {"a": film(1), "b": film(2), "both": film(1, 2), "c": film(3)}
    media = media_of(make_table, hashes, {})
    before = {"a": "train", "b": "test", "c": "train"}
    after = assign_splits(groups_of(media, before), {}, before, FRACTIONS)
    assert after == before | {"both": "test"}
    assert strays_of(near_duplicates_of(media), after) == {"a": "test"}


def test_copies_that_were_given_on_two_sides_leave_training(make_table: Callable[..., pa.Table]) -> None:
    media = media_of(make_table, {"a": film(1), "b": film(1), "c": film(1), "d": film(2)}, {})
    given = {"a": "train", "b": "test", "c": "dev", "d": "train"}
    assert assign_splits(groups_of(media, given), {}, given, FRACTIONS) == given
    assert strays_of(near_duplicates_of(media), given) == {"a": "test", "c": "test"}


def test_a_subject_on_a_side_is_not_torn_by_a_copy(make_table: Callable[..., pa.Table]) -> None:
    """Two new media of one person, one a copy of what was learned from, one of what is tested."""
    media = media_of(make_table, {"a": film(1), "b": film(2), "n1": film(1), "n2": film(2)}, {"n1": ["x"], "n2": ["x"]})
    before = {"a": "train", "b": "test"}
    after = assign_splits(groups_of(media, before), {}, before, FRACTIONS)
    assert after["n1"] == after["n2"]
    left_out = strays_of(near_duplicates_of(media), after)
    sides = {m: side for m, side in after.items() if m not in left_out}
    assert all(len({sides[m] for m in group if m in sides}) == 1 for group in near_duplicates_of(media))
