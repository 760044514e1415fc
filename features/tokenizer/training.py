"""Fitting a tokenizer: texts in, the bytes of a sentencepiece model out, the same ones for the same texts."""

from __future__ import annotations

import io
import re
from heapq import nsmallest
from typing import TYPE_CHECKING

from features.errors import ConfigError, ModelError
from features.identity import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PAD_ID = 0
UNKNOWN_ID = 1
DEFAULT_VOCABULARY = 10_000
SMALLEST_VOCABULARY = 260
"""Padding, unknown, the 256 bytes, and room for a piece or two."""

MOST_TEXTS = 1_000_000
"""Texts that a tokenizer is fitted on at most; of more, those whose hashes are smallest."""

CHARACTER_COVERAGE = 0.9995

_MOST_CHARACTERS = 1_000  # sentencepiece leaves out what is longer than 4,192 bytes
_TOO_FEW = re.compile(r"smaller than required_chars\. \d+ vs (\d+)")


def train_tokenizer(texts: Iterable[str], vocabulary: int = DEFAULT_VOCABULARY) -> bytes:
    """Fit a unigram model with byte fallback.

    What no piece covers is spelt in bytes, so every text comes back from its ids; case is kept. The order of the texts
    does not matter, how often one occurs does.

    Args:
        texts: Cleaned (`features.extractors.simple.clean_text`); empty ones do not count.
        vocabulary: Pieces at most, at least 260, the 256 bytes, padding (0) and unknown (1) among them; few texts give
            fewer.

    Returns:
        A serialised model that `sentencepiece.SentencePieceProcessor(model_proto=...)` takes.

    Raises:
        ConfigError: The vocabulary is too small for the characters of the texts.
        ModelError: There is no text.

    Reference:
        Kudo (2018), arXiv:1804.10959 (unigram); Kudo & Richardson (2018), arXiv:1808.06226 (sentencepiece).
    """
    import sentencepiece

    check_vocabulary(vocabulary)
    lines = [line for text in chosen_texts(texts) for line in _lines(text)]
    if not lines:
        message = "there is no text to fit a tokenizer on; ingest media with subtitles, or extract pocketsphinx first"
        raise ModelError(message)
    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=written,
            model_type="unigram",
            vocab_size=vocabulary,
            hard_vocab_limit=False,  # a ceiling, not a number to reach
            byte_fallback=True,
            character_coverage=CHARACTER_COVERAGE,
            normalization_rule_name="identity",  # the text is cleaned already
            pad_id=PAD_ID,
            unk_id=UNKNOWN_ID,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # the order of sums is part of the model's bytes
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _refusal(error, vocabulary) from error
    return written.getvalue()


def check_vocabulary(vocabulary: int) -> None:
    """Refuse a vocabulary that holds no piece of text.

    Raises:
        ConfigError: It is smaller than 260.
    """
    if vocabulary < SMALLEST_VOCABULARY:
        message = f"vocabulary must be at least {SMALLEST_VOCABULARY} (256 of them are bytes), not {vocabulary}"
        raise ConfigError(message)


def chosen_texts(texts: Iterable[str]) -> list[str]:
    """The texts that a tokenizer is fitted on, in an order of their own; a text as often as it was given."""
    return sorted(nsmallest(MOST_TEXTS, (text for text in texts if text), key=lambda text: (fingerprint(text), text)))


def fingerprint_of(texts: Sequence[str], vocabulary: int) -> str:
    """Hash of all that makes a tokenizer what it is: `chosen_texts`, the vocabulary, the version of sentencepiece."""
    import sentencepiece

    return fingerprint([sentencepiece.__version__, str(vocabulary), *texts])


def _lines(text: str) -> list[str]:
    return [text[begin : begin + _MOST_CHARACTERS] for begin in range(0, len(text), _MOST_CHARACTERS)]


def _refusal(error: RuntimeError, vocabulary: int) -> ConfigError | ModelError:
    found = _TOO_FEW.search(str(error))
    if found:
        message = f"a vocabulary of {vocabulary} is too small for the characters of the text; give at least {found[1]}"
        return ConfigError(message)
    return ModelError(f"sentencepiece cannot fit a tokenizer on the text ({error}); see that it is text")
