"""`triptych train-tokenizer [NAME]`."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError
from features.fusion.recipe import load_recipe
from features.store import Store
from features.store.lineage import code_version
from features.store.models import newest_model, next_version
from features.tokenizer.corpus import find_split, read_corpus, read_splits
from features.tokenizer.folder import (
    FORMAT_VERSION,
    TokenizerCard,
    TokenizerRef,
    fingerprint_of_model,
    list_tokenizers,
    newest_tokenizer,
    read_card,
    save_tokenizer,
    tokenizer_folder,
)
from features.tokenizer.training import check_vocabulary, chosen_texts, fingerprint_of, train_tokenizer
from flows import stages
from flows.cli import EXIT_DONE
from flows.console import out, out_json, say
from flows.training import deal_splits

if TYPE_CHECKING:
    from flows.cli import Call


class Fitted(NamedTuple):
    """A registered tokenizer; `is_new` False: the newest of its name had learned from the same text already."""

    card: TokenizerCard
    is_new: bool


def run(call: Call) -> int:
    """Fit a tokenizer on the text of the training split, and register it."""
    arguments = call.arguments
    check_vocabulary(arguments.vocabulary)
    store = Store.open(call.store)
    stages.require_batches(store)
    _check_name(store, arguments.name)
    run_id = stages.new_run_id()
    table, splits = _splits(call, store, run_id)
    fitted = fit_tokenizer(store, arguments.name, arguments.vocabulary, table, splits, run_id)
    folder = tokenizer_folder(store, TokenizerRef(fitted.card.version, fitted.card.name))
    if arguments.json:
        out_json({**asdict(fitted.card), "folder": str(folder), "is_new": fitted.is_new})
        return EXIT_DONE
    out(_told(fitted, store, str(folder)))
    return EXIT_DONE


def fit_tokenizer(
    store: Store, name: str, vocabulary: int, table: str, splits: dict[str, str] | None, run_id: str
) -> Fitted:
    """Fit a tokenizer on a store's text and register it, unless the newest of its name is of the same text.

    Args:
        store: The store.
        name: Name of the tokenizer.
        vocabulary: Pieces at most.
        table: Table of the splits.
        splits: Split by media; None: learn from all text.
        run_id: Run that fits it.

    Raises:
        ConfigError: The vocabulary is too small for the characters of the text.
        ModelError: There is no text, or the tokenizer cannot be written.
    """
    corpus = read_corpus(store, splits)
    texts = chosen_texts(corpus.texts)
    text_fingerprint = fingerprint_of(texts, vocabulary)
    newest = newest_tokenizer(store, name)
    if newest is not None:
        known = read_card(tokenizer_folder(store, newest))
        if known.text_fingerprint == text_fingerprint:
            return Fitted(known, is_new=False)
    say(f"fitting {name} on {len(texts):,} utterances of {corpus.num_media:,} media")
    model = train_tokenizer(texts, vocabulary)
    card = TokenizerCard(
        format_version=FORMAT_VERSION,
        name=name,
        version=_next_version(store, name),
        pieces=_num_pieces(model),
        vocabulary=vocabulary,
        split=table,
        num_media=corpus.num_media,
        num_utterances=len(texts),
        text_fingerprint=text_fingerprint,
        weights_fingerprint=fingerprint_of_model(model),
        table_versions={**corpus.table_versions, **dict(store.versions([table] if table else []))},
        created_at=datetime.now(UTC).isoformat(),
        run_id=run_id,
        code_version=code_version(),
    )
    save_tokenizer(tokenizer_folder(store, TokenizerRef(card.version, name)), model, card)
    return Fitted(card, is_new=True)


def _splits(call: Call, store: Store, run_id: str) -> tuple[str, dict[str, str] | None]:
    """The table of splits, and split by media; nothing where all text is to be learned from."""
    arguments = call.arguments
    if sum(map(bool, (arguments.all, arguments.split, arguments.recipe))) > 1:
        message = "--all, --split and --recipe each say which text to learn from; give one of them"
        raise ConfigError(message)
    if arguments.all:
        return "", None
    if arguments.recipe:
        recipe = load_recipe(arguments.recipe)
        splits = deal_splits(store, recipe, run_id)
        return f"splits/{recipe.splits.name}", splits
    table = find_split(store, arguments.split)
    return table, read_splits(store, table)


def _check_name(store: Store, name: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        message = f"the name {name!r} has characters that a folder of models cannot; use letters, digits, _ and -"
        raise ConfigError(message)
    if newest_model(store, name) is not None:
        message = f"{name!r} is the name of a fusion model; give the tokenizer another: triptych train-tokenizer NAME"
        raise ConfigError(message)


def _next_version(store: Store, name: str) -> int:
    """A version that no tokenizer of the store has: it is that of the features, whatever the tokenizer's name."""
    return max(next_version(store, name), *(1 + ref.version for ref in list_tokenizers(store)), 1)


def _num_pieces(model: bytes) -> int:
    from sentencepiece import SentencePieceProcessor

    return int(SentencePieceProcessor(model_proto=model).vocab_size())


def _told(fitted: Fitted, store: Store, folder: str) -> str:
    card = fitted.card
    key = f"{card.name}@{card.version}"
    if not fitted.is_new:
        return f"{key} has learned from this text already; nothing was registered"
    whose = f"the training side of {card.split}" if card.split else "all media: what is tested later, it has seen"
    fewer = f", no more than the text gives of {card.vocabulary:,}" if card.pieces < card.vocabulary else ""
    return "\n".join(
        [
            f"learned from {card.num_utterances:,} utterances of {card.num_media:,} media ({whose})",
            f"{card.pieces:,} pieces{fewer}, 256 of them bytes",
            f"registered {key} in {folder}",
            f"extract with it: triptych --store {store.root} extract tokens",
        ]
    )
