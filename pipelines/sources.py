"""Listing sources: folders, globs, single files, manifests and URLs → what ingest may plan. No file is opened.

Paths are texts here, for an archive may hold a million, and a `Path` for each takes minutes.
"""
# ruff: noqa: PTH100, PTH113, PTH116, PTH119, PTH120, PTH122, PTH207

from __future__ import annotations

import fnmatch
import glob
import logging
import os
import time
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.identity import MICROSECONDS
from features.samples.record import IMAGE_SUFFIXES, SUFFIXES_OF, TEXT_SUFFIXES
from features.store.plan import Source
from features.transcripts.sidecars import group_sidecars, is_sidecar, stem_of
from pipelines.manifests import manifest_sources, read_manifests, split_manifests
from pipelines.remote_sources import check_urls, remote_sources, split_urls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipelines.options import IngestConfig

_LOG = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset(
    [
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".flv",
        ".m2ts",
        ".m4v",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".ogv",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
    ]
)
"""Suffixes that a folder is searched for; a file named outright, or by a glob, may have any."""

_NO_SIDECARS = IMAGE_SUFFIXES | TEXT_SUFFIXES
"""Suffixes of media that a text beside them is another media than."""


def list_sources(
    given: Sequence[str],
    *,
    refuse: Sequence[str] = (),
    store: str = "",
    also: Sequence[str] = (),
    allow_private: bool = False,
    settle_seconds: int = 0,
) -> Iterator[Source]:
    """Sources that folders (searched through), globs, files and manifests name, each once; files sorted by path.

    What cannot be listed - a folder or file without rights, a name that is not UTF-8, a row of a manifest that cannot
    be used - is left out with a warning.

    Args:
        given: As the user wrote them.
        refuse: Globs of sources whose use was refused; matched against the path and the file's name.
        store: Root of the store, which is not searched.
        also: What folders are searched for beside videos: `images`, `sounds`, `texts`.
        allow_private: URLs may name web servers at private addresses.
        settle_seconds: What changed in the last so many seconds may still be written, and is left out with a warning.

    Returns:
        The sources, each looked at as it is asked for; what was named has been searched through by then.

    Raises:
        ConfigError: A path does not exist, a folder or glob holds no video, or a manifest names no media.
    """
    check_sources(given, store=store, also=also)
    search = Search(store, also)
    urls, here = split_urls(given)
    named, tables = split_manifests(here)
    manifests = read_manifests(tables)
    remote = remote_sources(urls, search.of, refuse=refuse, allow_private=allow_private)
    paths = sorted({path for name in named for path in _expand(name, search)})
    search.tell()
    sidecars = _sidecars({os.path.dirname(path) for path in paths})
    sources = (_source(path, _beside(path, sidecars), refuse) for path in paths)
    listed = (source for source in sources if source is not None)
    rows = (manifest_sources(one, refuse, _sidecars, allow_private=allow_private) for one in manifests)
    return _settled(chain(listed, remote, *rows), settle_seconds)


def list_configured(config: IngestConfig, store: str) -> Iterator[Source]:
    """The sources that a configuration names; as `list_sources`."""
    return list_sources(
        config.sources,
        refuse=config.refuse,
        store=store,
        also=config.also,
        allow_private=config.allow_private_addresses,
        settle_seconds=config.settle_seconds,
    )


def _settled(sources: Iterable[Source], settle_seconds: int) -> Iterator[Source]:
    """Those that did not change just now."""
    latest_us = (time.time() - settle_seconds) * MICROSECONDS if settle_seconds else None
    for source in sources:
        if latest_us is not None and source.mtime_us > latest_us:
            _LOG.warning("left %a for the next run: it changed in the last %d seconds", source.uri, settle_seconds)
        else:
            yield source


def _beside(path: str, sidecars: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return () if _suffix(path) in _NO_SIDECARS else sidecars.get(stem_of(path), ())


def _sidecars(folders: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Subtitle files of all sources, each folder listed once."""
    found = {}
    for folder in sorted(folders):
        with os.scandir(folder) as entries:
            paths = [entry.path for entry in entries]
        if any(map(is_sidecar, paths)):
            found.update(group_sidecars(paths))
    return found


def check_sources(given: Sequence[str], *, store: str = "", also: Sequence[str] = ()) -> None:
    """Refuse sources that name nothing; each is looked at up to its first file only.

    No manifest is read, and no other host is asked.

    Raises:
        ConfigError: As `list_sources`.
    """
    if not given:
        message = "no source was named; name folders, globs or files: triptych ingest VIDEOS/"
        raise ConfigError(message)
    search = Search(store, also)
    urls, here = split_urls(given)
    check_urls(urls)
    for name in split_manifests(here)[0]:
        if next(_expand(name, search), None) is None:
            raise ConfigError(_nothing_there(name, search))


class Search:
    """What folders are searched for, and what was passed over.

    Args:
        store: Root of the store, which is not searched.
        also: `images`, `sounds`, `texts`; several may stand in one, with commas between.

    Raises:
        ConfigError: `also` names something else.
    """

    def __init__(self, store: str, also: Sequence[str]) -> None:
        self.store = _absolute(store) if store else ""
        self.also = [kind.strip() for part in also for kind in part.split(",")]
        for kind in self.also:
            if kind not in SUFFIXES_OF:
                message = f"folders cannot be searched for {kind!r}; --also takes {', '.join(SUFFIXES_OF)}"
                raise ConfigError(message)
        self.suffixes = VIDEO_SUFFIXES.union(*(SUFFIXES_OF[kind] for kind in self.also))
        self.passed: Counter[str] = Counter()

    def of(self, names: Sequence[str]) -> Iterator[str]:
        """Of the names of a folder's files, those that are wanted; a text beside a video or a sound is its sidecar."""
        stems = {stem_of(name) for name in names if _suffix(name) in self.suffixes - _NO_SIDECARS}
        for name in names:
            suffix = _suffix(name)
            if suffix in TEXT_SUFFIXES and (stem_of(name) in stems or stem_of(stem_of(name)) in stems):
                continue
            if suffix in self.suffixes:
                yield name
            else:
                self.passed.update(kind for kind, suffixes in SUFFIXES_OF.items() if suffix in suffixes)

    def tell(self) -> None:
        """Say what folders hold that was not asked for."""
        if self.passed:
            _LOG.warning("passed over %s", self.told())

    def told(self) -> str:
        """What was passed over, and how to take it."""
        found = ", ".join(f"{self.passed[kind]} {kind}" for kind in SUFFIXES_OF if self.passed[kind])
        kinds = [kind for kind in SUFFIXES_OF if kind in self.also or self.passed[kind]]
        return f"{found}, for folders are searched for videos; --also {','.join(kinds)} takes them"


def _expand(name: str, search: Search) -> Iterator[str]:
    path = Path(name).expanduser()
    if path.is_dir():
        yield from _search(_absolute(path), search)
    elif path.is_file():
        yield _absolute(path)
    else:
        yield from _matches(str(path))


def _matches(pattern: str) -> Iterator[str]:
    """Files of a glob, without the texts beside others of them."""
    texts: list[str] = []
    stems: set[str] = set()
    for match in glob.iglob(pattern, recursive=True):
        if not os.path.isfile(match):
            continue
        if _suffix(match) in TEXT_SUFFIXES:
            texts.append(match)
        elif not is_sidecar(match):
            stems.update(() if _suffix(match) in _NO_SIDECARS else [stem_of(match)])
            yield _absolute(match)
    yield from (_absolute(text) for text in texts if not {stem_of(text), stem_of(stem_of(text))} & stems)


def _nothing_there(name: str, search: Search) -> str:
    if Path(name).expanduser().is_dir():
        more = f" (passed over {search.told()})" if search.passed else ""
        return f"the folder {name!r} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}); name another{more}"
    kind = "no file matches the glob" if glob.has_magic(name) else "there is no file or folder"
    return f"{kind} {name!r}; check the path (the working folder is {str(Path.cwd())!r})"


def _absolute(path: str | Path) -> str:
    """One name for a file, whatever folder it was named from: without `..`, links as they are."""
    return os.path.abspath(path)


def _search(folder: str, search: Search) -> Iterator[str]:
    """What is searched for under a folder, in no order; hidden files and folders and linked folders are passed over."""
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                seen = [entry for entry in entries if not entry.name.startswith(".") and entry.path != search.store]
        except OSError as error:
            _warn(error)
            continue
        folders += [entry.path for entry in seen if entry.is_dir(follow_symlinks=False)]
        yield from (path for path in search.of([entry.path for entry in seen if _is_file(entry)]))


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError as error:  # a link that leads back to itself
        _warn(error)
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _warn(error: OSError) -> None:
    _LOG.warning("left out %a (%s); check its rights", error.filename, error.strerror)


def _source(path: str, sidecars: tuple[str, ...], refuse: Iterable[str]) -> Source | None:
    try:
        status = os.stat(path)
        path.encode()
    except OSError as error:
        _warn(error)
        return None
    except UnicodeEncodeError:
        _LOG.warning("left out %a: its name is not UTF-8; rename the file", path)
        return None
    name = os.path.basename(path)
    refused = any(fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(name, pattern) for pattern in refuse)
    consent = "refused" if refused else "unstated"
    return Source(path, status.st_size, status.st_mtime_ns // 1000, sidecars, consent)
