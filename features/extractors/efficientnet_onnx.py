"""EfficientNet-Lite as a graph for ONNX Runtime, put together from the torch network's modules.

`torch.onnx.export` would need more packages, and what it writes changes with torch's version; the network has but
convolutions, each followed by a batch normalisation, which at inference is part of the convolution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import ModelError
from features.extractors.onnx_backend import GraphBuilder

if TYPE_CHECKING:
    import numpy.typing as npt

    Double = npt.NDArray[np.float64]


def onnx_model(network: Any, image_size: int) -> bytes:  # noqa: ANN401 - the package has no types
    """The network without its classifier, its last activations averaged over space.

    Args:
        network: `EfficientNet` of `efficientnet_lite_pytorch`, of a Lite variant, with weights.
        image_size: Side of its pictures, pixels.

    Returns:
        A serialised ONNX model that takes float32, shape [n, image_size, image_size, 3], and gives float32, shape
        [n, num_features].

    Raises:
        ModelError: The network has squeeze-and-excitation, which no Lite variant has.
    """
    graph = GraphBuilder("efficientnet_lite")
    value = graph.node("Transpose", ["pixels"], perm=[0, 3, 1, 2])
    value = _relu6(graph, _convolution(graph, value, network._conv_stem, network._bn0))
    for block in network._blocks:
        value = _block(graph, value, block)
    value = _relu6(graph, _convolution(graph, value, network._conv_head, network._bn1))
    made = graph.node("Flatten", [graph.node("GlobalAveragePool", [value])])
    return graph.model(
        given="pixels",
        given_shape=("n", image_size, image_size, 3),
        made=made,
        made_shape=("n", network._conv_head.out_channels),
    )


def _block(graph: GraphBuilder, given: str, block: Any) -> str:  # noqa: ANN401
    """An inverted bottleneck: expand, a filter a channel, project; and what it was given added where shapes agree."""
    if block.has_se:
        message = "EfficientNet with squeeze-and-excitation has no graph for ONNX Runtime here; use a Lite variant"
        raise ModelError(message)
    value, arguments = given, block._block_args
    if arguments.expand_ratio != 1:
        value = _relu6(graph, _convolution(graph, value, block._expand_conv, block._bn0))
    value = _relu6(graph, _convolution(graph, value, block._depthwise_conv, block._bn1))
    value = _convolution(graph, value, block._project_conv, block._bn2)
    if block.id_skip and arguments.stride == 1 and arguments.input_filters == arguments.output_filters:
        value = graph.node("Add", [value, given])
    return value


def _convolution(graph: GraphBuilder, given: str, convolution: Any, norm: Any) -> str:  # noqa: ANN401
    """A convolution with the batch normalisation after it, as one."""
    factor = _double(norm.weight) / np.sqrt(_double(norm.running_var) + norm.eps)
    weight = _double(convolution.weight) * factor[:, None, None, None]
    bias = _double(norm.bias) - _double(norm.running_mean) * factor
    return graph.node(
        "Conv",
        [given, graph.weight(weight.astype(np.float32)), graph.weight(bias.astype(np.float32))],
        kernel_shape=list(convolution.kernel_size),
        strides=list(convolution.stride),
        pads=_pads(convolution),
        group=convolution.groups,
    )


def _pads(convolution: Any) -> list[int]:  # noqa: ANN401
    """Top, left, bottom, right: as TensorFlow pads, more at the end than at the start."""
    padding = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
    left, right, top, bottom = padding
    return [top, left, bottom, right]


def _relu6(graph: GraphBuilder, given: str) -> str:
    ends = [graph.weight(np.array(end, np.float32)) for end in (0, 6)]
    return graph.node("Clip", [given, *ends])


def _double(tensor: Any) -> Double:  # noqa: ANN401
    return np.asarray(tensor.detach().cpu().numpy(), np.float64)
