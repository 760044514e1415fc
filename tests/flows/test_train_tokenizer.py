"""`triptych train-tokenizer`: learns from the training side only, registers each text once, and is no fusion model."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from sentencepiece import SentencePieceProcessor

from features.errors import ConfigError
from features.extractors.registry import get_extractor
from features.store import Store, read_table
from features.store.models import list_models, next_version
from features.tokenizer.folder import TokenizerRef, list_tokenizers, newest_maker, read_model, tokenizer_folder
from flows import stages
from pipelines.reading import makers_of
from tests.extractors.test_tokens import TEXTS
from tests.flows.conftest import NUM_MEDIA, content_of
from tests.store.making import SECOND, put

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]

SIDES = {"m00": "test", "m06": "dev"}
MARK = "ψξθ"
"""Stands in the text of one media only: who did not learn from that one spells it in bytes."""


def utterances(media_id: str, texts: Sequence[str], source: str = "subtitle") -> list[dict[str, Any]]:
    return [
        {
            "media_id": media_id,
            "start_us": index * SECOND,
            "end_us": (index + 1) * SECOND,
            "text": text,
            "source": source,
        }
        for index, text in enumerate(texts)
    ]


def put_text(store: Store, marked: str = "", source: str = "subtitle") -> None:
    """Text of all media; that of one has a word of its own, many times."""
    for batch_id, numbers in (("b1", range(6)), ("b2", range(6, NUM_MEDIA))):
        rows = []
        for number in numbers:
            own = f"m{number:02}"
            texts = TEXTS[number * 15 : (number + 1) * 15]
            rows += utterances(own, [f"{text} {MARK}" for text in texts] if own == marked else texts)
            rows += utterances(own, [MARK] * 9, "asr:heard") if source == "asr" else []
        put(store, "transcripts", batch_id, rows)


def put_splits(store: Store, name: str = "default") -> None:
    for batch_id, numbers in (("b1", range(6)), ("b2", range(6, NUM_MEDIA))):
        ids = [f"m{number:02}" for number in numbers]
        rows = [{"group_id": one, "media_id": one, "split": SIDES.get(one, "train")} for one in ids]
        put(store, f"splits/{name}", batch_id, rows)


def card_of(outcome: Outcome) -> dict[str, Any]:
    assert outcome.status == 0, outcome.err
    card: dict[str, Any] = json.loads(outcome.out)
    return card


def knows_mark(store: Store, version: int = 1, name: str = "tokenizer") -> bool:
    model = read_model(tokenizer_folder(store, TokenizerRef(version, name)))
    pieces = SentencePieceProcessor(model_proto=model).encode(MARK, out_type=str)
    return not any(piece.startswith("<0x") for piece in pieces)


def test_it_says_what_it_learned_from_and_how_many_pieces_there_are(store: Store, triptych: Triptych) -> None:
    put_text(store)
    put_splits(store)
    told = triptych("--store", store.root, "train-tokenizer")
    assert told.status == 0, told.err
    assert "learned from 150 utterances of 10 media (the training side of splits/default)" in told.out
    card = json.loads((store.path / "models" / "tokenizer" / "1" / "tokenizer.json").read_text())
    model = (store.path / "models" / "tokenizer" / "1" / "tokenizer.model").read_bytes()
    pieces = SentencePieceProcessor(model_proto=model).vocab_size()
    assert f"{pieces} pieces, no more than the text gives of 10,000, 256 of them bytes" in told.out
    assert (card["pieces"], card["num_utterances"], card["num_media"]) == (pieces, 150, 10)
    assert card["split"] == "splits/default"
    assert set(card["table_versions"]) == {"media", "transcripts", "splits/default"}
    assert "m01" not in json.dumps(card)


def test_the_same_text_is_registered_once(store: Store, triptych: Triptych) -> None:
    put_text(store)
    put_splits(store)
    first = card_of(triptych("--store", store.root, "train-tokenizer", "--json"))
    before = content_of(store.path / "models")
    again = triptych("--store", store.root, "train-tokenizer")
    assert "tokenizer@1 has learned from this text already; nothing was registered" in again.out
    assert content_of(store.path / "models") == before
    assert not card_of(triptych("--store", store.root, "train-tokenizer", "--json"))["is_new"]
    smaller = card_of(triptych("--store", store.root, "train-tokenizer", "--vocabulary", "310", "--json"))
    assert (first["is_new"], smaller["is_new"]) == (True, True)
    assert (first["version"], smaller["version"], smaller["pieces"]) == (1, 2, 310)


@pytest.mark.parametrize(("marked", "knows"), [("m00", False), ("m06", False), ("m01", True)])
def test_it_learns_from_the_training_side_only(store: Store, triptych: Triptych, marked: str, knows: bool) -> None:
    put_text(store, marked)
    put_splits(store)
    card_of(triptych("--store", store.root, "train-tokenizer", "--json"))
    assert knows_mark(store) is knows
    card_of(triptych("--store", store.root, "train-tokenizer", "all", "--all", "--json"))
    assert knows_mark(store, 2, "all")


def test_only_the_best_text_counts(store: Store, triptych: Triptych) -> None:
    put_text(store, source="asr")
    assert card_of(triptych("--store", store.root, "train-tokenizer", "--all", "--json"))["num_utterances"] == 180
    assert not knows_mark(store)


def test_what_was_refused_or_forgotten_teaches_nothing(store: Store, triptych: Triptych) -> None:
    put_text(store, "m01")
    put_splits(store)
    rows = read_table(store, "media", batch_ids=["b1"]).drop_columns(["batch_id"]).to_pylist()
    refused = [{**row, "consent": "refused" if row["media_id"] == "m01" else "granted"} for row in rows]
    put(store, "media", "b1", refused, stage="again", generation=2)
    assert card_of(triptych("--store", store.root, "train-tokenizer", "--all", "--json"))["num_media"] == 11
    assert not knows_mark(store)
    assert triptych("--store", store.root, "forget", "--media", "m02", "--yes").status == 0
    assert card_of(triptych("--store", store.root, "train-tokenizer", "--all", "--json"))["num_media"] == 10


def test_forgetting_names_the_tokenizers_that_learned(store: Store, triptych: Triptych) -> None:
    put_text(store)
    put_splits(store)
    card_of(triptych("--store", store.root, "train-tokenizer", "--json"))
    card_of(triptych("--store", store.root, "train-tokenizer", "every", "--all", "--json"))

    def named(media_id: str) -> object:
        told = triptych("--store", store.root, "forget", "--media", media_id, "--dry-run", "--json")
        return json.loads(told.out)["models"]

    assert named("m01") == ["tokenizer@1", "every@2"]
    assert named("m00") == ["every@2"]


def test_a_split_must_be_known(store: Store, triptych: Triptych) -> None:
    put_text(store)
    none = triptych("--store", store.root, "train-tokenizer")
    assert none.status == 2
    assert "has no splits" in none.err
    assert "--recipe sentiment" in none.err
    put_splits(store)
    unknown = triptych("--store", store.root, "train-tokenizer", "--split", "defualt")
    assert "there is no split 'defualt'; did you mean 'default'?" in unknown.err
    put_splits(store, "other")
    several = triptych("--store", store.root, "train-tokenizer")
    assert "several splits (default, other); name the one" in several.err
    named = card_of(triptych("--store", store.root, "train-tokenizer", "--split", "other", "--json"))
    assert named["split"] == "splits/other"
    both = triptych("--store", store.root, "train-tokenizer", "--split", "other", "--all")
    assert (both.status, "give one of them" in both.err) == (2, True)


def test_a_recipe_deals_the_splits_that_training_keeps(
    store: Store, triptych: Triptych, recipe: Path, write_labels: Callable[..., Path]
) -> None:
    put_text(store)
    path = write_labels("low", "high")
    assert triptych("--store", store.root, "label", "mood", path).status == 0
    card = card_of(triptych("--store", store.root, "train-tokenizer", "--recipe", recipe, "--json"))
    dealt = read_table(store, "splits/default", columns=["media_id", "split"])
    assert card["split"] == "splits/default"
    assert card["num_media"] == dealt["split"].to_pylist().count("train") < NUM_MEDIA
    assert triptych("--store", store.root, "train", recipe).status == 0
    assert read_table(store, "splits/default", columns=["media_id", "split"]).equals(dealt)


def test_it_is_not_taken_for_a_fusion_model(
    store: Store, triptych: Triptych, recipe: Path, write_labels: Callable[..., Path]
) -> None:
    put_text(store)
    card_of(triptych("--store", store.root, "train-tokenizer", "moods", "--all", "--json"))
    assert list_models(store) == ()
    for command in (("report",), ("verify",)):  # `status` tells it among the tokenizers
        told = triptych("--store", store.root, *command)
        assert told.status == 0, told.err
        assert "moods" not in told.out
    for command in (("score", "moods"), ("lineage", "moods")):
        told = triptych("--store", store.root, *command)
        assert "moods" in told.err
        assert told.status in (2, 3)
    triptych("--store", store.root, "label", "mood", write_labels("low", "high"))
    assert next_version(store, "moods") == 2  # the recipe has the name too, and takes no version twice
    assert triptych("--store", store.root, "train", recipe).status == 0
    taken = triptych("--store", store.root, "train-tokenizer", "moods", "--all")
    assert (taken.status, "'moods' is the name of a fusion model" in taken.err) == (2, True)


def test_a_run_that_died_leaves_no_tokenizer(store: Store, triptych: Triptych) -> None:
    put_text(store)
    hidden = store.path / "models" / "tokenizer" / f".1.{'0' * 32}"
    hidden.mkdir(parents=True)
    (hidden / "tokenizer.json").write_text("{")
    assert list_tokenizers(store) == ()
    assert card_of(triptych("--store", store.root, "train-tokenizer", "--all", "--json"))["version"] == 1


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--vocabulary", "9"), "vocabulary must be at least 260"),
        (("--vocabulary", "261"), "a vocabulary of 261 is too small"),
        (("a/b",), "the name 'a/b' has characters"),
    ],
)
def test_wrong_use_is_told(store: Store, triptych: Triptych, more: tuple[str, ...], told: str) -> None:
    put_text(store)
    outcome = triptych("--store", store.root, "train-tokenizer", *more, "--all")
    assert (outcome.status, told in outcome.err) == (2, True), outcome.err


def test_without_text_there_is_no_tokenizer(store: Store, triptych: Triptych) -> None:
    outcome = triptych("--store", store.root, "train-tokenizer", "--all")
    assert (outcome.status, "there is no text to fit a tokenizer on" in outcome.err) == (3, True)
    assert list_tokenizers(store) == ()


def test_tokens_means_the_newest_tokenizer_of_the_store(store: Store, triptych: Triptych) -> None:
    with pytest.raises(ConfigError, match="has no tokenizer, which the extractor 'tokens' needs"):
        newest_maker(store)
    missing = triptych("--store", store.root, "extract", "tokens")
    assert (missing.status, "train-tokenizer" in missing.err) == (2, True)
    put_text(store)
    card_of(triptych("--store", store.root, "train-tokenizer", "--all", "--json"))
    card_of(triptych("--store", store.root, "train-tokenizer", "small", "--vocabulary", "310", "--all", "--json"))
    levels = stages.chosen_extractors(["tokens"], store=store)
    assert levels == (("pocketsphinx",), (f"tokens:{store.path / 'models' / 'small' / '2'}",))


def test_tokens_are_made_again_by_the_tokenizer_of_a_store_that_was_moved(
    store: Store, triptych: Triptych, tmp_path: Path
) -> None:
    put_text(store)
    card_of(triptych("--store", store.root, "train-tokenizer", "--all", "--json"))
    spec = get_extractor(newest_maker(store)).spec
    store.ensure(spec.table, spec)
    store.ensure(spec.coverage_table)
    moved = Store(str(store.path.rename(tmp_path / "moved")))
    assert makers_of(moved) == ("looks", "sounds", f"tokens:{moved.path / 'models' / 'tokenizer' / '1'}")
    assert "extract tokens" in triptych("--store", moved.root, "status").out
