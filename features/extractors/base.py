"""The contract of an extractor: a spec, a model that loads once, and pure functions over a media's rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from features.extractors.device import is_gpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.records import FeatureRow, MediaRows, Utterance
    from features.spec import FeatureSpec


class Extractor(ABC):
    """Turns a media's rows into feature vectors or utterances. It knows no tables and keeps no state.

    Attributes:
        spec: What the output is.
        batch_size: Items a call of the model takes at most, across media.
        gpu_batch_size: The same on a GPU.
        runs_on_gpu: Whether the model uses a GPU where there is one; its calls go through `__call__` of the model alone
            then, so that processes can share it.
        takes: What stands after a colon in its name, in words; the constructor gets it. Empty: the name says it all.
    """

    spec: FeatureSpec
    batch_size: int = 32
    gpu_batch_size: int = 256
    runs_on_gpu: bool = False
    takes: ClassVar[str] = ""

    def batch_size_on(self, device: str) -> int:
        """Items a call of the model takes at most on a device, as of `pick_device`."""
        return self.gpu_batch_size if self.runs_on_gpu and is_gpu(device) else self.batch_size

    @abstractmethod
    def load(self, device: str) -> Any:  # noqa: ANN401 - each extractor has its own model
        """Load the model once a worker process.

        Args:
            device: `cpu`, `cuda`, `cuda:<n>`, or `auto` (a GPU where there is one).

        Returns:
            A ready model, weak-referenceable (a class instance, never a tuple or a list).

        Raises:
            ExtractionError: Weights are missing; the message names the package or path to get.
        """

    @abstractmethod
    def prepare(self, rows: MediaRows) -> Iterable[Any]:
        """A media's inputs in order of time, made lazily: a picture, an audio window, an utterance.

        Pictures and sound come from `features.extractors.shared` (`pictures`, `sounds`) or from `sound_windows`, which
        decode once for all extractors of a pass and pass over what is damaged. An item says where it lies by
        `start_us` and `end_us`.

        Nothing when the media has nothing for this extractor.
        """

    @abstractmethod
    def __call__(self, model: Any, items: Sequence[Any]) -> Sequence[Any]:  # noqa: ANN401
        """Outputs for a batch of items, which may come from several media; one output an item, in order."""

    @abstractmethod
    def finish(self, rows: MediaRows, items: Sequence[Any], outputs: Sequence[Any]) -> Sequence[FeatureRow | Utterance]:
        """Join one media's outputs to rows on its timeline, in order of time.

        `items` are what `prepare` gave, where an item may have been stripped of its payload by `slim`.
        """

    def slim(self, item: Any) -> Any:  # noqa: ANN401
        """What `finish` needs of an item once the model has seen it; drop pictures and samples here."""
        return item
