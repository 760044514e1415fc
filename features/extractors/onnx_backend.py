"""ONNX Runtime on the CPU: a network's graph, put together by hand in memory, and the session that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from features.extractors.device import num_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

OPSET = 17
_IR_VERSION = 8  # of the opset's time: every ONNX Runtime that knows the one reads the other


class GraphBuilder:
    """Collects the nodes and weights of a graph of one float32 input and one float32 output.

    Args:
        name: Name of the graph, for messages.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def weight(self, values: npt.NDArray[Any]) -> str:
        """Put a constant array into the graph, and return the name of its value."""
        from onnx import numpy_helper

        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:  # noqa: ANN401 - as ONNX has them
        """Add a node of one output, and return the name of its value."""
        from onnx import helper

        name = f"v{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def model(
        self, *, given: str, given_shape: Sequence[int | str], made: str, made_shape: Sequence[int | str]
    ) -> bytes:
        """The graph as a serialised ONNX model.

        Args:
            given: Name of the input's value.
            given_shape: Its shape; a text names a size that a call sets.
            made: Name of the output's value.
            made_shape: Its shape.
        """
        from onnx import TensorProto, helper

        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
            for name, shape in ((given, given_shape), (made, made_shape))
        ]
        graph = helper.make_graph(self._nodes, self._name, ends[:1], ends[1:], self._weights)
        opsets = [helper.make_opsetid("", OPSET)]
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION).SerializeToString())


class OnnxNetwork:
    """A model in ONNX Runtime on the CPU, held to `num_threads()`.

    Args:
        model: A serialised ONNX model of one input and one output.
    """

    def __init__(self, model: bytes) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors are raised; here they would be written as well
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads leave the cores free
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._given = self._session.get_inputs()[0].name

    def __call__(self, values: Array) -> Array:
        """The output for an input of the shape that the model takes."""
        return np.asarray(self._session.run(None, {self._given: values})[0], np.float32)
