"""BERT as a graph for ONNX Runtime, put together from its weights; texts of one length go together, none is padded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.extractors.groups import in_groups
from features.extractors.onnx_backend import GraphBuilder, OnnxNetwork

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

MAX_TOGETHER = 16
"""Texts of one length that go together: measured, more are no faster."""


class BertShape(NamedTuple):
    """What a BERT's weights do not tell: how many layers and heads, and the epsilon of its layer norms."""

    num_layers: int
    num_heads: int
    epsilon: float


class BertEmbedder:
    """Unit vectors of tokens: the mean of a BERT's last states, on the CPU.

    Args:
        weights: By the names of Hugging Face's `BertModel`, float32.
        shape: The network's shape.
    """

    def __init__(self, weights: Mapping[str, Array], shape: BertShape) -> None:
        self._words = weights["embeddings.word_embeddings.weight"]  # [num_words, size]
        positions = weights["embeddings.position_embeddings.weight"]  # [max_tokens, size]
        self._places = positions + weights["embeddings.token_type_embeddings.weight"][0]
        self._run = OnnxNetwork(bert_model(weights, shape))

    def __call__(self, texts: Sequence[Sequence[int]]) -> Array:
        """One unit vector a text, float32, shape [n, size].

        Args:
            texts: Token ids of each, those that mark its start and end included; no padding. A text's vector does
                not depend on the others (measured: bit for bit).
        """
        means = np.array(in_groups(texts, len, self._means, most=lambda _: MAX_TOGETHER), np.float32)
        units = means.reshape(len(texts), self._words.shape[1])
        return np.asarray(units / np.linalg.norm(units, axis=1, keepdims=True), np.float32)

    def _means(self, texts: list[Sequence[int]]) -> Array:
        """Means of the last states of texts of one length, shape [n, size]."""
        ids = np.array(texts)  # [n, num_tokens]
        states = self._run(self._words[ids] + self._places[: ids.shape[1]])  # [n, num_tokens, size]
        return np.asarray(states.mean(axis=1), np.float32)  # not in the graph, where its rounding depends on n


def bert_model(weights: Mapping[str, Array], shape: BertShape) -> bytes:
    """All of a BERT after the look-up of its embeddings.

    Returns:
        A serialised ONNX model that takes summed embeddings, float32, shape [n, num_tokens, size], and gives the last
        states of the same shape.
    """
    graph = GraphBuilder("bert")
    size = weights["embeddings.LayerNorm.weight"].shape[0]
    bert = _Bert(graph, weights, shape, size)
    states = bert.norm("embedded", "embeddings.LayerNorm")
    for layer in range(shape.num_layers):
        states = bert.layer(states, f"encoder.layer.{layer}.")
    ends = ("n", "num_tokens", size)
    return graph.model(given="embedded", given_shape=ends, made=states, made_shape=ends)


class _Bert:
    """The parts of a BERT as nodes of a graph."""

    def __init__(self, graph: GraphBuilder, weights: Mapping[str, Array], shape: BertShape, size: int) -> None:
        self._graph, self._weights, self._shape, self._size = graph, weights, shape, size
        head_size = size // shape.num_heads
        self._by_head = graph.weight(np.array([0, 0, shape.num_heads, head_size], np.int64))
        self._joined = graph.weight(np.array([0, 0, size], np.int64))
        self._scale = self._number(head_size**-0.5)
        self._half, self._one, self._root = self._number(0.5), self._number(1), self._number(2**-0.5)

    def layer(self, states: str, name: str) -> str:
        """Attention, then two linear maps with a GELU between, each with a residual and a layer norm."""
        graph = self._graph
        attended = self.linear(self._attention(states, f"{name}attention.self."), f"{name}attention.output.dense")
        states = self.norm(graph.node("Add", [attended, states]), f"{name}attention.output.LayerNorm")
        inner = self._gelu(self.linear(states, f"{name}intermediate.dense"))
        outer = self.linear(inner, f"{name}output.dense")
        return self.norm(graph.node("Add", [outer, states]), f"{name}output.LayerNorm")

    def norm(self, given: str, name: str) -> str:
        """A layer norm."""
        ends = [self._graph.weight(self._weights[f"{name}.{part}"]) for part in ("weight", "bias")]
        return self._graph.node("LayerNormalization", [given, *ends], axis=-1, epsilon=self._shape.epsilon)

    def linear(self, given: str, name: str) -> str:
        """A linear map."""
        product = self._graph.node("MatMul", [given, self._graph.weight(self._weights[f"{name}.weight"].T)])
        return self._graph.node("Add", [product, self._graph.weight(self._weights[f"{name}.bias"])])

    def _attention(self, states: str, name: str) -> str:
        graph = self._graph
        query, value = (self._heads(states, name + part, [0, 2, 1, 3]) for part in ("query", "value"))
        key = self._heads(states, name + "key", [0, 2, 3, 1])
        scores = graph.node("Mul", [graph.node("MatMul", [query, key]), self._scale])
        context = graph.node("MatMul", [graph.node("Softmax", [scores], axis=-1), value])
        return graph.node("Reshape", [graph.node("Transpose", [context], perm=[0, 2, 1, 3]), self._joined])

    def _heads(self, states: str, name: str, order: list[int]) -> str:
        mapped = self._graph.node("Reshape", [self.linear(states, name), self._by_head])
        return self._graph.node("Transpose", [mapped], perm=order)

    def _gelu(self, given: str) -> str:
        graph = self._graph
        error = graph.node("Erf", [graph.node("Mul", [given, self._root])])
        halved = graph.node("Mul", [given, self._half])
        return graph.node("Mul", [halved, graph.node("Add", [error, self._one])])

    def _number(self, value: float) -> str:
        return self._graph.weight(np.array(value, np.float32))


def read_shape(config: Mapping[str, Any]) -> BertShape:
    """The shape of a network from its `config.json`."""
    return BertShape(
        int(config["num_hidden_layers"]), int(config["num_attention_heads"]), float(config["layer_norm_eps"])
    )
