"""The text of a store that a tokenizer may learn from: the best text of the media in a split's training side."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError
from features.extractors.simple import clean_text
from features.fusion.settings import nearest
from features.fusion.splits import near_duplicates_of, strays_of
from features.privacy.consent import allowed
from features.reading.snapshot import take_snapshot
from features.reading.text import best_text_of, text_tables
from features.store.read import read_table
from features.store.tombstones import read_tombstones

if TYPE_CHECKING:
    from collections.abc import Mapping

    from features.store.store import Store

_TRAIN = "train"


class Corpus(NamedTuple):
    """Text to learn from.

    Attributes:
        texts: Cleaned utterances.
        num_media: Media that they are of.
        table_versions: Versions of the tables that were read.
    """

    texts: list[str]
    num_media: int
    table_versions: dict[str, int]


def find_split(store: Store, name: str = "") -> str:
    """The table of splits to use: the one that is named, or the only one there is.

    Raises:
        ConfigError: There is none, none of the name, or there are several and none is named.
    """
    there = [table.partition("/")[2] for table in store.tables() if table.startswith("splits/")]
    if name and name not in there:
        message = f"there is no split {name!r}; {nearest(name, there)}the store has {', '.join(there) or 'none'};"
        raise ConfigError(message + " name a recipe instead (--recipe), or load labels with a column split")
    if not name and len(there) > 1:
        message = f"the store has several splits ({', '.join(there)}); name the one whose training side to learn from:"
        raise ConfigError(message + f" --split {there[0]}")
    if not there:
        message = f"the store {store.root!r} has no splits, so which text is for training is not known; name the recipe"
        message += " to be trained (--recipe sentiment), load labels with a column split, or learn from all (--all)"
        raise ConfigError(message)
    return f"splits/{name or there[0]}"


def read_splits(store: Store, table: str) -> dict[str, str]:
    """Split by media, as a table of splits has it."""
    rows = read_table(store, table, columns=["media_id", "split"]).to_pylist()
    return {row["media_id"]: row["split"] for row in rows}


def read_corpus(store: Store, splits: Mapping[str, str] | None) -> Corpus:
    """Read the best text of media, batch by batch.

    Media whose use was refused, and those that are being forgotten, are left out; so are those of the training side
    whose near-duplicate stands on another.

    Args:
        store: The store.
        splits: Split by media; media outside `train`, or without a split, are left out. None: all media count.
    """
    barred = _barred(store, splits)
    snapshot = take_snapshot(store, [*text_tables(store), "media"])
    texts: list[str] = []
    media_ids: set[str] = set()
    for batch_id in sorted(snapshot.files.get("media", {})):
        media = snapshot.read("media", batch_id, ("media_id", "consent"))
        wanted = {
            media_id
            for media_id in media.filter(allowed(media, "training"))["media_id"].to_pylist()
            if media_id not in barred and (splits is None or splits.get(media_id) == _TRAIN)
        }
        rows = best_text_of(snapshot, batch_id, columns=("media_id", "start_us", "end_us", "source", "text"))
        for media_id, text in zip(rows["media_id"].to_pylist(), rows["text"].to_pylist(), strict=True):
            if media_id in wanted and (cleaned := clean_text(text or "")):
                texts.append(cleaned)
                media_ids.add(media_id)
    return Corpus(texts, len(media_ids), snapshot.versions)


def _barred(store: Store, splits: Mapping[str, str] | None) -> frozenset[str]:
    """Media that nothing may be learned from."""
    tombstones = read_tombstones(store)
    forgotten = tombstones.media_ids if tombstones is not None else frozenset[str]()
    if splits is None:
        return forgotten
    media = read_table(store, "media", columns=["media_id", "perceptual_hash"])
    return forgotten | frozenset(strays_of(near_duplicates_of(media), splits))
