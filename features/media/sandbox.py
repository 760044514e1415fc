"""Decoding in a child process with limits, so that a codec that crashes, hangs or fills memory costs one media.

One child decodes media after media; what ends it, ends one media, and the next gets a fresh child. It is in the
process group of its parent and dies with it.
"""

from __future__ import annotations

import atexit
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features import errors
from features.errors import DecodeError, DecoderCrashError, DecoderMemoryError, DecoderTimeoutError, TriptychError
from features.media import protocol
from features.media.child_process import OUTSIDE_SIGNALS, ChildEnded, ChildProcess
from features.media.limits import Course, Limits
from features.media.protocol import Outcome, Request
from features.media.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from features.media.options import DecodeOptions
    from features.media.parts import Part
    from features.samples.record import Sample

_START_SECONDS = 300
_MEDIA_A_CHILD = 500
_GROWN_SHARE = 0.25
_TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Decoded:
    """A media that was decoded, and the spool with its rows; to be closed."""

    outcome: Outcome
    spool: Spool

    def rows(self, table: str) -> Iterator[pa.Table]:
        """Rows of a table, a few megabytes at a time."""
        return self.spool.rows(table)

    def close(self) -> None:
        """Give the spool's room back."""
        self.spool.close()


class LongMedia(Exception):
    """A media is so long that it is to be split; nothing was decoded."""

    def __init__(self, duration_us: int) -> None:
        super().__init__(duration_us)
        self.duration_us = duration_us


class Sandbox:
    """Owns one child, started when it is needed; to be closed.

    Args:
        command: What starts a child; its arguments are added.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._command = command
        self._child: ChildProcess | None = None
        self._num_media = 0

    @property
    def pid(self) -> int | None:
        """Process id of the child, if there is one."""
        return self._child.pid if self._child else None

    def warm_up(self) -> None:
        """Start the child now, without waiting for it."""
        if self._child is None:
            self._child, self._num_media = ChildProcess(self._command), 0

    def decode(
        self,
        path: Path,
        options: DecodeOptions,
        *,
        media_id: str,
        folder: Path,
        tables: Sequence[str],
        sidecars: Sequence[Path] = (),
        limits: Limits | None = None,
        on_progress: Callable[[], None] | None = None,
        span_us: int = 0,
        part: Part | None = None,
        sample: Sample | None = None,
        text: tuple[str, str | None] | None = None,
    ) -> Decoded:
        """Rows of a media and of the text beside it.

        Args:
            path: A local media file; with `sample`, what to call it.
            options: What to take from it.
            media_id: Goes into the rows.
            folder: Folder on the disk that has room for the rows.
            tables: Tables whose rows are wanted.
            sidecars: Text files beside the media.
            limits: What it may take.
            on_progress: Called about once a second: the child is alive, or its limits are being watched.
            span_us: Do not decode what is twice as long and can be split; 0: whatever its length.
            part: The part to decode; None: all.
            sample: The loose sample to decode; None: the file is a media.
            text: A transcript of the media that stands in no file, and its language.

        Raises:
            LongMedia: It is to be split.
            DecoderCrashError, DecoderMemoryError, DecoderTimeoutError: The child died of the media, or was ended.
            MediaError: As `decode_media`; or its rows take too much room.
            StoreError: The folder is full or may not be written.
            SandboxError: No child can be started.
        """
        limits = limits or Limits()
        request = Request.of(
            str(path.absolute()),
            media_id,
            options,
            sidecars=tuple(map(str, sidecars)),
            tables=tuple(tables),
            folder=str(folder),
            memory_bytes=limits.memory_bytes,
            output_bytes=limits.output_bytes,
            span_us=span_us,
            part=None if part is None else tuple(part),
            sample=None if sample is None else tuple(sample._replace(subject_ids=(), recorded_at=None)),
            text=text,
        )
        spool = Spool(folder, tables)
        try:
            outcome = self._decode(request, spool, limits, on_progress or _ignore)
            self._check(spool, request, outcome)
        except BaseException:
            spool.close()
            raise
        return Decoded(outcome, spool)

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def _check(self, spool: Spool, request: Request, outcome: Outcome) -> None:
        """Look at all that came: a codec that writes where it must not may spoil rows without a crash."""
        problem = spool.problem(outcome.num_rows)
        if problem:
            self.close()
            message = f"decoding {request.path!r} left damaged rows ({problem}); re-encode it or leave it out"
            raise DecoderCrashError(message)

    def _decode(self, request: Request, spool: Spool, limits: Limits, tick: Callable[[], None]) -> Outcome:
        """Let a child decode; where somebody else killed it, a second one."""
        for is_last in (False, True):
            child = self._ready(tick)
            course = Course.begin(request, limits)
            try:
                return self._follow(child, course, spool, tick)
            except ChildEnded as ended:
                self.close()
                if is_last or ended.signal not in OUTSIDE_SIGNALS:
                    raise _crash(course, ended) from ended
            except (TriptychError, LongMedia):  # of the media; the child goes on to the next
                raise
            except BaseException:
                self.close()
                raise
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _ready(self, tick: Callable[[], None]) -> ChildProcess:
        self.warm_up()
        child = self._child
        assert child is not None  # noqa: S101 - warm_up has started one
        try:
            child.wait_ready(_START_SECONDS, tick)
        except BaseException:
            self.close()
            raise
        return child

    def _follow(self, child: ChildProcess, course: Course, spool: Spool, tick: Callable[[], None]) -> Outcome:
        """Send a request and follow what the child says, to its result."""
        child.send(course.request, spool.descriptors)
        while True:
            tick()
            for kind, body in child.hear(_tick_seconds(course.limits)):
                course.lives()
                if kind == protocol.FACTS:
                    course.open(*body)
                elif kind == protocol.DONE:
                    outcome, grown_bytes = body
                    self._recycle(grown_bytes, course.limits)
                    return protocol.outcome_of(outcome)
                elif kind == protocol.LONG:
                    raise LongMedia(int(body))
                elif kind == protocol.FAILED:
                    name, message, is_unsure = body
                    if is_unsure:
                        self.close()
                    raise _raised(name, message)
            reason = course.overdue()
            if reason:
                words = child.abort()
                self.close()
                raise DecoderTimeoutError(_timed_out(course, reason, words))

    def _recycle(self, grown_bytes: int, limits: Limits) -> None:
        self._num_media += 1
        if self._num_media >= _MEDIA_A_CHILD or grown_bytes > _GROWN_SHARE * limits.memory_bytes:
            self.close()


_IDLE: list[Sandbox] = []
COMMAND: Sequence[str] | None = None
"""What starts the children of `borrow_sandbox`; None: the child of this package."""


@contextmanager
def borrow_sandbox() -> Iterator[Sandbox]:
    """A sandbox of this process, kept for the next one: a thread that borrows while others do gets one of its own."""
    sandbox = _IDLE.pop() if _IDLE else Sandbox(COMMAND)
    try:
        yield sandbox
    finally:
        _IDLE.append(sandbox)


def close_sandboxes() -> None:
    """End the children that wait for the next media."""
    while _IDLE:
        _IDLE.pop().close()


atexit.register(close_sandboxes)
os.register_at_fork(after_in_child=_IDLE.clear)  # they are the parent's


def _raised(name: str, message: str) -> TriptychError:
    kind = getattr(errors, name, None)
    is_ours = isinstance(kind, type) and issubclass(kind, TriptychError)
    return (kind if is_ours else DecodeError)(message)  # type: ignore[misc]


def _crash(course: Course, ended: ChildEnded) -> DecodeError:
    reason = course.because(ended.how, ended.words)
    if "bad_alloc" in ended.words:
        return DecoderMemoryError(
            f"decoding {course.request.path!r} ran out of memory ({reason}); leave it out, or allow more with "
            "--decode-memory-megabytes"
        )
    return DecoderCrashError(
        f"decoding {course.request.path!r} crashed ({reason}); re-encode it or leave it out of the sources"
    )


def _timed_out(course: Course, reason: str, words: str) -> str:
    return (
        f"decoding {course.request.path!r} was ended ({course.because(reason, words)}); re-encode it or leave it out, "
        "or allow more with --decode-stall-seconds"
    )


def _tick_seconds(limits: Limits) -> float:
    return min(_TICK_SECONDS, limits.stall_seconds / 4)


def _ignore() -> None:
    """Tell nobody."""
