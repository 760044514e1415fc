"""Light extractors for the extract job: they load at once and fail on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from features.errors import ExtractionError
from features.extractors.base import Extractor
from features.records import FeatureRow, Utterance
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from features.records import MediaRows


class Model:
    """Nothing to load; counts how often it is."""

    loaded = 0

    def __init__(self) -> None:
        type(self).loaded += 1


class Simple(Extractor):
    """One vector an item: the item's start in seconds and the size of its content."""

    def load(self, device: str) -> Model:
        del device
        return Model()

    def __call__(self, model: Any, items: Sequence[Any]) -> Sequence[Any]:
        assert isinstance(model, Model)
        return [np.array([start_us, size], np.float32) for start_us, _, size in items]

    def finish(self, rows: MediaRows, items: Sequence[Any], outputs: Sequence[Any]) -> Sequence[FeatureRow | Utterance]:
        del rows
        return [FeatureRow(item[0], item[1], output) for item, output in zip(items, outputs, strict=True)]


class Sizes(Simple):
    """Of pictures."""

    spec: ClassVar[FeatureSpec] = FeatureSpec("sizes", 1, "video", "frames", shape=(2,))

    def prepare(self, rows: MediaRows) -> Iterable[Any]:
        return [(frame.t_us, frame.t_us + 1, len(frame.jpeg)) for frame in rows.frames]


class Brittle(Sizes):
    """Fails on any media of three pictures, in a batch too."""

    spec: ClassVar[FeatureSpec] = FeatureSpec("brittle", 1, "video", "frames", shape=(2,))

    def __call__(self, model: Any, items: Sequence[Any]) -> Sequence[Any]:
        if any(start_us >= 2_000_000 for start_us, _, _ in items):
            message = "a third picture; send two"
            raise ExtractionError(message)
        return super().__call__(model, items)


class Fragile(Brittle):
    """Fails just so, under another name."""

    spec: ClassVar[FeatureSpec] = FeatureSpec("fragile", 1, "video", "frames", shape=(2,))


class Hearing(Simple):
    """A recogniser that hears one word a chunk of sound."""

    spec: ClassVar[FeatureSpec] = FeatureSpec("hearing", 1, "text", "audio", output="transcripts")

    def prepare(self, rows: MediaRows) -> Iterable[Any]:
        return [(chunk.start_us, chunk.end_us, len(chunk.flac)) for chunk in rows.audio]

    def finish(self, rows: MediaRows, items: Sequence[Any], outputs: Sequence[Any]) -> Sequence[FeatureRow | Utterance]:
        del rows, outputs
        return [Utterance(start_us, end_us, "hm", "asr:hearing") for start_us, end_us, _ in items]


class Deaf(Hearing):
    """A recogniser that hears nothing."""

    spec: ClassVar[FeatureSpec] = FeatureSpec("deaf", 1, "text", "audio", output="transcripts")

    def prepare(self, rows: MediaRows) -> Iterable[Any]:
        del rows
        return []


class Letters(Simple):
    """Of utterances."""

    spec: ClassVar[FeatureSpec] = FeatureSpec("letters", 1, "text", "transcripts", shape=(2,))

    def prepare(self, rows: MediaRows) -> Iterable[Any]:
        return [(line.start_us, line.end_us, len(line.text)) for line in rows.utterances]
