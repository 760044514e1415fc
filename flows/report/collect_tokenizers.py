"""Lists the tokenizers of a store, for the report and `triptych status`; without what reads models, which is slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.errors import TriptychError
from features.tokenizer.folder import list_tokenizers, read_card, tokenizer_folder
from flows.report.data import TokenizerRow

if TYPE_CHECKING:
    from features.store import Store


def tokenizers_of(store: Store) -> tuple[TokenizerRow, ...]:
    """The tokenizers of a store, newest first; a damaged one is left out."""
    rows = []
    for ref in reversed(list_tokenizers(store)):
        try:
            card = read_card(tokenizer_folder(store, ref))
        except TriptychError:
            continue
        rows.append(TokenizerRow(ref.name, str(ref.version), card.pieces, card.created_at[:16].replace("T", " ")))
    return tuple(rows)
