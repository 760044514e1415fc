"""Extractors that leave out what the quality columns say holds nothing: black pictures, silent sound.

What they leave out is part of what they are: `efficientnet_lite0+nonblack` fills the table of features
`efficientnet_lite0_nonblack`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from features.errors import ConfigError
from features.extractors.base import Extractor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from features.records import AudioChunk, FeatureRow, Frame, MediaRows, Utterance

SILENT_SHARE = 0.99
"""Share of a chunk's time that is silent from which the chunk is left out."""


class _Cleaned(Extractor):
    """Another extractor over part of a media's rows."""

    suffix: ClassVar[str]
    inputs: ClassVar[str]
    left_out: ClassVar[str]

    def __init__(self, inner: Extractor) -> None:
        if inner.spec.inputs != self.inputs:
            message = f"{inner.spec.name!r} reads {inner.spec.inputs}, so {self.suffix!r} means nothing; leave it out"
            raise ConfigError(message)
        self._inner = inner
        self.spec = replace(
            inner.spec,
            name=f"{inner.spec.name}_{self.suffix.removeprefix('+')}",
            made_by=f"{inner.spec.maker}{self.suffix}",
            parameters=(*inner.spec.parameters, ("left_out", self.left_out)),
        )
        self.batch_size = inner.batch_size
        self.gpu_batch_size = inner.gpu_batch_size
        self.runs_on_gpu = inner.runs_on_gpu

    def load(self, device: str) -> Any:  # noqa: ANN401 - each extractor has its own model
        """The other's model."""
        return self._inner.load(device)

    def prepare(self, rows: MediaRows) -> Iterable[Any]:
        """The other's items, of what is left."""
        return self._inner.prepare(self.kept(rows))

    @abstractmethod
    def kept(self, rows: MediaRows) -> MediaRows:
        """A media without what is left out; what was never measured is kept."""

    def __call__(self, model: Any, items: Sequence[Any]) -> Sequence[Any]:  # noqa: ANN401
        """The other's outputs."""
        return self._inner(model, items)

    def finish(self, rows: MediaRows, items: Sequence[Any], outputs: Sequence[Any]) -> Sequence[FeatureRow | Utterance]:
        """The other's rows."""
        return self._inner.finish(self.kept(rows), items, outputs)

    def slim(self, item: Any) -> Any:  # noqa: ANN401
        """As the other does."""
        return self._inner.slim(item)


class NonBlack(_Cleaned):
    """An extractor of pictures over those that are not black."""

    suffix = "+nonblack"
    inputs = "frames"
    left_out = "black pictures"

    def kept(self, rows: MediaRows) -> MediaRows:
        """A media without its black pictures."""
        return replace(rows, frames=tuple(frame for frame in rows.frames if not _is_black(frame)))


class NonSilent(_Cleaned):
    """An extractor of sound over chunks that are not silent."""

    suffix = "+nonsilent"
    inputs = "audio"
    left_out = f"chunks of which {SILENT_SHARE:.0%} are silent"

    def kept(self, rows: MediaRows) -> MediaRows:
        """A media without its silent chunks."""
        return replace(rows, audio=tuple(chunk for chunk in rows.audio if not _is_silent(chunk)))


CLEANED: Mapping[str, type[_Cleaned]] = {kind.suffix: kind for kind in (NonBlack, NonSilent)}
"""Extractors that leave something out, by what stands after the name of the other."""


def _is_black(frame: Frame) -> bool:
    from features.media.quality import is_black

    return frame.quality is not None and is_black(frame.quality)


def _is_silent(chunk: AudioChunk) -> bool:
    return chunk.quality is not None and chunk.quality.silence_share >= SILENT_SHARE
