"""Files of web servers: looked at, and read from any place on. Addresses are guarded, and redirects followed, below."""

from __future__ import annotations

import os
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from features.errors import FetchError
from features.sources.look import Interrupted, Look, microseconds_of, words_of

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime

    import urllib3

AUTHORIZATION = "TRIPTYCH_HTTP_AUTHORIZATION"
"""Environment variable, `HOST VALUE`: the header Authorization for that host (and port, if any), sent to no other."""

_CHUNK_BYTES = 1 << 18
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")
_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE = 200, 206, 416
_PASSING = frozenset({429, 500, 502, 503, 504})
_TRIES = 3
_FIRST_WAIT_SECONDS = 0.2


def look_at_page(url: str, *, allow_private: bool) -> Look:
    """Ask a web server for a file's size, time and tag, with its first byte: some know no other request.

    Raises:
        FetchError: It is not there, may not be read, states no length, or its host does not answer.
    """
    response = _get(url, "bytes=0-0", allow_private=allow_private)
    try:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == _OK:
            length = response.headers.get("Content-Length")
        else:
            length = found[2] if found else "0" if response.status == _RANGE_NOT_SATISFIABLE else None
        if length is None or not length.isdecimal():
            message = f"the server of {url!r} does not tell how long it is; copy it here and name the copy"
            raise FetchError(message)
        return Look(int(length), microseconds_of(_time_of(response)), response.headers.get("ETag") or "")
    finally:
        response.close()


def knows_ranges(url: str, *, allow_private: bool) -> bool:
    """Whether a server sends a part of a file when it is asked for one.

    Raises:
        FetchError: As `look_at_page`.
    """
    response = _get(url, "bytes=0-0", allow_private=allow_private)
    response.close()
    return response.status == _PARTIAL


def read_page(url: str, offset: int, seen: Look, *, until: int | None = None, allow_private: bool) -> Generator[bytes]:
    """A file's bytes from an offset on, or up to another one.

    Raises:
        FetchError: It has changed since it was looked at, or as `look_at_page`.
        Interrupted: The connection broke off, or nothing came for too long.
    """
    import urllib3

    response = _get(url, f"bytes={offset}-{'' if until is None else until - 1}", allow_private=allow_private)
    try:
        tag = response.headers.get("ETag") or ""
        if response.status == _RANGE_NOT_SATISFIABLE or (tag and seen.tag and tag != seen.tag):
            message = (
                f"{url!r} changed since it was planned ({seen.tag} then, {tag} now); "
                "ingest it again when it is complete: the next run takes it as a new source"
            )
            raise FetchError(message)
        left = _to_skip(url, response, offset)
        while chunk := response.read1(_CHUNK_BYTES):  # as it comes: `stream` drops what a broken connection brought
            skipped = min(left, len(chunk))
            left -= skipped
            if skipped < len(chunk):
                yield chunk[skipped:]
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Interrupted(words_of(error)) from error
    finally:
        response.close()


def _to_skip(url: str, response: urllib3.BaseHTTPResponse, offset: int) -> int:
    """Bytes before the wanted ones: a server that knows no ranges sends all."""
    if response.status == _OK:
        return offset
    stated = response.headers.get("Content-Range", "")
    found = _RANGE.fullmatch(stated)
    if found is None or found[1] != str(offset):
        message = f"the server of {url!r} answers with {stated!r} instead of the bytes from {offset} on; mend it there"
        raise FetchError(message)
    return 0


def _get(url: str, wanted: str, *, allow_private: bool) -> urllib3.BaseHTTPResponse:
    """The answer to a request, with its body to come; what may pass is asked again a few times."""
    import urllib3

    from features.sources.addresses import pool_manager

    manager = pool_manager(allow_private=allow_private)
    for attempt in range(_TRIES):
        is_last = attempt == _TRIES - 1
        try:
            response = manager.request("GET", url, headers=_headers(url, wanted), preload_content=False)
        except urllib3.exceptions.HTTPError as error:
            if is_last or isinstance(getattr(error, "reason", None), urllib3.exceptions.ResponseError):
                message = f"cannot fetch {url!r} ({words_of(error)}); see whether its host answers, then run again"
                raise FetchError(message) from error
        else:
            if response.status in (_OK, _PARTIAL, _RANGE_NOT_SATISFIABLE):
                return response
            response.close()
            if is_last or response.status not in _PASSING:
                raise FetchError(_refused(url, response.status))
        time.sleep(_FIRST_WAIT_SECONDS * 2**attempt)
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


def _headers(url: str, wanted: str) -> dict[str, str]:
    headers = {"Range": wanted, "Accept-Encoding": "identity", "User-Agent": "triptych"}
    host, _, value = os.environ.get(AUTHORIZATION, "").partition(" ")
    if value and host.lower() == urlsplit(url).netloc.lower():
        headers["Authorization"] = value
    return headers


def _refused(url: str, status: int) -> str:
    credentials = f"give credentials for its host: {AUTHORIZATION}='HOST VALUE'"
    remedies = {
        401: credentials,
        403: f"you may not read it; see its rights, or {credentials}",
        404: "check the URL",
        410: "check the URL",
    }
    return f"cannot fetch {url!r} (HTTP {status}); {remedies.get(status, 'its server fails; run again later')}"


def _time_of(response: urllib3.BaseHTTPResponse) -> datetime | None:
    stated = response.headers.get("Last-Modified")
    try:
        return parsedate_to_datetime(stated) if stated else None
    except ValueError:
        return None
