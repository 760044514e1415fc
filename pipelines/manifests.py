"""Manifests as sources: each row that can be used is one, looked at as it is listed."""

from __future__ import annotations

import fnmatch
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import FetchError
from features.samples.manifest import is_manifest, read_manifest
from features.samples.record import stated_size
from features.samples.rows import BadRow
from features.sources.remote import look
from features.sources.urls import is_url
from features.store.plan import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from features.samples.manifest import Manifest, ManifestRow
    from features.samples.record import Sample

    Sidecars = Callable[[Iterable[str]], Mapping[str, tuple[str, ...]]]

_LOG = logging.getLogger(__name__)

_SHOWN = 20
"""Rows of a manifest that are complained of one by one."""


def split_manifests(given: Sequence[str]) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Other sources, and manifests, of what a user named.

    Raises:
        ConfigError: A table of another kind was named.
    """
    paths = {name: Path(name).expanduser() for name in given}
    manifests = [name for name, path in paths.items() if is_manifest(path) and path.is_file()]
    return tuple(name for name in given if name not in manifests), tuple(paths[name] for name in manifests)


def read_manifests(paths: Iterable[Path]) -> list[Manifest]:
    """Manifests, each with its rows; what is wrong with a row is told as a warning.

    Raises:
        ConfigError: A file cannot be read, or has no column that names a media.
    """
    manifests = []
    for path in paths:
        manifest = read_manifest(path)
        _warn(manifest, manifest.problems)
        manifests.append(manifest)
    return manifests


def manifest_sources(
    manifest: Manifest, refuse: Sequence[str], sidecars_of: Sidecars, *, allow_private: bool = False
) -> Iterator[Source]:
    """Sources of a manifest's rows; one whose file is gone is told as a warning.

    Args:
        manifest: As it was read.
        refuse: Globs of sources whose use was refused; matched against the paths and names of a row's files, its uri
            and its name.
        sidecars_of: Text files beside the media of some folders, by the paths of the media without their suffixes.
        allow_private: Rows may name web servers at private addresses.
    """
    folders = {os.path.dirname(row.uri) for row in manifest.rows if row.sample.is_file}  # noqa: PTH120 - a million
    beside = sidecars_of(sorted(folder for folder in folders if Path(folder).is_dir()))
    problems = []
    for row in manifest.rows:
        try:
            yield _source(row, refuse, beside, allow_private=allow_private)
        except FetchError as error:
            problems.append(BadRow(row.number, f"names what cannot be fetched: {error}"))
        except (OSError, ValueError) as error:
            gone = getattr(error, "filename", None) or row.uri
            reason = getattr(error, "strerror", None) or error
            problems.append(BadRow(row.number, f"names {str(gone)!r}, which cannot be read ({reason}); mend its path"))
    _warn(manifest, problems)


def as_it_is_now(source: Source, *, allow_private: bool = False) -> Source | None:
    """A source of a manifest's row with the size and time of its files now; None where one is gone."""
    sample = source.sample
    if sample is None:
        return None
    try:
        size_bytes, mtime_us = _stated(sample, allow_private=allow_private)
    except (OSError, FetchError):
        return None
    return source._replace(size_bytes=size_bytes, mtime_us=mtime_us)


def _stated(sample: Sample, *, allow_private: bool) -> tuple[int, int]:
    """As `stated_size`, of files here and elsewhere."""
    far = [look(url, allow_private=allow_private) for url in sample.files if is_url(url)]
    size_bytes, mtime_us = stated_size(tuple(path for path in sample.files if not is_url(path)), sample.text)
    return size_bytes + sum(one.size_bytes for one in far), max([mtime_us, *(one.mtime_us for one in far)])


def _source(
    row: ManifestRow, refuse: Sequence[str], beside: Mapping[str, tuple[str, ...]], *, allow_private: bool
) -> Source:
    sample = row.sample
    for path in (*sample.files, *(row.sidecars or ())):
        path.encode()  # one that is not UTF-8 can stand in no table
    for path in row.sidecars or ():
        look(path, allow_private=allow_private) if is_url(path) else Path(path).stat()
    size_bytes, mtime_us = _stated(sample, allow_private=allow_private)
    sidecars = row.sidecars
    if sidecars is None:
        sidecars = beside.get(os.path.splitext(row.uri)[0], ()) if sample.is_file else ()  # noqa: PTH122
    is_refused = any(
        fnmatch.fnmatch(name, pattern)
        for path in (*sample.files, row.uri, sample.name or "")
        for name in (path, os.path.basename(path))  # noqa: PTH119
        for pattern in refuse
    )
    consent = "refused" if is_refused else row.consent
    return Source(row.uri, size_bytes, mtime_us, sidecars, consent, etag=row.etag, sample=sample)


def _warn(manifest: Manifest, problems: Sequence[BadRow]) -> None:
    for problem in problems[:_SHOWN]:
        _LOG.warning("left out: %s", manifest.told(problem))
    if len(problems) > _SHOWN:
        _LOG.warning("left out %d more rows of %a", len(problems) - _SHOWN, str(manifest.path))
