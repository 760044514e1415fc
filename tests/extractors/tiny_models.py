"""Small models of transformers with random weights, saved as their own classes save them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTokenizer,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from features.extractors.engine import Extracted
from features.records import FeatureRow

TRANSFORMER = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "fine", "day", "it", "rains", "no", "##s", "!", ".")
CARD = "---\nlanguage: en\nlicense: apache-2.0\ntags:\n- test\n---\n# A model\n"


def save(model: Any, folder: Path, *helpers: Any) -> Path:
    """Save a model and what prepares its inputs; its random weights are large enough that inputs make a difference."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.2 if parameter.ndim > 1 else 0.5))
    quietly(model.save_pretrained, folder)
    for helper in helpers:
        quietly(helper.save_pretrained, folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder


def quietly(work: Any, *arguments: Any, **options: Any) -> Any:
    """Call transformers without its bars and warnings."""
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work(*arguments, **options)
    finally:
        if bars:
            transformers.utils.logging.enable_progress_bar()


def vit(folder: Path, **options: Any) -> Path:
    """A ViT of 32 x 32 pixels."""
    model = ViTModel(ViTConfig(**TRANSFORMER, image_size=32, patch_size=8), **options)
    return save(model, folder, ViTImageProcessorPil(size={"height": 32, "width": 32}))


def clip(folder: Path) -> Path:
    """Both towers of a CLIP model, with its tokenizer of single letters."""
    towers = {"text_config": clip_text(), "vision_config": {**TRANSFORMER, "image_size": 32, "patch_size": 8}}
    model = CLIPModel(CLIPConfig(**towers, projection_dim=24))
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(f"{letter}</w>" for letter in "abcdefghijklmnopqrstuvwxyz")]
    vocabulary = {piece: index for index, piece in enumerate([*letters, "<|startoftext|>", "<|endoftext|>"])}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=16)
    return save(model, folder, clip_processor(), tokenizer)


def clip_text() -> dict[str, Any]:
    """Configuration of the text tower."""
    special = {"bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    return {**TRANSFORMER, "vocab_size": 54, "max_position_embeddings": 16, **special}


def clip_processor() -> Any:
    """CLIP's preprocessing at 32 pixels."""
    return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def bert(folder: Path) -> Path:
    """A BERT of a few words."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    model = BertModel(BertConfig(**TRANSFORMER, vocab_size=len(WORDS), max_position_embeddings=24))
    return save(model, folder, BertTokenizer(vocab=str(folder / "vocab.txt"), model_max_length=24))


def waveform(folder: Path, kind: str, **options: Any) -> Path:
    """A network of waveforms: `Wav2Vec2`, `Hubert`, `WavLM`."""
    config = getattr(transformers, f"{kind}Config")(
        **TRANSFORMER,
        **{"conv_dim": (16, 16), "conv_stride": (20, 16), "conv_kernel": (25, 20), "num_feat_extract_layers": 2},
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        **options,
    )
    return save(getattr(transformers, f"{kind}Model")(config), folder, Wav2Vec2FeatureExtractor())


def whisper(folder: Path) -> Path:
    """A Whisper model with encoder and decoder."""
    config = WhisperConfig(
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        vocab_size=64,
        **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"), 63),
    )
    return save(WhisperForConditionalGeneration(config), folder, WhisperFeatureExtractor())


def values(results: list[Extracted]) -> np.ndarray:
    """All vectors of all media."""
    assert all(result.status == "ok" for result in results), [result.message for result in results]
    return np.array([row.values for result in results for row in result.rows if isinstance(row, FeatureRow)])


def edit_json(path: Path, **changes: Any) -> None:
    """Change entries of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def whisper_for_ctranslate2(parent: Path) -> Path:
    """An English Whisper model with a tokenizer of bytes, converted as faster-whisper wants it."""
    from ctranslate2.converters import TransformersConverter
    from transformers import GenerationConfig
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    special = ("endoftext", "startoftranscript", "translate", "transcribe", "startoflm", "startofprev", "nospeech")
    named = [f"<|{name}|>" for name in (*special, "notimestamps")]
    vocabulary = {piece: index for index, piece in enumerate([*bytes_to_unicode().values(), *named])}
    tokenizer = transformers.WhisperTokenizer(vocab=vocabulary, merges=[], additional_special_tokens=named)
    ids = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 256) | {"decoder_start_token_id": 257}
    sizes = {f"{side}_{what}": size for side in ("encoder", "decoder") for what, size in _WHISPER_SIZES.items()}
    model = WhisperForConditionalGeneration(WhisperConfig(d_model=32, vocab_size=264 + 1501, **sizes, **ids))
    model.generation_config = GenerationConfig(suppress_tokens=[], begin_suppress_tokens=[256], **ids)
    folder = save(model, parent / "source", tokenizer, WhisperFeatureExtractor())
    helpers = ["tokenizer.json", "preprocessor_config.json"]
    quietly(TransformersConverter(str(folder), copy_files=helpers).convert, str(parent / "tiny"))
    return parent / "tiny"


_WHISPER_SIZES = {"layers": 2, "attention_heads": 4, "ffn_dim": 64}
