"""Where pictures and chunks of sound go as they are made, so that a long media is never held in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from features.records import AudioChunk, Frame


class Sink(Protocol):
    """Takes what a decode makes, each kind in order of time; the two kinds come mixed.

    What it has taken counts only when the decode ends well.
    """

    def add_frame(self, frame: Frame) -> None:
        """Take a picture; all of it is final."""

    def add_chunk(self, chunk: AudioChunk) -> None:
        """Take a chunk of sound; all of it is final."""


class Collected:
    """A sink that keeps all in lists."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.chunks: list[AudioChunk] = []

    def add_frame(self, frame: Frame) -> None:
        """Keep a picture."""
        self.frames.append(frame)

    def add_chunk(self, chunk: AudioChunk) -> None:
        """Keep a chunk of sound."""
        self.chunks.append(chunk)
