"""`hub_text:WHERE`: what an utterance means, by a text model of the `transformers` library."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from features.errors import ExtractionError
from features.extractors.device import limit_threads, pick_device, to_device
from features.extractors.hub import (
    TOKENIZER,
    HubModel,
    check_width,
    find_model,
    load_helper,
    load_network,
    to_torch_device,
)
from features.extractors.hub_cache import TAKES
from features.extractors.simple import RowAnUtterance, TextItem
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

MAX_TOKENS = 256
TOGETHER = 32
"""Texts that are padded to one length: those of about one length, whatever their order."""

_PROJECTED = "TextModelWithProjection"


class TextNetwork:
    """A tokenizer and a network of text.

    Args:
        model: Where its weights lie.
        device: Name that torch takes.

    Raises:
        ExtractionError: It is no encoder, or its tokenizer cannot pad.
    """

    def __init__(self, model: HubModel, device: str) -> None:
        import torch

        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else it warns in each forked worker
        self.tokenizer = load_helper(model.folder, "AutoTokenizer")
        self._check(model)
        name = model.architecture if model.architecture.endswith(_PROJECTED) else "AutoModel"
        network, _ = load_network(model, name)
        if _has_towers(model.config) and hasattr(network, "vision_model"):
            del network.vision_model  # half of the memory, and never asked for
        encoder = network.get_encoder() if model.config.is_encoder_decoder else network
        self.network = to_torch_device(encoder, device)
        self.device = torch.device(device)
        self._has_towers = _has_towers(model.config)
        self._max_tokens = max_tokens(model.config, int(self.tokenizer.model_max_length))
        # SigLIP was trained on texts padded to the full length, with no mask.
        self._pads_in_full = "siglip" in model.config.model_type

    def __call__(self, texts: Sequence[str]) -> Array:
        """Vectors of texts: float32, shape [n, width]."""
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        results: dict[int, Array] = {}
        for begin in range(0, len(order), TOGETHER):
            indexes = order[begin : begin + TOGETHER]
            results |= zip(indexes, self._embed([texts[index] for index in indexes]), strict=True)
        return np.stack([results[index] for index in range(len(texts))])

    def _embed(self, texts: list[str]) -> Array:
        import torch

        encoded = self.tokenizer(
            texts,
            padding="max_length" if self._pads_in_full else "longest",
            truncation=True,
            max_length=self._max_tokens,
            return_tensors="np",
        )
        inputs = {name: to_device(np.asarray(values, np.int64), self.device) for name, values in encoded.items()}
        with torch.inference_mode():
            pooled = self._pooled(inputs)
        return np.asarray(pooled.cpu().numpy(), np.float32)

    def _pooled(self, inputs: Mapping[str, Any]) -> Any:  # noqa: ANN401 - torch's tensors
        if self._has_towers:
            return self.network.get_text_features(**inputs).pooler_output
        output = self.network(**inputs)
        if "text_embeds" in output:
            return output.text_embeds
        if self.network.config.model_type.endswith("_text_model"):
            return output.pooler_output
        weight = inputs["attention_mask"].unsqueeze(-1).to(output.last_hidden_state.dtype)  # [n, num_tokens, 1]
        return (output.last_hidden_state * weight).sum(dim=1) / weight.sum(dim=1)

    def _check(self, model: HubModel) -> None:
        if self.tokenizer.pad_token_id is None:
            message = (
                f"the tokenizer in {str(model.folder)!r} has no padding token, so {model.config.model_type!r} is no "
                "encoder of sentences; give a BERT-like model or one with a text tower"
            )
            raise ExtractionError(message)


class HubText(RowAnUtterance):
    """Embeddings of text by a model of transformers: BERT and its kind, T5's encoder, the text towers of CLIP, SigLIP.

    Source: the model named; its weights as safetensors, its tokenizer its own.
    Shape: [width]: of two towers (CLIP, SigLIP) the text embedding in the space shared with pictures; else the mean of
        the last hidden state over the tokens, padding left out. Neither is normalised; no unit.
    Rate: one row an utterance that has text; of a long one, the first 256 tokens count, or as many as the model takes.
    Licence of the weights: as the model's card states, else "unstated".

    Args:
        where: A local folder, or `owner/name` or `owner/name@revision` on the hub.

    Raises:
        ExtractionError: There is no such model, it is not whole, or it is no model of text.

    Reference:
        Devlin et al. (2019), arXiv:1810.04805; Reimers & Gurevych (2019), arXiv:1908.10084; Radford et al. (2021),
        arXiv:2103.00020.
    """

    takes: ClassVar[str] = TAKES
    runs_on_gpu = True
    batch_size = 128  # the longer, the more texts of one length stand together

    def __init__(self, where: str) -> None:
        self._model = find_model(where, TOKENIZER)
        self.spec = FeatureSpec(
            name=f"hub_text_{self._model.located.slug}",
            version=1,
            modality="text",
            inputs="transcripts",
            shape=(_width(self._model.config),),
            rate="one an utterance",
            units="component of an embedding",
            source=self._model.source,
            licence=self._model.licence,
            weights_fingerprint=self._model.fingerprint,
            parameters=(
                ("max_tokens", f"{MAX_TOKENS}, or as many as the model takes"),
                ("text", "NFKC, no control characters, white space folded"),
                ("pooling", "text embedding of two towers; else mean over tokens"),
                ("precision", "float32"),
            ),
            made_by=f"hub_text:{self._model.located.where}",
        )

    def load(self, device: str) -> TextNetwork:
        """Load tokenizer and network; the hub is not asked."""
        torch_device = pick_device(device)
        network = TextNetwork(self._model, torch_device)
        limit_threads()
        check_width(network(["a"]), self.spec.shape[0], self._model.folder)
        return network

    def __call__(self, model: TextNetwork, items: Sequence[TextItem]) -> Sequence[Array]:
        """A vector an utterance."""
        return list(model([item.text for item in items]))


def max_tokens(config: Any, tokenizer_takes: int) -> int:  # noqa: ANN401 - transformers has no types
    """Tokens of a text that count: at most 256, and no more than tokenizer and network take."""
    tower = config.text_config if _has_towers(config) else config
    positions = getattr(tower, "max_position_embeddings", None) or MAX_TOKENS
    return min(MAX_TOKENS, tokenizer_takes, int(positions))


def _has_towers(config: Any) -> bool:  # noqa: ANN401 - transformers has no types
    return hasattr(config, "text_config") and hasattr(config, "vision_config")


def _width(config: Any) -> int:  # noqa: ANN401 - transformers has no types
    """Length of the vectors, as far as the configuration says; `load` compares it with the network's."""
    tower = config.text_config if _has_towers(config) else config
    architecture = (config.architectures or [""])[0]
    if (_has_towers(config) or architecture.endswith(_PROJECTED)) and getattr(config, "projection_dim", None):
        return int(config.projection_dim)
    return int(getattr(tower, "projection_size", 0) or getattr(tower, "hidden_size", 0))
