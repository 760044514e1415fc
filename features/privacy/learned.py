"""Which models learned from a media: named, so that they can be trained again; they are not deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError, StoreError
from features.store.models import ModelRef, list_models, model_folder
from features.store.read import read_committed
from features.tokenizer.folder import list_tokenizers, read_card, tokenizer_folder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from features.store.store import Store

_LEARNING = ("train", "dev")


class Learned(NamedTuple):
    """A model that learned from media, and the table of its scores, where there is one."""

    model: ModelRef
    scores: str | None


def models_that_learned(store: Store, media_ids: Collection[str], batch_ids: Collection[str]) -> tuple[Learned, ...]:
    """Models, and tokenizers, that may have learned from any of these media.

    A model learned from a media that its label set named, at the version that the model states (now, where that can no
    longer be read), unless the media was dealt to the test split. A media of its split `dev` chose its best epoch.
    A tokenizer learned from the media of its training split, or from all that there were; later ones are named too.

    Args:
        store: The store.
        media_ids: The media.
        batch_ids: Their batches.
    """
    found = []
    for ref in list_models(store):
        card = _card(store, ref)
        labels, splits = card.get("labels", ""), (card.get("splits", ""), card.get("labels", ""))
        dealt: dict[str, str] = {}
        for name in splits:
            dealt |= _splits(store, f"splits/{name}", batch_ids)
        named = _labelled(store, f"labels/{labels}", card.get("version"), batch_ids)
        if any(media_id in named and dealt.get(media_id, "train") in _LEARNING for media_id in media_ids):
            found.append(Learned(ref, ref.table if store.has(ref.table) else None))
    return (*found, *_tokenizers_that_learned(store, media_ids, batch_ids))


def _tokenizers_that_learned(store: Store, media_ids: Collection[str], batch_ids: Collection[str]) -> Iterator[Learned]:
    for ref in list_tokenizers(store):
        try:
            table = read_card(tokenizer_folder(store, ref)).split
        except ConfigError:
            continue
        dealt = _splits(store, table, batch_ids) if table else dict.fromkeys(media_ids, "train")
        if any(dealt.get(media_id) == "train" for media_id in media_ids):
            yield Learned(ModelRef(ref.name, ref.version), None)


def _card(store: Store, ref: ModelRef) -> dict[str, Any]:
    """Label set, its version, and splits, as `model.json` states them; nothing of a damaged model."""
    try:
        card = json.loads((model_folder(store, ref) / "model.json").read_text(encoding="utf-8"))
        labels = card["recipe"]["labels"]
        version = card["table_versions"].get(f"labels/{labels}")
        return {"labels": labels, "splits": card["recipe"]["splits"]["name"], "version": version}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _splits(store: Store, table: str, batch_ids: Collection[str]) -> dict[str, str]:
    rows = read_committed(store, table, batch_ids=batch_ids, columns=["media_id", "split"]).to_pylist()
    return {row["media_id"]: row["split"] for row in rows}


def _labelled(store: Store, table: str, version: int | None, batch_ids: Collection[str]) -> frozenset[str]:
    columns = ["media_id"]
    try:
        versions = {} if version is None else {table: version}
        rows = read_committed(store, table, batch_ids=batch_ids, columns=columns, versions=versions)
    except StoreError:  # an old version may have been swept
        rows = read_committed(store, table, batch_ids=batch_ids, columns=columns)
    return frozenset(rows["media_id"].to_pylist())
