"""Media of known content for the extractors' tests, and extractors that fail on demand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from features.extractors.base import Extractor
from features.extractors.engine import extract_media
from features.extractors.rows import feature_rows
from features.identity import MICROSECONDS, Span
from features.media.pictures import encode_jpeg
from features.media.sound import ChunkWriter
from features.records import AudioChunk, FeatureRow, Frame, MediaRows, Utterance
from features.spec import FeatureSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from features.extractors.engine import Extracted

    Samples = npt.NDArray[np.float32]

RATE_HZ = 16_000


def sine(seconds: float, hertz: float = 440.0, amplitude: float = 0.3) -> Samples:
    """A steady tone."""
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return (amplitude * np.sin(2 * math.pi * hertz * times)).astype(np.float32)


def chunks_of(samples: Samples, *, start_us: int = 0, chunk_seconds: float = 10.0) -> tuple[AudioChunk, ...]:
    """Sound as the store keeps it."""
    writer = ChunkWriter(start_us, rate_hz=RATE_HZ, chunk_us=round(chunk_seconds * MICROSECONDS))
    writer.write(np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16))
    return writer.finish()


def picture(seed: int, height: int = 360, width: int = 480) -> npt.NDArray[np.uint8]:
    """A picture of random patches."""
    patches = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    rows, columns = np.arange(height) * 9 // height, np.arange(width) * 12 // width
    return np.ascontiguousarray(patches[rows][:, columns])


def frames_of(pictures: Iterable[npt.NDArray[np.uint8]]) -> tuple[Frame, ...]:
    """Pictures as frames, one a second."""
    return tuple(
        Frame(
            t_us=index * MICROSECONDS,
            duration_us=40_000,
            valid_start_us=index * MICROSECONDS,
            valid_end_us=(index + 1) * MICROSECONDS,
            jpeg=encode_jpeg(rgb),
            width=rgb.shape[1],
            height=rgb.shape[0],
        )
        for index, rgb in enumerate(pictures)
    )


def utterances_of(*texts: str) -> tuple[Utterance, ...]:
    """Texts as utterances, one a second."""
    return tuple(
        Utterance(index * MICROSECONDS, (index + 1) * MICROSECONDS, text, "subtitle")
        for index, text in enumerate(texts)
    )


def media(
    media_id: str = "a",
    *,
    frames: tuple[Frame, ...] = (),
    audio: tuple[AudioChunk, ...] = (),
    utterances: tuple[Utterance, ...] = (),
    has: str = "",
) -> MediaRows:
    """A media that has the tracks whose rows are given, and those named in `has`."""
    return MediaRows(
        media_id=media_id,
        duration_us=10 * MICROSECONDS,
        has_video=bool(frames) or "video" in has,
        has_audio=bool(audio) or "audio" in has,
        has_text=bool(utterances) or "text" in has,
        frames=frames,
        audio=audio,
        utterances=utterances,
    )


def run(
    extractor: Extractor, medias: Iterable[MediaRows], *, model: Any = None, batch_size: int | None = None
) -> list[Extracted]:
    """All results of an extractor."""
    return list(extract_media(extractor, model, medias, batch_size=batch_size))


class Lengths(Extractor):
    """The length of each utterance, twice; words make it fail in ways that are named after them."""

    spec = FeatureSpec("lengths", 1, "text", "transcripts", shape=(2,))
    batch_size: ClassVar[int] = 3

    def __init__(self, memory_items: int = 64) -> None:
        self.batches: list[int] = []
        self._memory_items = memory_items

    def load(self, device: str) -> None:
        """No model."""

    def prepare(self, rows: MediaRows) -> Iterable[Utterance]:
        for utterance in rows.utterances:
            if utterance.text == "unreadable":
                raise ValueError(utterance.text)
            yield utterance

    def __call__(self, model: None, items: Sequence[Utterance]) -> Sequence[Samples]:
        self.batches.append(len(items))
        if len(items) > self._memory_items:
            raise MemoryError
        texts = [item.text for item in items]
        if "explosive" in texts:
            raise RuntimeError("explosive")
        if "huge" in texts:
            raise MemoryError
        outputs = [np.full(3 if text == "long" else 2, len(text), np.float32) for text in texts]
        for text, output in zip(texts, outputs, strict=True):
            if text in {"nan", "inf"}:
                output[1] = float(text)
            if text == "nothing":
                output[:] = 0
        return outputs[:-1] if "lost" in texts else outputs

    def slim(self, item: Utterance) -> Span:
        return Span(item.start_us, item.end_us)

    def finish(self, rows: MediaRows, items: Sequence[Span], outputs: Sequence[Samples]) -> Sequence[FeatureRow]:
        assert rows.media_id != "unfinishable"
        return feature_rows(items, outputs)
