"""Splits: groups of media that share a subject or their pictures stand on one side - train, dev or test - for good."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from features.errors import ModelError
from features.media.duplicates import near_duplicate_groups

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

SPLITS = ("train", "dev", "test")
"""Names of the three sides."""


_STRICTEST = ("test", "dev", "train")


def groups_of(
    media: pa.Table,
    splits: Mapping[str, str] | None = None,
    duplicates: Sequence[tuple[str, ...]] | None = None,
) -> dict[str, str]:
    """Group of each media: media that share a subject or are near-duplicates, directly or through others, are one.

    Near-duplicates that stand on different sides already are not joined (`strays_of` tells which are left out); new
    ones among them go with those in test, then dev, then train.

    Args:
        media: Rows of `media`; its `subject_ids` and `perceptual_hash` may be null.
        splits: Split by media as assigned before.
        duplicates: Groups of near-duplicates, where they are known (`near_duplicates_of`).

    Returns:
        Group by media, in the table's order; a group is named by the smallest media_id in it.

    Reference:
        Galler & Fischer (1964), doi:10.1145/364099.364331 (union-find).
    """
    parent: dict[str, str] = {}
    first_of: dict[str, str] = {}
    ids = media["media_id"].to_pylist()
    for media_id, subjects in zip(ids, media["subject_ids"].to_pylist(), strict=True):
        parent.setdefault(media_id, media_id)
        for subject in subjects or ():
            root, other = _root(parent, media_id), _root(parent, first_of.setdefault(subject, media_id))
            parent[max(root, other)] = min(root, other)
    _join_duplicates(parent, near_duplicates_of(media) if duplicates is None else duplicates, splits or {})
    return {media_id: _root(parent, media_id) for media_id in ids}


def near_duplicates_of(media: pa.Table) -> list[tuple[str, ...]]:
    """Groups of media that show the same pictures; media without a perceptual hash are in none.

    Args:
        media: Rows of `media`.
    """
    if "perceptual_hash" not in media.column_names:
        return []
    hashes = zip(media["media_id"].to_pylist(), media["perceptual_hash"].to_pylist(), strict=True)
    return near_duplicate_groups({media_id: hashed for media_id, hashed in hashes if hashed})


def strays_of(duplicates: Iterable[Sequence[str]], splits: Mapping[str, str]) -> dict[str, str]:
    """Media whose near-duplicate stands on a stricter side: to use them would be to train on what is tested.

    It happens where the splits were given, or were assigned before it was known that the media are alike.

    Args:
        duplicates: Groups of near-duplicates (`near_duplicates_of`).
        splits: Split by media.

    Returns:
        The stricter side by media.
    """
    strays = {}
    for group in duplicates:
        side = _strictest(splits[media_id] for media_id in group if media_id in splits)
        strays.update({media_id: side for media_id in group if side and splits.get(media_id, side) != side})
    return strays


def _join_duplicates(parent: dict[str, str], duplicates: Iterable[tuple[str, ...]], splits: Mapping[str, str]) -> None:
    """Join the near-duplicates that stand on one side, and with them those that stand on none."""
    sides = {_root(parent, media_id): side for media_id, side in splits.items() if media_id in parent}
    for group in duplicates:
        side = _strictest(sides[root] for media_id in group if (root := _root(parent, media_id)) in sides)
        joined = {root for media_id in group if sides.get(root := _root(parent, media_id), side) == side}
        first = min(joined)
        parent.update(dict.fromkeys(joined, first))
        if side is not None:
            sides[first] = side


def _strictest(sides: Iterable[str]) -> str | None:
    held = set(sides)
    known = (side for side in _STRICTEST if side in held)
    return next(known, min(held, default=None))


def assign_splits(
    groups: Mapping[str, str],
    classes: Mapping[str, str],
    existing: Mapping[str, str],
    fractions: Mapping[str, float],
    seed: int = 0,
) -> dict[str, str]:
    """Give every media a split, one a group; what has a split keeps it.

    New groups, in the order of their hash, go where their classes fall furthest behind the fractions. The result
    depends on which media there are, never on their order.

    Args:
        groups: Group by media (`groups_of`).
        classes: Class by media; media without a label are balanced among themselves.
        existing: Split by media as assigned before.
        fractions: Share by split; they sum to 1.
        seed: Another seed deals new groups otherwise.

    Returns:
        Split by media, for all of `groups` and `existing`.

    Raises:
        ModelError: Members of a group already stand on two sides.
    """
    members: dict[str, list[str]] = defaultdict(list)
    for media_id in sorted(groups):
        members[groups[media_id]].append(media_id)
    profiles = {group: Counter(classes.get(media_id, "") for media_id in ids) for group, ids in members.items()}
    sides = {group: check_side(group, ids, existing) for group, ids in members.items()}
    held: dict[str, Counter[str]] = {split: Counter() for split in fractions}
    for group, side in sides.items():
        if side is not None:
            held.setdefault(side, Counter()).update(profiles[group])
    totals = sum(profiles.values(), Counter[str]())
    for group in sorted((group for group, side in sides.items() if side is None), key=lambda name: _hash(name, seed)):
        side = _furthest_behind(profiles[group], held, totals, fractions)
        held[side].update(profiles[group])
        sides[group] = side
    assigned = {media_id: side for group, side in sides.items() if side for media_id in members[group]}
    return {**existing, **assigned}


def check_side(group: str, media_ids: list[str], splits: Mapping[str, str]) -> str | None:
    """The one split on which a group's members stand; None where none of them has one.

    Raises:
        ModelError: They stand on two sides.
    """
    by_side = {splits[media_id]: media_id for media_id in reversed(media_ids) if media_id in splits}
    if len(by_side) > 1:
        standing = ", ".join(f"{media_id} in {side}" for side, media_id in sorted(by_side.items()))
        message = f"group {group} stands on two sides of the split ({standing}); its media share a subject, and a model"
        message += " would be tested on people it learned from: correct the subjects, or start a new split name"
        raise ModelError(message)
    return next(iter(by_side), None)


def _furthest_behind(
    profile: Counter[str], held: Mapping[str, Counter[str]], totals: Counter[str], fractions: Mapping[str, float]
) -> str:
    """The split that most lacks these classes; among equals the one that lacks most in all."""

    def lack(split: str) -> tuple[float, float]:
        behind = {name: fractions[split] * total - held[split][name] for name, total in totals.items()}
        own = sum(behind[name] * count for name, count in profile.items())
        return round(own, 9), round(sum(behind.values()), 9)

    return max(fractions, key=lack)


def _hash(group: str, seed: int) -> str:
    return hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=16).hexdigest()


def _root(parent: dict[str, str], name: str) -> str:
    while parent[name] != name:
        parent[name] = parent[parent[name]]
        name = parent[name]
    return name
