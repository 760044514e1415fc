"""Remote sources of any kind: what is known of one, and its bytes from any place on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.sources.http import look_at_page, read_page
from features.sources.objects import look_at_object, read_object
from features.sources.urls import is_http

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.sources.look import Look


def look(url: str, *, allow_private: bool = False) -> Look:
    """Ask for a source's size, time and tag.

    Raises:
        FetchError: It is not there, may not be read, or its host does not answer.
    """
    return look_at_page(url, allow_private=allow_private) if is_http(url) else look_at_object(url)


def read_from(url: str, offset: int, seen: Look, *, allow_private: bool = False) -> Iterator[bytes]:
    """A source's bytes from an offset on.

    Raises:
        FetchError: It has changed since it was looked at, or as `look`.
        Interrupted: The connection broke off; ask again from where it stopped.
    """
    if offset >= seen.size_bytes:
        return
    if is_http(url):
        yield from read_page(url, offset, seen, allow_private=allow_private)
    else:
        yield from read_object(url, offset, seen)
