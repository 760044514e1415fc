"""Runs one extractor over many media: batches across them, and keeps a failure to the media that has it."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from features.errors import ExtractionError
from features.records import FeatureRow, Utterance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from features.extractors.base import Extractor
    from features.records import MediaRows
    from features.spec import FeatureSpec

CoverageStatus = Literal["ok", "absent", "empty", "failed", "skipped"]
"""What an extractor found in a media; `skipped` (no consent) is for the caller, this module never says it."""


@dataclass(frozen=True, slots=True)
class Extracted:
    """All that an extractor made of one media.

    Attributes:
        media_id: The media.
        status: `ok` with rows; `absent`: no such track; `empty`: a track, but nothing in it; `failed`.
        rows: Rows by time; none unless `ok`.
        error: Name of the error's class, where it failed.
        message: The error's message, where it failed.
    """

    media_id: str
    status: CoverageStatus
    rows: tuple[FeatureRow, ...] | tuple[Utterance, ...] = ()
    error: str | None = None
    message: str | None = None


def extract_media(
    extractor: Extractor,
    model: Any,  # noqa: ANN401 - each extractor has its own model
    medias: Iterable[MediaRows],
    *,
    batch_size: int | None = None,
    on_progress: Callable[[], None] | None = None,
) -> Iterator[Extracted]:
    """Run an extractor over media, its model on batches of items that may come from several of them.

    At most `batch_size` items hold their payload at a time, and only media with an item among them are kept.
    A call of the model that raises is made again for each of its media alone, so that it costs only those that
    raise again. Rows do not depend on the size of a batch.

    Args:
        extractor: The extractor.
        model: What its `load` returned.
        medias: Media with the tables that it reads; read lazily, each once.
        batch_size: Items a call takes at most; the extractor's own where None.
        on_progress: Called after each call of the model, and after each media.

    Yields:
        One result a media, in the order of `medias`.
    """
    run = _Run(extractor, model, batch_size or extractor.batch_size, on_progress or _nothing)
    for rows in medias:
        run.add(rows)
        yield from run.done()
    run.flush()
    yield from run.done()


@dataclass(slots=True, eq=False)
class _Open:
    """A media on its way: what its items have yielded so far, or how it ended."""

    rows: MediaRows | None
    items: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    prepared: bool = False
    result: Extracted | None = None

    def end(self, result: Extracted) -> None:
        """Keep the result and let go of everything else."""
        self.result, self.rows, self.items, self.outputs = result, None, [], []


class _Run:
    """The state of one `extract_media`: media in order, and the batch that is being filled."""

    def __init__(self, extractor: Extractor, model: Any, batch_size: int, on_progress: Callable[[], None]) -> None:  # noqa: ANN401
        self._extractor = extractor
        self._model = model
        self._batch_size = batch_size
        self._on_progress = on_progress
        self._open: deque[_Open] = deque()
        self._batch: list[tuple[_Open, Any]] = []

    def add(self, rows: MediaRows) -> None:
        """Prepare a media's items, calling the model whenever a batch is full."""
        media = _Open(rows)
        self._open.append(media)
        if _is_absent(self._extractor.spec, rows):
            media.end(Extracted(rows.media_id, "absent"))
            return
        try:
            for item in self._extractor.prepare(rows):
                self._batch.append((media, item))
                if len(self._batch) >= self._batch_size:
                    self.flush()
                if media.result is not None:
                    return
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a media does to an extractor, it costs that media only
            self._fail(media, error)
            return
        media.prepared = True
        self._finish_if_whole(media)

    def flush(self) -> None:
        """Call the model on the batch so far, and finish the media that are whole by it."""
        batch, self._batch = self._batch, []
        if not batch:
            return
        if not self._call(batch, is_last_try=False):
            for _, group in groupby(batch, key=lambda pair: id(pair[0])):
                self._call(list(group), is_last_try=True)
        self._on_progress()
        for media in dict.fromkeys(media for media, _ in batch):
            self._finish_if_whole(media)

    def done(self) -> Iterator[Extracted]:
        """Results of the first media, as far as they have ended."""
        while self._open and (result := self._open[0].result) is not None:
            self._open.popleft()
            self._on_progress()
            yield result

    def _call(self, batch: Sequence[tuple[_Open, Any]], *, is_last_try: bool) -> bool:
        """Whether the model took the batch; a batch of one media that it does not take fails the media."""
        items = [item for _, item in batch]
        try:
            outputs = self._extractor(self._model, items)
            if len(outputs) != len(items):
                raise ExtractionError(_wrong_count(self._extractor.spec, len(items), len(outputs)))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - an extractor may be anyone's code
            if is_last_try or len({id(media) for media, _ in batch}) == 1:
                self._fail(batch[0][0], error)
                return True
            return False
        for (media, item), output in zip(batch, outputs, strict=True):
            media.items.append(self._extractor.slim(item))
            media.outputs.append(output)
        return True

    def _finish_if_whole(self, media: _Open) -> None:
        if media.result is not None or not media.prepared or any(other is media for other, _ in self._batch):
            return
        if media.rows is None:
            return
        try:
            found = self._extractor.finish(media.rows, media.items, media.outputs)
            rows = _checked(self._extractor.spec, found)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - an extractor may be anyone's code
            self._fail(media, error)
            return
        media.end(Extracted(media.rows.media_id, "ok" if rows else "empty", rows))

    def _fail(self, media: _Open, error: Exception) -> None:
        if media.rows is not None:
            media.end(Extracted(media.rows.media_id, "failed", error=type(error).__name__, message=str(error)))
        self._batch = [pair for pair in self._batch if pair[0] is not media]


def _is_absent(spec: FeatureSpec, rows: MediaRows) -> bool:
    """Whether the media lacks the track, as opposed to one with nothing in it."""
    match spec.inputs:
        case "frames":
            return not rows.has_video
        case "audio":
            return not rows.has_audio
        case "transcripts":
            return not (rows.utterances or rows.has_text or rows.has_audio)


def _checked(
    spec: FeatureSpec, rows: Iterable[FeatureRow | Utterance]
) -> tuple[FeatureRow, ...] | tuple[Utterance, ...]:
    """Rows that a table may hold.

    Raises:
        ExtractionError: A row is of the wrong kind or shape, holds NaN or infinity, or has no span.
    """
    if spec.output == "features":
        return tuple(_checked_feature(spec, row) for row in rows)
    return tuple(_checked_utterance(spec, row) for row in rows)


def _checked_feature(spec: FeatureSpec, row: FeatureRow | Utterance) -> FeatureRow:
    if not isinstance(row, FeatureRow):
        raise _wrong_row(spec, row, f"a {type(row).__name__} instead of a FeatureRow")
    size = math.prod(spec.shape)
    if len(row.values) != size:
        raise _wrong_row(spec, row, f"{len(row.values)} values instead of {size}")
    if not all(map(math.isfinite, row.values)):
        raise _wrong_row(spec, row, "NaN or infinity")
    _check_span(spec, row)
    return row


def _checked_utterance(spec: FeatureSpec, row: FeatureRow | Utterance) -> Utterance:
    if not isinstance(row, Utterance):
        raise _wrong_row(spec, row, f"a {type(row).__name__} instead of an Utterance")
    if not row.text.strip():
        raise _wrong_row(spec, row, "an utterance without text")
    _check_span(spec, row)
    return row


def _check_span(spec: FeatureSpec, row: FeatureRow | Utterance) -> None:
    if row.start_us >= row.end_us:
        raise _wrong_row(spec, row, "a row that does not end after it starts")


def _wrong_row(spec: FeatureSpec, row: FeatureRow | Utterance, what: str) -> ExtractionError:
    return ExtractionError(
        f"{spec.key!r} gave {what} at [{row.start_us}, {row.end_us}) µs; mend the extractor, or leave the media out"
    )


def _wrong_count(spec: FeatureSpec, num_items: int, num_outputs: int) -> str:
    return f"{spec.key!r} gave {num_outputs} outputs for {num_items} items; it must give one an item, in order"


def _nothing() -> None:
    """What to do where no one asked to be told."""
