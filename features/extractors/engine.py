"""Runs extractors over many media: batches across them, and keeps a failure to the item or the media that has it."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from features.errors import TriptychError
from features.extractors.calls import ModelCaller
from features.extractors.checks import checked_rows
from features.extractors.shared import Problem, with_readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from features.extractors.base import Extractor
    from features.records import FeatureRow, MediaRows, Utterance
    from features.spec import FeatureSpec

CoverageStatus = Literal["ok", "partial", "absent", "empty", "failed", "skipped"]
"""What an extractor found in a media; `skipped` (no consent) is for the caller, this module never says it."""

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Extracted:
    """All that an extractor made of one media.

    Attributes:
        media_id: The media.
        status: `ok` with rows; `partial`: with rows, and some of its items failed; `absent`: no such track; `empty`: a
            track, but nothing in it; `failed`.
        rows: Rows by time; none unless `ok` or `partial`.
        error: Name of the first error's class, where something failed.
        message: What failed, where, and why.
    """

    media_id: str
    status: CoverageStatus
    rows: tuple[FeatureRow | Utterance, ...] = ()
    error: str | None = None
    message: str | None = None


class Loaded(NamedTuple):
    """An extractor with its model; `batch_size` 0: as the extractor states."""

    extractor: Extractor
    model: Any
    batch_size: int = 0


def extract_media(
    extractor: Extractor,
    model: Any,  # noqa: ANN401 - each extractor has its own model
    medias: Iterable[MediaRows],
    *,
    batch_size: int | None = None,
    on_progress: Callable[[], None] | None = None,
) -> Iterator[Extracted]:
    """Run one extractor over media: `extract_together` with one.

    Yields:
        One result a media, in the order of `medias`.
    """
    loaded = [Loaded(extractor, model, batch_size or 0)]
    for (result,) in extract_together(loaded, medias, on_progress=on_progress):
        yield result


def extract_together(
    loaded: Sequence[Loaded],
    medias: Iterable[MediaRows],
    *,
    threads: int = 0,
    on_progress: Callable[[], None] | None = None,
) -> Iterator[tuple[Extracted, ...]]:
    """Run extractors that read the same table over media, each model on batches that may come from several of them.

    Each picture or chunk of sound is decoded once for all of them. At most a batch of items an extractor holds its
    payload at a time, and only media with an item among them are kept. An item that cannot be decoded, that the model
    raises on, or whose row no table may hold costs itself. Rows do not depend on the size of a batch.

    Args:
        loaded: The extractors, whose specs' `inputs` are the same.
        medias: Media with the table that they read; read lazily, each once.
        threads: Threads that decode ahead of the models; 0: decode in between.
        on_progress: Called after each call of a model, and after each media.

    Yields:
        One result an extractor, in their order, for each media in the order of `medias`.
    """
    lanes = [_Lane(one, on_progress or _nothing) for one in loaded]
    with ExitStack() as stack:
        pool = _pool(threads, stack)
        for rows in with_readers(medias, len(lanes), pool):
            _go_through(rows, lanes)
            yield from _whole(lanes)
        for lane in lanes:
            lane.flush()
        yield from _whole(lanes)


def _go_through(rows: MediaRows, lanes: Sequence[_Lane]) -> None:
    """Take a media's items, an item of each extractor after the other, so that none waits long for what it shares."""
    steps = [lane.steps(rows) for lane in lanes]
    while steps:
        steps = [step for step in steps if next(step, None)]
        if rows.reader is not None:
            rows.reader.settle()


def _whole(lanes: Sequence[_Lane]) -> Iterator[tuple[Extracted, ...]]:
    while all(lane.has_result() for lane in lanes):
        yield tuple(lane.take() for lane in lanes)


@dataclass(slots=True, eq=False)
class _Open:
    """A media on its way: what its items have yielded so far, or how it ended."""

    rows: MediaRows
    items: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    num_waiting: int = 0
    prepared: bool = False
    result: Extracted | None = None

    def end(self, result: Extracted) -> None:
        """Keep the result, and let go of all that it was made of."""
        self.result, self.items, self.outputs = result, [], []
        self.rows = replace(self.rows, frames=(), audio=(), utterances=(), reader=None)


class _Lane:
    """One extractor: media in order, and the batch that is being filled."""

    def __init__(self, loaded: Loaded, on_progress: Callable[[], None]) -> None:
        self._extractor = loaded.extractor
        self._call = ModelCaller(loaded.extractor, loaded.model, loaded.batch_size or loaded.extractor.batch_size)
        self._on_progress = on_progress
        self._open: deque[_Open] = deque()
        self._batch: list[tuple[_Open, Any]] = []

    def steps(self, rows: MediaRows) -> Iterator[bool]:
        """Prepare a media, an item a step, calling the model whenever a batch is full."""
        media = _Open(rows)
        self._open.append(media)
        if _is_absent(self._extractor.spec, rows):
            media.end(Extracted(rows.media_id, "absent"))
            return
        try:
            for item in self._extractor.prepare(rows):
                media.num_waiting += 1
                self._batch.append((media, item))
                if len(self._batch) >= self._call.batch_size:
                    self.flush()
                yield True
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
        for (media, item), output in zip(batch, self._call([item for _, item in batch]), strict=True):
            media.num_waiting -= 1
            kept = self._extractor.slim(item)
            if isinstance(output, Exception):
                media.problems.append(Problem(*_span_of(kept), output))
            else:
                media.items.append(kept)
                media.outputs.append(output)
        self._on_progress()
        for media in dict.fromkeys(media for media, _ in batch):
            self._finish_if_whole(media)

    def has_result(self) -> bool:
        """Whether the first of its media has ended."""
        return bool(self._open) and self._open[0].result is not None

    def take(self) -> Extracted:
        """The result of its first media."""
        media = self._open.popleft()
        self._on_progress()
        return media.result or Extracted(media.rows.media_id, "empty")

    def _finish_if_whole(self, media: _Open) -> None:
        if media.result is not None or not media.prepared or media.num_waiting:
            return
        try:
            found = self._extractor.finish(media.rows, media.items, media.outputs)
            rows, bad = checked_rows(self._extractor.spec, found)
        except Exception as error:  # noqa: BLE001 - an extractor may be anyone's code
            self._fail(media, error)
            return
        read = media.rows.reader.problems if media.rows.reader else []
        problems = sorted([*read, *media.problems, *bad], key=lambda problem: problem[:2])
        self._end(media, tuple(rows), problems)

    def _end(self, media: _Open, rows: tuple[FeatureRow | Utterance, ...], problems: Sequence[Problem]) -> None:
        media_id = media.rows.media_id
        if problems:
            first = problems[0].error
            message = self._message(rows, problems)
            status: CoverageStatus = "partial" if rows else "failed"
            media.end(Extracted(media_id, status, rows, type(first).__name__, message))
        else:
            media.end(Extracted(media_id, "ok" if rows else "empty", rows))

    def _message(self, rows: Sequence[object], problems: Sequence[Problem]) -> str:
        told = [_place(problem) + self._told(problem.error) for problem in problems[:_SHOWN]]
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        total = len(rows) + len(problems)
        return f"{len(problems)} of {total} {self._extractor.spec.inputs} failed: {'; '.join(told)}{more}"

    def _fail(self, media: _Open, error: Exception) -> None:
        media.end(Extracted(media.rows.media_id, "failed", error=type(error).__name__, message=self._told(error)))
        self._batch = [pair for pair in self._batch if pair[0] is not media]

    def _told(self, error: Exception) -> str:
        """An error's message; of one that an extractor of another package did not mean, the package too."""
        text = str(error) or type(error).__name__
        if isinstance(error, TriptychError):
            return text
        from features.extractors.registry import package_of

        package = package_of(self._extractor)
        whose = f" (in the extractor {self._extractor.spec.name!r} of the package {package!r})"
        return text + whose if package else text


def _pool(threads: int, stack: ExitStack) -> Any:  # noqa: ANN401 - an executor or None
    if not threads:
        return None
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(threads, thread_name_prefix="triptych-decode")
    stack.callback(pool.shutdown, wait=True, cancel_futures=True)
    return pool


def _is_absent(spec: FeatureSpec, rows: MediaRows) -> bool:
    """Whether the media lacks the track, as opposed to one with nothing in it."""
    match spec.inputs:
        case "frames":
            return not rows.has_video
        case "audio":
            return not rows.has_audio
        case "transcripts":
            return not (rows.utterances or rows.has_text or rows.has_audio)


def _place(problem: Problem) -> str:
    return f"[{problem.start_us}, {problem.end_us}) µs: " if problem.end_us > problem.start_us else ""


def _span_of(item: Any) -> tuple[int, int]:  # noqa: ANN401 - an extractor's item
    """Where an item lies, as far as it says so."""
    return int(getattr(item, "start_us", 0)), int(getattr(item, "end_us", 0))


def _nothing() -> None:
    """What to do where no one asked to be told."""
