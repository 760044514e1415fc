"""Listing sources: folders, globs and single files → what ingest may plan. No file is opened."""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import ConfigError
from features.store.plan import Source
from features.transcripts.sidecars import SIDECAR_SUFFIXES, group_sidecars

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


def list_sources(given: Sequence[str], *, refuse: Sequence[str] = (), store: str = "") -> tuple[Source, ...]:
    """Sources that folders (searched through), globs and files name, sorted by path, each once.

    What cannot be listed - a folder or file without rights, a name that is not UTF-8 - is left out with a warning.

    Args:
        given: As the user wrote them.
        refuse: Globs of sources whose use was refused; matched against the path and the file's name.
        store: Root of the store, which is not searched.

    Raises:
        ConfigError: A path does not exist, or a folder or glob holds no video.
    """
    check_sources(given, store=store)
    paths = sorted({path for name in given for path in _expand(name, store)})
    sidecars = _sidecars({Path(path).parent for path in paths})
    sources = (_source(path, sidecars.get(Path(path).with_suffix(""), ()), refuse) for path in paths)
    return tuple(source for source in sources if source is not None)


def _sidecars(folders: Iterable[Path]) -> dict[Path, tuple[Path, ...]]:
    """Subtitle files of all sources, each folder listed once."""
    return group_sidecars(Path(entry.path) for folder in sorted(folders) for entry in os.scandir(folder))


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
        for match in glob.iglob(str(path), recursive=True):  # noqa: PTH207 - the pattern may be absolute
            if Path(match).is_file() and Path(match).suffix.lower() not in SIDECAR_SUFFIXES:
                yield _absolute(match)


def _nothing_there(name: str) -> str:
    if Path(name).expanduser().is_dir():
        return f"the folder {name!r} holds no video ({', '.join(sorted(VIDEO_SUFFIXES))}); name another"
    kind = "no file matches the glob" if glob.has_magic(name) else "there is no file or folder"
    return f"{kind} {name!r}; check the path (the working folder is {str(Path.cwd())!r})"


def _absolute(path: str | Path) -> str:
    """One name for a file, whatever folder it was named from: without `..`, links as they are."""
    return os.path.abspath(path)  # noqa: PTH100 - pathlib keeps `..`


def _search(folder: str, store: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder, onerror=_warn):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and str(Path(parent, f)) != store)
        for name in files:
            path = Path(parent, name)
            if path.suffix.lower() in VIDEO_SUFFIXES and not name.startswith(".") and path.is_file():
                yield str(path)


def _warn(error: OSError) -> None:
    _LOG.warning("left out %a (%s); check its rights", error.filename, error.strerror)


def _source(path: str, sidecars: Sequence[Path], refuse: Iterable[str]) -> Source | None:
    try:
        status = Path(path).stat()
        path.encode()
    except OSError as error:
        _warn(error)
        return None
    except UnicodeEncodeError:
        _LOG.warning("left out %a: its name is not UTF-8; rename the file", path)
        return None
    refused = any(fnmatch.fnmatch(path, pattern) or fnmatch.fnmatch(Path(path).name, pattern) for pattern in refuse)
    consent = "refused" if refused else "unstated"
    return Source(path, status.st_size, status.st_mtime_ns // 1000, tuple(map(str, sidecars)), consent)
