"""Listing sources: folders, globs and single files → what ingest may plan. No file is opened.

Paths are texts here, for an archive may hold a million, and a `Path` for each takes minutes.
"""
# ruff: noqa: PTH100, PTH113, PTH116, PTH119, PTH120, PTH122, PTH207

from __future__ import annotations

import fnmatch
import glob
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.store.plan import Source
from features.transcripts.sidecars import group_sidecars, is_sidecar, stem_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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


def list_sources(given: Sequence[str], *, refuse: Sequence[str] = (), store: str = "") -> Iterator[Source]:
    """Sources that folders (searched through), globs and files name, sorted by path, each once.

    What cannot be listed - a folder or file without rights, a name that is not UTF-8 - is left out with a warning.

    Args:
        given: As the user wrote them.
        refuse: Globs of sources whose use was refused; matched against the path and the file's name.
        store: Root of the store, which is not searched.

    Returns:
        The sources, each looked at as it is asked for; what was named has been searched through by then.

    Raises:
        ConfigError: A path does not exist, or a folder or glob holds no video.
    """
    check_sources(given, store=store)
    paths = sorted({path for name in given for path in _expand(name, store)})
    sidecars = _sidecars({os.path.dirname(path) for path in paths})
    sources = (_source(path, sidecars.get(stem_of(path), ()), refuse) for path in paths)
    return (source for source in sources if source is not None)


def _sidecars(folders: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Subtitle files of all sources, each folder listed once."""
    found = {}
    for folder in sorted(folders):
        with os.scandir(folder) as entries:
            paths = [entry.path for entry in entries]
        if any(map(is_sidecar, paths)):
            found.update(group_sidecars(paths))
    return found


def check_sources(given: Sequence[str], *, store: str = "") -> None:
    """Refuse sources that name nothing; each is looked at up to its first file only.

    Raises:
        ConfigError: As `list_sources`.
    """
    if not given:
        message = "no source was named; name folders, globs or files: triptych ingest VIDEOS/"
        raise ConfigError(message)
    for name in given:
        if next(_expand(name, store), None) is None:
            raise ConfigError(_nothing_there(name))


def _expand(name: str, store: str) -> Iterator[str]:
    path = Path(name).expanduser()
    if path.is_dir():
        yield from _search(_absolute(path), _absolute(store) if store else "")
    elif path.is_file():
        yield _absolute(path)
    else:
        for match in glob.iglob(str(path), recursive=True):
            if os.path.isfile(match) and not is_sidecar(match):
                yield _absolute(match)


def _nothing_there(name: str) -> str:
    if Path(name).expanduser().is_dir():
        return f"the folder {name!r} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}); name another"
    kind = "no file matches the glob" if glob.has_magic(name) else "there is no file or folder"
    return f"{kind} {name!r}; check the path (the working folder is {str(Path.cwd())!r})"


def _absolute(path: str | Path) -> str:
    """One name for a file, whatever folder it was named from: without `..`, links as they are."""
    return os.path.abspath(path)


def _search(folder: str, store: str) -> Iterator[str]:
    """Videos under a folder, in no order; hidden files and folders and linked folders are passed over."""
    folders = [folder]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                seen = [entry for entry in entries if not entry.name.startswith(".") and entry.path != store]
        except OSError as error:
            _warn(error)
            continue
        folders += [entry.path for entry in seen if entry.is_dir(follow_symlinks=False)]
        yield from (entry.path for entry in seen if _suffix(entry.name) in VIDEO_SUFFIXES and entry.is_file())


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
