"""`tokens`: what an utterance says, as ids of the pieces of a tokenizer that was fitted on the store's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from features.extractors.simple import RowAnUtterance, TextItem
from features.spec import FeatureSpec
from features.store.storage import place_of
from features.tokenizer.folder import read_card, read_model
from features.tokenizer.training import PAD_ID, UNKNOWN_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ids = npt.NDArray[np.int32]

LENGTH = 100
"""Ids a row: of a longer utterance the first, a shorter one padded."""


class TokenizerModel:
    """A sentencepiece model.

    Args:
        model: Serialised.
    """

    def __init__(self, model: bytes) -> None:
        from sentencepiece import SentencePieceProcessor

        self.processor = SentencePieceProcessor(model_proto=model)

    def __call__(self, texts: Sequence[str]) -> Ids:
        """Ids of texts: int32, shape [n, 100], 0 from the end of a text on."""
        ids = np.full((len(texts), LENGTH), PAD_ID, np.int32)
        for row, pieces in zip(ids, self.processor.encode(list(texts)), strict=True):
            kept = pieces[:LENGTH]
            row[: len(kept)] = kept
        return ids


class Tokens(RowAnUtterance):
    """Ids of an utterance's pieces, for networks that embed them.

    Source: a tokenizer of `triptych train-tokenizer`: a sentencepiece unigram model with byte fallback.
    Shape: [100], int32: ids from 1 up to the tokenizer's pieces, padded with 0 (1 is unknown, which with bytes never
        occurs; 2 to 257 are bytes). Names of pieces, no quantities: they are not to be averaged.
    Rate: one row an utterance that has text; of a long one, the first 100 pieces count.
    Licence of the weights: the text's own.

    Args:
        folder: Folder of the tokenizer; on the command line plain `tokens` means the newest one of the store.

    Raises:
        ConfigError: There is no tokenizer, it is damaged, or a newer Triptych wrote it.

    Reference:
        Kudo & Richardson (2018), arXiv:1808.06226.
    """

    takes: ClassVar[str] = "folder of a tokenizer (triptych train-tokenizer)"

    def __init__(self, folder: str) -> None:
        self._folder = place_of(folder)
        card = read_card(self._folder)
        self.spec = FeatureSpec(
            name="tokens",
            version=card.version,
            modality="text",
            inputs="transcripts",
            shape=(LENGTH,),
            dtype="int32",
            rate="one an utterance",
            units="id of a piece",
            source="sentencepiece, unigram (arXiv:1808.06226), fitted on the store's text",
            weights_fingerprint=card.weights_fingerprint,
            parameters=(
                ("tokenizer", card.name),
                ("pieces", str(card.pieces)),
                ("pad_id", str(PAD_ID)),
                ("unknown_id", str(UNKNOWN_ID)),
                ("text", "NFKC, no control characters, white space folded"),
            ),
            made_by=f"tokens:{self._folder}",
        )

    def load(self, device: str) -> TokenizerModel:
        """Load the tokenizer; it runs on the CPU, whatever the device."""
        return TokenizerModel(read_model(self._folder))

    def __call__(self, model: TokenizerModel, items: Sequence[TextItem]) -> Sequence[Ids]:
        """100 ids an utterance."""
        return list(model([item.text for item in items]))
