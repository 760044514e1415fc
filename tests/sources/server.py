"""A web server on this machine with the faults of others."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Site:
    """What a server has, and how it answers.

    Attributes:
        files: Bytes by path.
        redirects: Paths, or URLs, by path.
        statuses: What is refused, by path.
        cut: Bytes after which a connection breaks off, by path; each number is used once.
        faults: Numbers of requests, from 1, whose connection breaks off before an answer.
        stated: Lengths that are stated, by path, where they are not the true ones.
        silent_after: Bytes after which nothing more comes, by path.
        ranges: Whether ranges are known.
        tagged: Whether there are ETags.
        dated: Whether there is a time of change.
        seen: Path, Range and Authorization of each request.
    """

    files: dict[str, bytes]
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    cut: dict[str, list[int]] = field(default_factory=dict)
    faults: frozenset[int] = frozenset()
    stated: dict[str, int] = field(default_factory=dict)
    silent_after: dict[str, int] = field(default_factory=dict)
    ranges: bool = True
    tagged: bool = True
    dated: bool = True
    tag: str = ""
    url: str = ""
    seen: list[tuple[str, str | None, str | None]] = field(default_factory=list)


@contextmanager
def serve(site: Site) -> Iterator[Site]:
    """A site at `site.url`, until the block ends."""

    class Handler(_Handler):
        pass

    Handler.site = site
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    site: Site
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site = self.site
        site.seen.append((self.path, self.headers.get("Range"), self.headers.get("Authorization")))
        if len(site.seen) in site.faults:
            self.close_connection = True
            self.connection.close()
        elif self.path in site.redirects:
            self._head(302, 0, Location=site.redirects[self.path])
        elif self.path in site.statuses:
            self._head(site.statuses[self.path], 0)
        elif self.path not in site.files:
            self._head(404, 0)
        else:
            self._send(site.files[self.path])

    def _send(self, content: bytes) -> None:
        site, total = self.site, self.site.stated.get(self.path, len(self.site.files[self.path]))
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")) if site.ranges else None
        if wanted is None:
            self._head(200, total)
            body, sent = content, total
        elif int(wanted[1]) >= len(content):
            self._head(416, 0, **{"Content-Range": f"bytes */{total}"})
            return
        else:
            start, end = int(wanted[1]), int(wanted[2]) + 1 if wanted[2] else total
            self._head(206, end - start, **{"Content-Range": f"bytes {start}-{end - 1}/{total}"})
            body, sent = content[start:end], end - start
        cuts = site.cut.get(self.path, [])
        if cuts and wanted is not None and not wanted[2]:
            body = body[: cuts.pop(0)]
        if self.path in site.silent_after and sent > 1:
            self.wfile.write(body[: site.silent_after[self.path]])
            self.connection.recv(1)  # until the other side gives up
            self.close_connection = True
            return
        self.wfile.write(body)
        if len(body) < sent:
            self.close_connection = True

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        headers |= {"Content-Length": str(length)}
        if self.site.tagged:
            headers["ETag"] = self.site.tag or f'"{hash(self.site.files.get(self.path)) & 0xFFFF:x}"'
        if self.site.dated:
            headers["Last-Modified"] = formatdate(1_600_000_000, usegmt=True)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass
