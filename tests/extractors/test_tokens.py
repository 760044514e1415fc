"""`tokens` and the tokenizers behind it: texts come back from ids, the same text gives the same bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

from features.errors import ConfigError, ModelError
from features.extractors.registry import get_extractor
from features.extractors.simple import clean_text
from features.extractors.tokens import LENGTH, Tokens
from features.schema import data_schema_of
from features.store.rows import feature_rows
from features.tokenizer.folder import (
    CARD,
    WEIGHTS,
    TokenizerCard,
    fingerprint_of_model,
    read_card,
    read_model,
    save_tokenizer,
)
from features.tokenizer.training import MOST_TEXTS, chosen_texts, fingerprint_of, train_tokenizer
from tests.extractors.making import media, run, utterances_of

if TYPE_CHECKING:
    from pathlib import Path

SUBJECTS = ("the old ship", "a small boat", "my sister", "the doctor", "our neighbour", "nobody", "the quick fox")
VERBS = ("sails to", "looks for", "never liked", "remembers", "jumps over", "waits at")
PLACES = ("the harbour", "the station in the rain", "the lazy dog", "a house by the sea", "Düsseldorf")
TEXTS = [f"{one} {verb} {place}." for one in SUBJECTS for verb in VERBS for place in PLACES]
STRANGE = ("Ελληνικά", "漢字かな交じり文", "🙂 emoji", "Ship SHIP ship", "a", "x\u200by\tz", "¼ ﬁne", TEXTS[0])


def put_tokenizer(folder: Path, model: bytes, version: int = 3) -> Path:
    card = TokenizerCard(
        format_version=1,
        name="tokenizer",
        version=version,
        pieces=SentencePieceProcessor(model_proto=model).vocab_size(),
        vocabulary=10_000,
        split="",
        num_media=1,
        num_utterances=len(TEXTS),
        text_fingerprint=fingerprint_of(TEXTS, 10_000),
        weights_fingerprint=fingerprint_of_model(model),
        table_versions={},
        created_at="2024-01-01T00:00:00+00:00",
        run_id="",
        code_version="",
    )
    save_tokenizer(folder, model, card)
    return folder


@pytest.fixture(scope="module")
def model() -> bytes:
    return train_tokenizer(TEXTS)


@pytest.fixture
def folder(tmp_path: Path, model: bytes) -> Path:
    return put_tokenizer(tmp_path / "models" / "tokenizer" / "3", model)


def ids_of(folder: Path, *texts: str, batch_size: int | None = None) -> list[list[int]]:
    extractor = Tokens(str(folder))
    model = extractor.load("cpu")
    (found,) = run(extractor, [media(utterances=utterances_of(*texts))], model=model, batch_size=batch_size)
    return [row.values.tolist() for row in found.rows]


def test_every_text_comes_back_from_its_ids(folder: Path) -> None:
    processor = SentencePieceProcessor(model_proto=read_model(folder))
    for text, ids in zip(STRANGE, ids_of(folder, *STRANGE), strict=True):
        assert processor.decode([one for one in ids if one]) == clean_text(text)
        assert 1 not in ids  # bytes stand for what no piece covers


def test_ids_are_those_of_sentencepiece_padded_and_cut(folder: Path) -> None:
    processor = SentencePieceProcessor(model_file=str(folder / WEIGHTS))
    assert (processor.pad_id(), processor.unk_id(), processor.bos_id(), processor.eos_id()) == (0, 1, -1, -1)
    long = " ".join(TEXTS[:60])
    short, cut = ids_of(folder, TEXTS[0], long)
    right = processor.encode(TEXTS[0])
    assert short == right + [0] * (LENGTH - len(right))
    assert cut == processor.encode(long)[:LENGTH]
    assert 0 not in cut


def test_rows_do_not_depend_on_the_batch(folder: Path) -> None:
    right = ids_of(folder, *TEXTS[:70])
    for batch_size in (1, 7, 64):
        assert ids_of(folder, *TEXTS[:70], batch_size=batch_size) == right


def test_utterances_without_text_have_no_row(folder: Path) -> None:
    extractor = Tokens(str(folder))
    found = run(extractor, [media("a", utterances=utterances_of(" ", "\u200b")), media("b")], model=extractor.load(""))
    assert [one.status for one in found] == ["empty", "absent"]


def test_ids_are_stored_as_whole_numbers(folder: Path) -> None:
    extractor = Tokens(str(folder))
    (found,) = run(extractor, [media(utterances=utterances_of("nobody"))], model=extractor.load("cpu"))
    extractor_rows = [row for row in found.rows if hasattr(row, "values")]
    assert extractor_rows[0].values.dtype == np.int32
    rows = feature_rows("a", extractor_rows, extractor.spec.table)
    assert rows.schema == data_schema_of("features/tokens@3")
    assert rows["values"].to_pylist() == [extractor_rows[0].values.tolist()]


def test_the_spec_is_the_tokenizers_and_makes_it_again(folder: Path, model: bytes) -> None:
    spec = Tokens(str(folder)).spec
    assert (spec.table, spec.shape, spec.dtype) == ("features/tokens@3", (LENGTH,), "int32")
    assert spec.weights_fingerprint == fingerprint_of_model(model)
    assert get_extractor(spec.maker).spec == spec
    other = Tokens(str(put_tokenizer(folder.parent / "elsewhere", model))).spec
    assert other.fingerprint == spec.fingerprint


def test_a_tokenizer_must_be_named_be_there_and_be_whole(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'tokens' wants to know which: tokens:folder of a tokenizer"):
        get_extractor("tokens")
    with pytest.raises(ConfigError, match=r"there is no tokenizer at '.*nowhere'.*triptych train-tokenizer"):
        get_extractor(f"tokens:{tmp_path / 'nowhere'}")
    model = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(model[:-1] + bytes([model[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"damaged \(tokenizer.model has the fingerprint .*copy it again"):
        Tokens(str(folder)).load("cpu")
    (folder / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="damaged"):
        Tokens(str(folder)).load("cpu")


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 1}', '"x"'])
def test_a_damaged_card_is_told(folder: Path, text: str) -> None:
    (folder / CARD).write_text(text)
    with pytest.raises(ConfigError, match=r"tokenizer '.*' is damaged"):
        read_card(folder)


def test_a_newer_format_is_refused(folder: Path) -> None:
    (folder / CARD).write_text(json.dumps({"format_version": 2, "news": True}))
    with pytest.raises(ConfigError, match="has format 2, this Triptych reads up to 1"):
        read_card(folder)


def test_a_tokenizer_is_never_overwritten(folder: Path, model: bytes) -> None:
    card = read_card(folder)
    with pytest.raises(ModelError, match="it is there already"):
        save_tokenizer(folder, model, replace(card, pieces=1))
    assert read_card(folder) == card
    assert [path.name for path in folder.parent.iterdir()] == ["3"]


def test_the_same_texts_give_the_same_bytes_in_any_order(model: bytes) -> None:
    shuffled = [TEXTS[place] for place in np.random.default_rng(0).permutation(len(TEXTS))]
    assert train_tokenizer([*shuffled, ""]) == model
    assert fingerprint_of(chosen_texts(shuffled), 9) == fingerprint_of(chosen_texts(TEXTS), 9)
    assert fingerprint_of(chosen_texts(TEXTS), 9) != fingerprint_of(chosen_texts(TEXTS), 10)
    assert fingerprint_of(chosen_texts(TEXTS), 9) != fingerprint_of(chosen_texts([*TEXTS, TEXTS[0]]), 9)


def test_the_vocabulary_is_a_ceiling(model: bytes) -> None:
    assert 258 < SentencePieceProcessor(model_proto=model).vocab_size() < 10_000
    assert SentencePieceProcessor(model_proto=train_tokenizer(TEXTS, 310)).vocab_size() == 310
    assert SentencePieceProcessor(model_proto=train_tokenizer(["a"])).vocab_size() < 270


def test_a_vocabulary_that_is_too_small_says_what_is_enough() -> None:
    with pytest.raises(ConfigError, match=r"vocabulary must be at least 260 .*not 100"):
        train_tokenizer(TEXTS, 100)
    with pytest.raises(ConfigError, match=r"a vocabulary of 270 is too small .*give at least (\d+)") as refused:
        train_tokenizer(TEXTS, 270)
    enough = int(str(refused.value).rpartition(" ")[2])
    assert SentencePieceProcessor(model_proto=train_tokenizer(TEXTS, enough)).vocab_size() == enough


def test_no_text_is_told() -> None:
    with pytest.raises(ModelError, match="there is no text to fit a tokenizer on"):
        train_tokenizer(["", ""])


def test_very_long_texts_are_learned_from_too() -> None:
    word = "quxquux"
    pieces = SentencePieceProcessor(model_proto=train_tokenizer([" ".join([word] * 2_000)]))
    assert len(pieces.encode(word)) < len(word)


def test_only_so_many_texts_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_TEXTS >= 1_000_000
    monkeypatch.setattr("features.tokenizer.training.MOST_TEXTS", 20)
    chosen = chosen_texts(TEXTS)
    assert len(chosen) == 20
    assert chosen == sorted(chosen) == chosen_texts(reversed(TEXTS))
