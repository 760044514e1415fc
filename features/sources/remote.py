"""Remote sources of any kind: what is known of one, and its bytes from any place on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.sources.http import knows_ranges, look_at_page, read_page
from features.sources.objects import look_at_object, read_object
from features.sources.urls import is_http

if TYPE_CHECKING:
    from collections.abc import Generator

    from features.sources.look import Look


def look(url: str, *, allow_private: bool = False) -> Look:
    """Ask for a source's size, time and tag.

    Raises:
        FetchError: It is not there, may not be read, or its host does not answer.
    """
    return look_at_page(url, allow_private=allow_private) if is_http(url) else look_at_object(url)


def is_ranged(url: str, *, allow_private: bool = False) -> bool:
    """Whether parts of a source can be had without what comes before them.

    Raises:
        FetchError: As `look`.
    """
    return not is_http(url) or knows_ranges(url, allow_private=allow_private)


def read_from(
    url: str, offset: int, seen: Look, *, until: int | None = None, allow_private: bool = False
) -> Generator[bytes]:
    """A source's bytes from an offset on, or up to another one.

    Raises:
        FetchError: It has changed since it was looked at, or as `look`.
        Interrupted: The connection broke off; ask again from where it stopped.
    """
    if offset >= seen.size_bytes:
        return
    if is_http(url):
        yield from read_page(url, offset, seen, until=until, allow_private=allow_private)
    else:
        yield from read_object(url, offset, seen if until is None else seen._replace(size_bytes=until))
