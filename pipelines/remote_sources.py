"""Sources that lie elsewhere: listed by their URLs, each with the text files beside it."""

from __future__ import annotations

import fnmatch
import logging
from typing import TYPE_CHECKING

from features.errors import ConfigError, FetchError
from features.samples.rows import MANIFEST_SUFFIXES
from features.sources.listing import beside, list_remote
from features.sources.objects import ForbiddenError
from features.sources.remote import look
from features.sources.urls import check_url, is_url, name_of
from features.store.plan import Source
from features.transcripts.sidecars import group_sidecars, is_sidecar, stem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from features.sources.listing import Listed

_LOG = logging.getLogger(__name__)


def split_urls(given: Sequence[str]) -> tuple[list[str], list[str]]:
    """URLs, and what is on a local disk, of what a user named."""
    return [name for name in given if is_url(name)], [name for name in given if not is_url(name)]


def check_urls(urls: Sequence[str]) -> None:
    """Refuse URLs that cannot be sources; no host is asked.

    Raises:
        ConfigError: A URL holds a password, its protocol is unknown, or it is a manifest's.
    """
    for url in urls:
        check_url(url)
        if any(url.lower().endswith(suffix) for suffix in MANIFEST_SUFFIXES):
            message = (
                f"{url!r} is a manifest, and is read from a local file only; copy it here (its rows may name URLs)"
            )
            raise ConfigError(message)


def remote_sources(
    urls: Sequence[str],
    wanted_of: Callable[[Sequence[str]], Iterator[str]],
    *,
    refuse: Sequence[str] = (),
    allow_private: bool = False,
) -> list[Source]:
    """Sources that URLs name, sorted, each once.

    Args:
        urls: As the user wrote them: files, globs, and folders of object stores, which are searched through.
            Subtitle files of a web server belong to the videos that are named with them.
        wanted_of: Of the objects of a folder, those that are sources.
        refuse: Globs of sources whose use was refused; matched against the URL and its last part.
        allow_private: Web servers at private addresses, too.

    Raises:
        ConfigError: Not one of them can be listed, or a text file cannot; if only some videos cannot, that is a
            warning.
    """
    found: dict[str, Listed] = {}
    names: set[str] = set()  # of all that may stand beside another
    wrong: dict[str, ConfigError] = {}
    for url in sorted(set(urls)):
        try:
            listed = list_remote(url, allow_private=allow_private)
            kept = _kept(url, listed, wanted_of)
        except ConfigError as error:
            if is_sidecar(url):  # its video would come in without it, for good
                raise
            wrong[url] = error
            continue
        found.update({one.url: one for one in kept})
        names.update(one.url for one in listed)
    names.update(*map(_beside, _not_searched(urls, found)))
    texts = group_sidecars(names)
    used = {text for url in (*found, *wrong) if not is_sidecar(url) for text in texts.get(stem_of(url), ())}
    if wrong and not found.keys() - used:
        raise next(iter(wrong.values()))
    for problem in wrong.values():
        _LOG.warning("left out: %s", problem)
    return [_source(one, texts, refuse) for url, one in sorted(found.items()) if url not in used]


def _kept(url: str, listed: Sequence[Listed], wanted_of: Callable[[Sequence[str]], Iterator[str]]) -> list[Listed]:
    """Of what was listed, the sources: an object that is named outright is one, whatever its name."""
    there = [one.url for one in listed]
    wanted = set(there if there == [url] else wanted_of(there))
    if not wanted:
        message = f"{url!r} names no video; check the bucket and the path, or name files or a glob"
        raise ConfigError(message)
    return [one for one in listed if one.url in wanted]


def _not_searched(urls: Sequence[str], found: Collection[str]) -> set[str]:
    """Folders of what was found by its name or a glob: what stands beside it was not listed with it."""
    searched = tuple(f"{url.rstrip('/')}/" for url in urls)
    return {url.rpartition("/")[0] + "/" for url in found if not url.startswith(searched)}


def now_of(source: Source, *, allow_private: bool = False) -> Source | None:
    """A remote source with the size and time that it has now; None where it is gone."""
    try:
        seen = look(source.uri, allow_private=allow_private)
    except FetchError as error:
        _LOG.warning("%s", error)
        return None
    return source._replace(size_bytes=seen.size_bytes, mtime_us=seen.mtime_us, etag=seen.tag or None)


def _beside(folder: str) -> tuple[str, ...]:
    try:
        return beside(folder)
    except ForbiddenError as error:  # who may read an object need not have the right to list others
        _LOG.warning("no text files beside the videos of %s: %s", folder, error)
        return ()
    except FetchError as error:
        raise ConfigError(str(error)) from error


def _source(one: Listed, texts: dict[str, tuple[str, ...]], refuse: Sequence[str]) -> Source:
    names = (one.url, name_of(one.url))
    is_refused = any(fnmatch.fnmatch(name, pattern) for name in names for pattern in refuse)
    return Source(
        one.url,
        one.seen.size_bytes,
        one.seen.mtime_us,
        () if is_sidecar(one.url) else texts.get(stem_of(one.url), ()),
        "refused" if is_refused else "unstated",
        etag=one.seen.tag or None,
    )
