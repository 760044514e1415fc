"""Pictures and sound of a media, decoded once for all the extractors that read it, ahead of the models.

What cannot be decoded costs itself: it is told, and the readers go on with what comes after it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import TriptychError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future

    import numpy as np
    import numpy.typing as npt

    from features.records import AudioChunk, Frame, MediaRows

    Picture = npt.NDArray[np.uint8]
    Samples = npt.NDArray[np.float32]

AHEAD = 64
"""Rows that threads decode ahead of the models, where there are threads: some 20 MB of pictures."""


class Problem(NamedTuple):
    """An item that could not be used, at `[start_us, end_us)` of its media, and why."""

    start_us: int
    end_us: int
    error: Exception


class MediaReader:
    """Decodes the rows of one media for several readers that go through them in step.

    What is decoded is kept until each reader has had it, so readers that go in step hold one row each.

    Args:
        rows: The media.
        num_readers: Readers that will ask; each asks once.
        pool: Threads that decode ahead; None: decode when asked.
    """

    def __init__(self, rows: MediaRows, num_readers: int = 1, pool: Executor | None = None) -> None:
        self.problems: list[Problem] = []
        self._has_threads = pool is not None
        self._pictures = _Shared(num_readers, self._decode(rows.frames, _picture_of, _span_of_frame))
        self._sounds = _Shared(num_readers, self._decode(rows.audio, _samples_of, _span_of_chunk))
        self._ahead = _Ahead(pool, _picture_of if rows.frames else _samples_of, rows.frames or rows.audio)

    @property
    def num_ahead(self) -> int:
        """Rows that were given to the threads, and that nobody has had."""
        return self._ahead.num_waiting

    def pictures(self) -> Iterator[tuple[Frame, Picture]] | None:
        """Frames in order of time, each with its picture; None for one who asks too late or once too often."""
        return self._pictures.reader()

    def sounds(self) -> Iterator[tuple[AudioChunk, Samples]] | None:
        """Chunks in order of time, each with its samples; None for one who asks too late or once too often."""
        return self._sounds.reader()

    def settle(self) -> None:
        """Keep nothing for readers that have not asked until now."""
        self._pictures.settle()
        self._sounds.settle()

    def _decode(self, rows: Sequence[Any], decode: Callable[[Any], Any], span: Callable[[Any], tuple[int, int]]) -> Any:  # noqa: ANN401
        for row in rows:
            try:
                decoded = self._ahead.next() if self._has_threads else decode(row)
            except TriptychError as error:
                self.problems.append(Problem(*span(row), error))
                continue
            yield row, decoded


def pictures(rows: MediaRows) -> Iterator[tuple[Frame, Picture]]:
    """A media's frames in order of time, each with its picture: RGB, uint8, shape [height, width, 3].

    Extractors of one pass get the same array, decoded once: it is not to be written into. A picture that cannot be
    decoded is left out where the engine runs the extractor, which tells it; else it raises.

    Raises:
        DecodeError: A picture is damaged, and nobody listens.
    """
    shared = rows.reader.pictures() if rows.reader else None
    if shared is None:
        return ((frame, _picture_of(frame)) for frame in rows.frames)
    wanted = {frame.t_us for frame in rows.frames}
    return (pair for pair in shared if pair[0].t_us in wanted)


def sounds(rows: MediaRows) -> Iterator[tuple[AudioChunk, Samples]]:
    """A media's chunks of sound in order of time, each with its samples: float32 in [-1, 1], shape [num_samples].

    As `pictures` does, for sound.

    Raises:
        DecodeError: A chunk is damaged, and nobody listens.
    """
    shared = rows.reader.sounds() if rows.reader else None
    if shared is None:
        return ((chunk, _samples_of(chunk)) for chunk in rows.audio)
    wanted = {chunk.start_us for chunk in rows.audio}
    return (pair for pair in shared if pair[0].start_us in wanted)


def with_readers(medias: Iterable[MediaRows], num_readers: int, pool: Executor | None = None) -> Iterator[MediaRows]:
    """Media, each with its reader; threads begin with the next ones while there is room for what they decode."""
    waiting: deque[MediaRows] = deque()
    for rows in medias:
        reader = MediaReader(rows, num_readers, pool)
        waiting.append(replace(rows, reader=reader))
        while waiting and (pool is None or sum(one.reader.num_ahead for one in waiting if one.reader) >= AHEAD):
            yield waiting.popleft()
    yield from waiting


class _Shared:
    """One iterator for several readers; what the slowest has not had is kept."""

    def __init__(self, num_readers: int, source: Iterator[Any]) -> None:
        self._source = source
        self._free: list[deque[Any]] = [deque() for _ in range(num_readers)]
        self._read: list[deque[Any]] = []

    def reader(self) -> Iterator[Any] | None:
        """The next of the readers; None where all have asked."""
        if not self._free:
            return None
        queue = self._free.pop(0)
        self._read.append(queue)
        return self._rows(queue)

    def settle(self) -> None:
        """Keep nothing for those who have not asked."""
        self._free.clear()

    def _rows(self, queue: deque[Any]) -> Iterator[Any]:
        try:
            while queue or self._more():
                yield queue.popleft()
        finally:
            self._read = [other for other in self._read if other is not queue]

    def _more(self) -> bool:
        row = next(self._source, None)
        if row is None:
            return False
        for queue in (*self._read, *self._free):
            queue.append(row)
        return True


class _Ahead:
    """Results of threads in order, a bounded number of them under way."""

    def __init__(self, pool: Executor | None, decode: Callable[[Any], Any], rows: Sequence[Any]) -> None:
        self._rest = (pool.submit(decode, row) for row in rows) if pool is not None else iter(())
        self._waiting: deque[Future[Any]] = deque(islice(self._rest, AHEAD))

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    def next(self) -> Any:  # noqa: ANN401 - whatever they decode
        self._waiting.extend(islice(self._rest, 1))
        return self._waiting.popleft().result()


def _picture_of(frame: Frame) -> Picture:
    from features.media.pictures import decode_jpeg

    return decode_jpeg(frame.jpeg)


def _samples_of(chunk: AudioChunk) -> Samples:
    from features.media.sound import decode_flac

    return decode_flac(chunk)


def _span_of_frame(frame: Frame) -> tuple[int, int]:
    return frame.valid_start_us, frame.valid_end_us


def _span_of_chunk(chunk: AudioChunk) -> tuple[int, int]:
    return chunk.start_us, chunk.end_us
