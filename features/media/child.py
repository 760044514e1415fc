"""The child process of the sandbox: `python -m features.media.child`, started by `features.media.sandbox`.

It takes one media after the other, decodes it under a limit of memory, and writes its rows into the spool that came
with the request. It dies with its parent.
"""

from __future__ import annotations

import ctypes
import errno
import faulthandler
import gc
import os
import resource
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import av.logging
import cv2

from features.errors import DecodeError, DecoderMemoryError, TriptychError
from features.media import protocol
from features.media.decode import decode_media, end_of, with_text
from features.media.decode_part import can_be_split, decode_part
from features.media.options import DecodeOptions
from features.media.parts import Part
from features.media.probe import describe_streams, open_media
from features.media.spool import SpoolWriter
from features.media.words import words_over
from features.records import Missed
from features.samples.record import Sample
from features.store.rows import motion_rows, shot_rows, transcript_rows
from features.transcripts.sidecars import read_sidecars

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from features.media.protocol import Request
    from features.records import DecodedMedia

_BEAT_SECONDS = 0.5
_MAX_FILES = 16
_NEAR_BYTES = 64 << 20
_PR_SET_PDEATHSIG = 1


def main(arguments: Sequence[str]) -> int:
    """Serve requests until there are no more.

    Args:
        arguments: The parent's process id, and the descriptor of the socket that requests come through.
    """
    parent_pid, descriptor = map(int, arguments)
    _die_with(parent_pid)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and decides
    faulthandler.enable()
    gc.freeze()  # what was imported stays: a look for garbage, which frames need, passes over it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    av.logging.restore_default_callback()  # FFmpeg's errors go to standard error: the last words of a crash
    av.logging.set_libav_level(16)
    with socket.socket(fileno=descriptor) as requests, _replies() as replies:
        child = _Child(replies)
        for request, files in _requests(requests):
            child.serve(request, files)
            for file in files:
                os.close(file)
    return 0


def _die_with(parent_pid: int) -> None:
    """Let the kernel kill this process with its parent, also while it hangs."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it died before
        os._exit(1)


def _replies() -> BinaryIO:
    """What was standard output; whatever else is printed goes to standard error."""
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return replies


def _requests(requests: socket.socket) -> Iterator[tuple[Request, list[int]]]:
    """Requests, each with the files of its spool."""
    with requests.makefile("rb") as lines:
        while True:
            mark, files, _, _ = socket.recv_fds(requests, 1, _MAX_FILES)
            if not mark:
                return
            yield protocol.request_of(protocol.from_line(lines.readline())[1]), files


class _Child:
    """What lasts from one media to the next."""

    def __init__(self, replies: BinaryIO) -> None:
        self._replies = replies
        self._base = _memory()
        self._last_beat = 0.0
        self._reply(protocol.READY)

    def serve(self, request: Request, files: Sequence[int]) -> None:
        """Decode one media and tell what it came to."""
        self._limit(request.memory_bytes)
        try:
            outcome = self._outcome(request, files)
        except Exception as error:  # noqa: BLE001 - any of them costs this media alone
            self._limit(None)
            told = _told(error, request)
            self._reply(protocol.FAILED, [type(told).__name__, str(told), not isinstance(error, TriptychError)])
            return
        self._limit(None)
        if isinstance(outcome, int):
            self._reply(protocol.LONG, outcome)
        else:
            self._reply(protocol.DONE, [outcome, _memory().resident_bytes - self._base.resident_bytes])

    def _outcome(self, request: Request, files: Sequence[int]) -> object:
        """What a media came to; of one that is to be split first, its length in microseconds."""
        path, options = Path(request.path), DecodeOptions(**request.options)
        if request.sample is not None:
            return self._of_sample(Sample(*request.sample), options, request, files)
        length_us = self._tell_facts(path, options)
        if request.span_us and length_us >= 2 * request.span_us:
            return length_us
        spool = SpoolWriter(dict(zip(request.tables, files, strict=True)), request)
        before, facts = _memory(), None
        try:
            if request.part is None:
                decoded = decode_media(path, options, on_progress=self._beat, sink=spool)
            else:
                part = Part(*request.part)
                decoded, facts = decode_part(path, options, part, on_progress=self._beat, sink=spool)
        finally:
            self._check_peak(before, request.memory_bytes)
        sidecars = [Path(sidecar) for sidecar in request.sidecars]
        said, problems = read_sidecars(sidecars, media=path, end_us=end_of(decoded))
        if request.text is not None:
            words, language = request.text
            said += words_over(words, max(end_of(decoded) or 0, 1), name=request.path, language=language)
        decoded = with_text(decoded, said)
        _write_small(spool, request, decoded)
        bad = tuple(Missed(str(sidecar), type(error).__name__, str(error)) for sidecar, error in problems)
        return protocol.outcome_to_json(decoded, bad, spool.finish(), facts)

    def _of_sample(self, sample: Sample, options: DecodeOptions, request: Request, files: Sequence[int]) -> object:
        """What a loose sample came to."""
        from features.samples.decode import decode_sample  # with what reads images, which videos do not need

        self._reply(protocol.FACTS, [f"a sample of {', '.join(map(repr, sample.files)) or 'a text'}", 0])
        spool = SpoolWriter(dict(zip(request.tables, files, strict=True)), request)
        before = _memory()
        try:
            decoded, bad = decode_sample(sample, options, name=request.path, sink=spool, on_progress=self._beat)
        finally:
            self._check_peak(before, request.memory_bytes)
        _write_small(spool, request, decoded)
        return protocol.outcome_to_json(decoded, bad, spool.finish())

    def _check_peak(self, before: _Memory, memory_bytes: int) -> None:
        """Refuse a media that came near the limit: FFmpeg takes a refused allocation for damage, and drops a frame."""
        peak_bytes = _memory().peak_bytes
        near_bytes = self._base.address_bytes + memory_bytes - max(memory_bytes // 8, _NEAR_BYTES)
        if peak_bytes > max(before.peak_bytes, near_bytes):
            raise MemoryError

    def _tell_facts(self, path: Path, options: DecodeOptions) -> int:
        """Tell what the container says; length of a media that can be split, else 0."""
        with open_media(path) as container:
            facts = f"{container.format.name}: {describe_streams(container)}"
            duration_us = container.duration or 0
            self._reply(protocol.FACTS, [facts, duration_us])
            return duration_us if can_be_split(container, options) else 0

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._last_beat >= _BEAT_SECONDS:
            self._last_beat = now
            self._reply(protocol.BEAT)

    def _reply(self, kind: str, body: object = None) -> None:
        self._replies.write(protocol.to_line(kind, body))

    def _limit(self, memory_bytes: int | None) -> None:
        """Bound the address space to so much beyond that after the start: what asks for more is refused it."""
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        is_bound = memory_bytes is not None and self._base.address_bytes
        limit = self._base.address_bytes + (memory_bytes or 0) if is_bound else hard
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def _write_small(spool: SpoolWriter, request: Request, decoded: DecodedMedia) -> None:
    """Rows of what is small enough to come with the result."""
    if "transcripts" in request.tables:
        spool.write("transcripts", transcript_rows(request.media_id, decoded.utterances))
    if "shots@1" in request.tables and decoded.shots is not None:
        spool.write("shots@1", shot_rows(request.media_id, decoded.shots))
    if "motion@1" in request.tables and decoded.motions is not None:
        spool.write("motion@1", motion_rows(request.media_id, decoded.motions))


def _told(error: Exception, request: Request) -> TriptychError:
    """What the parent raises again."""
    if _is_of_memory(error):
        return DecoderMemoryError(
            f"decoding {request.path!r} takes more than {request.memory_bytes >> 20} MB of memory; leave it out, or "
            "allow more with --decode-memory-megabytes"
        )
    if isinstance(error, TriptychError):
        return error
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return DecodeError(f"{request.path!r}: {reason}; report it with the file if it plays elsewhere")


def _is_of_memory(error: BaseException) -> bool:
    """Whether an error, or what caused it, is a refused allocation."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MemoryError) or getattr(seen, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(seen, cv2.error) and seen.code == cv2.Error.StsNoMem:
            return True
        if isinstance(seen, ImportError) and "failed to map" in str(seen):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


class _Memory(NamedTuple):
    """Of this process; 0 where the system does not tell."""

    address_bytes: int = 0
    peak_bytes: int = 0
    resident_bytes: int = 0


def _memory() -> _Memory:
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return _Memory()
    fields = dict(line.split(":", 1) for line in lines)
    return _Memory(*(int(fields[name].split()[0]) << 10 for name in ("VmSize", "VmPeak", "VmRSS")))


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))  # nothing here is worth a slow end
