"""Listing remote sources: folders of an object store are searched, globs and single objects looked at."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError, FetchError
from features.sources.http import look_at_page
from features.sources.look import Look
from features.sources.objects import filesystem, look_of, telling
from features.sources.urls import check_url, is_http, protocol_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAGIC = re.compile(r"[*?\[]")
_AT_ONCE = 4
_MOST_SIDE_BY_SIDE = 512  # a request a folder: of more, and smaller ones, there would be too many


class Listed(NamedTuple):
    """An object as it was listed."""

    url: str
    seen: Look


def list_remote(url: str, *, allow_private: bool = False) -> tuple[Listed, ...]:
    """What a URL names: itself, what its glob matches, or all that a folder of an object store holds; sorted.

    A web server lists no folders. Hidden objects of a folder are passed over, and so is what stands for a folder.

    Args:
        url: The URL, without credentials.
        allow_private: Web servers at private addresses, too.

    Raises:
        ConfigError: The URL is no source, or what its host says of it.
    """
    check_url(url)
    try:
        if is_http(url):
            if url.endswith("/"):
                raise ConfigError(_no_listing(url))
            return (Listed(url, look_at_page(url, allow_private=allow_private)),)
        return tuple(_objects(url))
    except FetchError as error:
        raise ConfigError(str(error)) from error


def beside(folder: str) -> tuple[str, ...]:
    """URLs of the objects that lie in a folder; none of a web server's.

    Raises:
        FetchError: It cannot be listed.
    """
    if is_http(folder):
        return ()
    system = filesystem(folder)
    with telling(folder):
        return tuple(_url_of(folder, info) for info in system.ls(folder, detail=True) if info.get("type") == "file")


def _objects(url: str) -> Iterator[Listed]:
    system = filesystem(url)
    with telling(url):
        found, is_folder = _found(system, url)
    start = len(url.rstrip("/").partition("://")[2]) if is_folder else 0
    for path in sorted(found):
        info = found[path]
        is_hidden = is_folder and "/." in path[start:]
        if info.get("type") == "file" and not is_hidden and not path.endswith("/"):
            one = _url_of(url, info)
            yield Listed(one, look_of(one, info))


def _found(system: Any, url: str) -> tuple[dict[str, dict[str, Any]], bool]:  # noqa: ANN401 - fsspec has no types
    """Objects by their paths, and whether a folder was searched for them."""
    if not url.endswith("/"):
        try:
            info = system.info(url)
        except FileNotFoundError:
            if not _MAGIC.search(url):
                raise
            return _matches(system, url), False
        if info.get("type") != "directory":
            return {str(info["name"]): info}, False
    return _search(system, url), True


def _search(system: Any, url: str) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - as above
    """All that lies below a folder; its subfolders, where they are few, side by side.

    One answer names a thousand objects, and is read while the next is on its way.
    """
    try:
        top = {str(info["name"]): info for info in system.ls(url, detail=True)}
    except FileNotFoundError:
        return {}
    folders = [name for name, info in top.items() if info.get("type") == "directory"]
    if not 1 < len(folders) <= _MOST_SIDE_BY_SIDE:
        return dict(system.find(url, detail=True))
    found = {name: info for name, info in top.items() if info.get("type") == "file"}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for some in pool.map(partial(system.find, detail=True), folders):
            found |= some
    return found


def _matches(system: Any, pattern: str) -> dict[str, dict[str, Any]]:  # noqa: ANN401 - as above
    try:
        found: dict[str, dict[str, Any]] = system.glob(pattern, detail=True)
    except ValueError as error:
        message = f"the glob {pattern!r} cannot be read ({error}); write ** between slashes: s3://BUCKET/**/*.mp4"
        raise FetchError(message) from error
    return found


def _url_of(url: str, info: dict[str, Any]) -> str:
    path = str(info["name"])
    return path if "://" in path else f"{protocol_of(url)}://{path.lstrip('/')}"


def _no_listing(url: str) -> str:
    return f"{url!r} is a folder of a web server, which cannot be listed; name its files, with their subtitle files"
