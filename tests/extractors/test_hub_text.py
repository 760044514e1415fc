"""`hub_text` against the models called directly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    BertModel,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    GPT2Config,
    GPT2Model,
    T5Config,
    T5EncoderModel,
    T5Model,
)

from features.errors import ExtractionError
from features.extractors.hub_text import HubText
from tests.extractors import tiny_models as tiny
from tests.extractors.making import media, run, utterances_of

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = ("a fine day", "it rains!", "no", "a  fine\u200b day.", "days " * 40, "no. no. no!")


def rows_of(folder: Path, batch_size: int = 32) -> np.ndarray:
    extractor = HubText(str(folder))
    medias = [media(str(number), utterances=utterances_of(*TEXTS[number:])) for number in range(5)]
    return tiny.values(run(extractor, medias, model=extractor.load("cpu"), batch_size=batch_size))


def mean_of(network: torch.nn.Module, folder: Path, text: str, length: int) -> np.ndarray:
    tokens = AutoTokenizer.from_pretrained(folder)(text, truncation=True, max_length=length, return_tensors="pt")
    with torch.inference_mode():
        return network(**tokens).last_hidden_state[0].mean(dim=0).numpy()


def test_rows_are_the_mean_over_the_tokens(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "model")
    network = tiny.quietly(BertModel.from_pretrained, folder).eval()
    found = rows_of(folder)[: len(TEXTS)]
    expected = [mean_of(network, folder, text.replace("\u200b", ""), 24) for text in TEXTS]
    assert found.shape == (len(TEXTS), 32)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01


def test_of_two_towers_it_is_the_text_embedding(tmp_path: Path) -> None:
    folder = tiny.clip(tmp_path / "model")
    reference, tokenizer = tiny.quietly(CLIPModel.from_pretrained, folder).eval(), AutoTokenizer.from_pretrained(folder)
    found = rows_of(folder)[:3]
    with torch.inference_mode():
        tokens = [tokenizer(text, truncation=True, return_tensors="pt") for text in TEXTS[:3]]
        expected = [reference.get_text_features(**one).pooler_output[0].numpy() for one in tokens]
    assert HubText(str(folder)).spec.shape == (24,)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_text_tower_alone_is_projected_too(tmp_path: Path) -> None:
    folder = tiny.clip(tmp_path / "model")
    config = CLIPTextConfig(**tiny.clip_text(), projection_dim=24)
    tiny.save(CLIPTextModelWithProjection(config), folder)
    reference = tiny.quietly(CLIPTextModelWithProjection.from_pretrained, folder).eval()
    tokens = AutoTokenizer.from_pretrained(folder)(TEXTS[1], truncation=True, return_tensors="pt")
    with torch.inference_mode():
        np.testing.assert_allclose(rows_of(folder)[1], reference(**tokens).text_embeds[0].numpy(), atol=1e-5)


def test_of_an_encoder_with_a_decoder_only_the_encoder_runs(tmp_path: Path) -> None:
    folder = tiny.bert(tmp_path / "model")
    config = T5Config(vocab_size=len(tiny.WORDS), d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4)
    tiny.save(T5Model(config), folder)
    tiny.edit_json(folder / "tokenizer_config.json", model_input_names=["input_ids", "attention_mask"])
    network = tiny.quietly(T5EncoderModel.from_pretrained, folder).eval()
    np.testing.assert_allclose(rows_of(folder)[0], mean_of(network, folder, TEXTS[0], 24), atol=1e-5)


def test_rows_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    for folder in (tiny.bert(tmp_path / "bert"), tiny.clip(tmp_path / "clip")):
        reference = rows_of(folder, 3)
        for batch_size in (1, 7, 64):
            np.testing.assert_allclose(rows_of(folder, batch_size), reference, atol=1e-5)


def test_an_utterance_without_text_has_no_row(tmp_path: Path) -> None:
    extractor = HubText(str(tiny.bert(tmp_path / "model")))
    medias = [media(utterances=utterances_of("no", " \u200b\x00 ", "a day"))]
    (result,) = run(extractor, medias, model=extractor.load("cpu"))
    assert [row.start_us for row in result.rows] == [0, 2_000_000]


def test_a_folder_without_tokenizer_and_a_decoder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ExtractionError, match=r"cannot load .*picture"):
        HubText(str(tiny.vit(tmp_path / "picture"))).load("cpu")
    folder = tiny.bert(tmp_path / "writer")
    tiny.save(GPT2Model(GPT2Config(vocab_size=len(tiny.WORDS), n_embd=32, n_layer=1, n_head=4)), folder)
    tiny.edit_json(folder / "tokenizer_config.json", pad_token=None)
    with pytest.raises(ExtractionError, match="has no padding token, so 'gpt2' is no encoder"):
        HubText(str(folder)).load("cpu")
