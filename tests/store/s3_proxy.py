"""A proxy before an S3 server that counts requests, and does one of them wrong."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

Fault = Literal["error", "refuse", "lose", "cut", "slow"]
"""Answer with an error; close unheard; hear but do not answer; answer half; answer late."""

_SLOW_SECONDS = 0.5
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>"


@dataclass
class Proxy:
    """Use as a context manager; `url` is its end point.

    Attributes:
        target: End point of the server.
        is_faulty: Asked for each request with its number, from 0.
        fault: What is done then.
        status: Of an answer that is an error.
        code: Of an answer that is an error, as S3 names it.
        requests: Method and target of all so far.
    """

    target: str
    is_faulty: Callable[[int], bool] = lambda _: False
    fault: Fault = "error"
    status: int = 500
    code: str = "InternalError"
    requests: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        proxy, lock, host = self, threading.Lock(), urlsplit(self.target).netloc

        class Handler(_Handler):
            def handle_one(self) -> None:
                with lock:
                    number = len(proxy.requests)
                    proxy.requests.append(f"{self.command} {self.path}")
                self.status, self.code = proxy.status, proxy.code
                self.forward(host, proxy.fault if proxy.is_faulty(number) else None)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status: int
    code: str

    def handle_one(self) -> None:
        raise NotImplementedError

    def __getattr__(self, name: str) -> object:
        if name.startswith("do_"):
            return self.handle_one
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def forward(self, host: str, fault: Fault | None) -> None:
        body = self._body()
        if fault == "refuse":
            self._hang_up()
            return
        if fault == "error":
            content = _ERROR.format(code=self.code).encode()
            self._answer(self.status, [("Content-Type", "application/xml")], content)
            return
        if fault == "slow":
            time.sleep(_SLOW_SECONDS)
        server = http.client.HTTPConnection(host, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "transfer-encoding"}
            server.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = server.getresponse()
            content = answer.read()
        finally:
            server.close()
        if fault == "lose":
            self._hang_up()
        else:
            self._answer(answer.status, answer.getheaders(), content, is_cut=fault == "cut")

    def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes, *, is_cut: bool = False) -> None:
        self.send_response_only(status)
        dropped = ("transfer-encoding", "connection") + (() if self.command == "HEAD" else ("content-length",))
        for name, value in headers:
            if name.lower() not in dropped:
                self.send_header(name, value)
        if self.command != "HEAD" and status not in (204, 304):
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if is_cut else content)
        self.wfile.flush()
        if is_cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("Expect", "").lower() == "100-continue":
            self.send_response_only(100)
            self.end_headers()
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)
