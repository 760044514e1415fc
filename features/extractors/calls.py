"""Calls of a model: what one item does to it costs that item, and memory that runs out halves the batch."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from features.errors import ExtractionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.extractors.base import Extractor

_LOG = logging.getLogger("triptych.extract")


class ModelCaller:
    """Calls an extractor's model on batches of items.

    Args:
        extractor: The extractor.
        model: What its `load` returned.
        batch_size: Items a call takes at most, to begin with.

    Attributes:
        batch_size: Items a call takes at most; halved whenever memory ran out.
    """

    def __init__(self, extractor: Extractor, model: Any, batch_size: int) -> None:  # noqa: ANN401
        self._extractor = extractor
        self._model = model
        self.batch_size = batch_size

    def __call__(self, items: Sequence[Any]) -> list[Any]:
        """One output an item, in order; an exception in its place where the item was not taken.

        A batch that raises is halved until the items that raise stand alone.
        """
        outputs: list[Any] = []
        while len(outputs) < len(items):
            outputs += self._batch(items[len(outputs) : len(outputs) + self.batch_size])
        return outputs

    def _batch(self, items: Sequence[Any]) -> list[Any]:
        try:
            outputs = list(self._extractor(self._model, items))
            self._check_count(items, outputs)
        except Exception as error:  # noqa: BLE001 - an extractor may be anyone's code
            return self._in_halves(items, error)
        return outputs

    def _in_halves(self, items: Sequence[Any], error: Exception) -> list[Any]:
        lacks_memory = is_out_of_memory(error)
        if len(items) == 1:
            return [self._too_large(error) if lacks_memory else error]
        half = len(items) // 2
        if lacks_memory:
            _give_memory_back()
            self.batch_size = min(self.batch_size, half)
            _LOG.warning(
                "%s: out of memory with a batch of %d, going on with %d", self._extractor.spec.key, len(items), half
            )
            return self(items)
        return self._batch(items[:half]) + self._batch(items[half:])

    def _check_count(self, items: Sequence[Any], outputs: Sequence[Any]) -> None:
        if len(outputs) != len(items):
            message = (
                f"{self._extractor.spec.key!r} gave {len(outputs)} outputs for {len(items)} items; "
                "it must give one an item, in order"
            )
            raise ExtractionError(message)

    def _too_large(self, error: Exception) -> ExtractionError:
        reason = f" ({error})" if str(error) else ""
        message = f"one item of {self._extractor.spec.key!r} takes more memory than there is{reason}; use --device cpu"
        return ExtractionError(message)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: Python's, torch's, ONNX Runtime's."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    is_runtime = isinstance(error, RuntimeError) or type(error).__module__.startswith("onnxruntime")  # no RuntimeErrors
    text = str(error).lower()
    return is_runtime and ("out of memory" in text or "allocate memory" in text)


def _give_memory_back() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
