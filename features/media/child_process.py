"""One child of the sandbox as its parent sees it: starting it, talking to it, and how it ended."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from features.errors import SandboxError
from features.media import protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from features.media.protocol import Request

OUTSIDE_SIGNALS = frozenset({"SIGKILL", "SIGTERM", "SIGHUP"})
"""Signals that somebody else sends: the system when it is out of memory, an operator."""

_READ_BYTES = 1 << 16
_TAIL_BYTES = 1 << 14
_WORDS_CHARACTERS = 600
_LAST_WORDS_SECONDS = 2.0
_END_SECONDS = 5.0
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    "ARROW_DEFAULT_MEMORY_POOL": "system",  # the others reserve a gigabyte of address space
}


class ChildEnded(Exception):
    """The child ended in the middle of a media.

    Attributes:
        how: `killed by SIGSEGV`, or its exit status.
        signal: Name of the signal, or nothing.
        words: The last that it said to standard error.
    """

    def __init__(self, how: str, signal_name: str, words: str) -> None:
        super().__init__(how, signal_name, words)
        self.how, self.signal, self.words = how, signal_name, words


class ChildProcess:
    """A child and the pipes to it.

    It is started by a thread that lives as long as this process: the kernel ends a child when the thread ends that
    started it.

    Args:
        command: What to start; None: the child of this package.
    """

    def __init__(self, command: Sequence[str] | None = None) -> None:
        self._requests, theirs = socket.socketpair()
        arguments = [
            *(command or (sys.executable, "-m", "features.media.child")),
            str(os.getpid()),
            str(theirs.fileno()),
        ]
        try:
            self._process = _starter().submit(_start, arguments, theirs.fileno()).result()
        except OSError as error:
            self._requests.close()
            message = f"cannot start the process that decodes, {arguments[0]!r} ({error.strerror}); run again"
            raise SandboxError(message) from error
        finally:
            theirs.close()
        self._is_ready = False
        self._heard = b""
        self._tail = b""
        self._selector = selectors.DefaultSelector()
        for pipe in (self._process.stdout, self._process.stderr):
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ)

    @property
    def pid(self) -> int:
        """Its process id."""
        return int(self._process.pid)

    def wait_ready(self, seconds: float, tick: Callable[[], None]) -> None:
        """Wait until it has started.

        Raises:
            SandboxError: It ends before, or takes too long.
        """
        end = time.monotonic() + seconds
        while not self._is_ready:
            tick()
            try:
                self._is_ready = any(kind == protocol.READY for kind, _ in self.hear(1.0))
            except ChildEnded as ended:
                message = f"the process that decodes does not start ({ended.how}: {ended.words}); see triptych doctor"
                raise SandboxError(message) from ended
            if not self._is_ready and time.monotonic() > end:
                message = f"the process that decodes has not started after {seconds:g} s; run again"
                raise SandboxError(message)

    def send(self, request: Request, descriptors: Sequence[int]) -> None:
        """Ask for a media; the files go with it.

        Raises:
            ChildEnded: It has ended since the last one.
        """
        self._tail = b""
        try:
            socket.send_fds(self._requests, [b"+"], descriptors)
            self._requests.sendall(protocol.to_line("", request))
        except (BrokenPipeError, ConnectionResetError):
            raise self._ended() from None

    def hear(self, seconds: float) -> Iterator[tuple[str, Any]]:
        """What it says within some seconds, if anything.

        Raises:
            ChildEnded: It has ended.
        """
        heard = self._read(seconds)
        if heard is None:
            raise self._ended()
        *lines, self._heard = (self._heard + heard).split(b"\n")
        return map(protocol.from_line, lines)

    def abort(self) -> str:
        """End a child that hangs; the last words, which tell where it did."""
        self._signal(signal.SIGABRT)
        end = time.monotonic() + _LAST_WORDS_SECONDS
        while time.monotonic() < end and self._read(0.1) is not None:
            pass
        return _last_words(self._tail)

    def close(self) -> None:
        """End it: nicely where it waits for the next media."""
        self._requests.close()
        if not self._is_ready:
            self._signal(signal.SIGKILL)
        try:
            self._process.wait(_LAST_WORDS_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):  # one that waits for a dead disk cannot even be killed
                self._process.wait(_END_SECONDS)
        self._selector.close()
        for pipe in (self._process.stdout, self._process.stderr):
            pipe.close()

    def _read(self, seconds: float) -> bytes | None:
        """What it wrote to standard output; None at its end. Of standard error the last part is kept."""
        heard, is_over = b"", False
        for key, _ in self._selector.select(seconds):
            data = os.read(key.fd, _READ_BYTES)
            if key.fileobj is self._process.stderr:
                self._tail = (self._tail + data)[-_TAIL_BYTES:]
                if not data:
                    self._selector.unregister(key.fileobj)
            else:
                heard, is_over = data, not data
        return None if is_over else heard

    def _ended(self) -> ChildEnded:
        try:
            status = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            status = self._process.wait()
        with contextlib.suppress(OSError):
            self._tail = (self._tail + os.read(self._process.stderr.fileno(), _READ_BYTES))[-_TAIL_BYTES:]
        name = _signal_name(-status) if status < 0 else ""
        how = f"killed by {name}" if name else f"the decoding process ended by itself, exit status {status}"
        return ChildEnded(how, name, _last_words(self._tail))

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


def _start(arguments: Sequence[str], descriptor: int) -> Any:  # noqa: ANN401 - Popen, whose pipes are known to exist
    environment = {**os.environ, **_ENVIRONMENT}
    return subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[descriptor],
        env=environment,
        bufsize=0,
    )


_STARTERS: dict[int, ThreadPoolExecutor] = {}


def _starter() -> ThreadPoolExecutor:
    """The thread of this process that starts children; one forked off has none of its parent's threads."""
    return _STARTERS.setdefault(os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="triptych-sandbox"))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_words(tail: bytes) -> str:
    """The end of standard error on a line; of a crash that Python notes, what it is and where it was."""
    lines = [line.strip() for line in tail.decode("utf-8", errors="replace").splitlines() if line.strip()]
    fatal = next((index for index, line in enumerate(lines) if line.startswith("Fatal Python error")), None)
    if fatal is None:
        return " | ".join(lines[-3:])[-_WORDS_CHARACTERS:]
    place = [line for line in lines[fatal:] if line.startswith("File ")][:2]
    return " | ".join([*lines[max(fatal - 2, 0) : fatal + 1], *place])[:_WORDS_CHARACTERS]
