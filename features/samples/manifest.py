"""Manifests: a table whose rows are media, with what is known of each, and labels."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError
from features.samples.cells import (
    COLUMNS,
    PARTS,
    RowError,
    consent_in,
    is_empty,
    labels_in,
    language_in,
    path_in,
    recorded_at_in,
    shown,
    subjects_in,
    text_in,
)
from features.samples.record import Sample, text_tag
from features.samples.rows import MANIFEST_SUFFIXES, UNKNOWN_SUFFIXES, BadRow, RawRow, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from features.samples.cells import LabelValue

_TASK = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A row that names a media.

    Attributes:
        number: Of the row, from 1, without the header.
        uri: What the media's source is called.
        sample: What the row says of it.
        sidecars: Text files beside a video; None where the row names none, and those of its folder count.
        consent: `granted`, `refused` or `unstated`.
        labels: Task and value of each label.
    """

    number: int
    uri: str
    sample: Sample
    sidecars: tuple[str, ...] | None = None
    consent: str = "unstated"
    labels: tuple[tuple[str, LabelValue], ...] = ()

    @property
    def etag(self) -> str | None:
        """What tells its inline text from another."""
        return None if self.sample.text is None else text_tag(self.sample.text)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it was read; `problems` are rows that are left out, each with why."""

    path: Path
    rows: tuple[ManifestRow, ...]
    problems: tuple[BadRow, ...]

    def told(self, problem: BadRow) -> str:
        """What to say of a row."""
        return f"row {problem.number} of {str(self.path)!r} {problem.message}"


def is_manifest(path: Path) -> bool:
    """Whether a file is a manifest by its name.

    Raises:
        ConfigError: It is a table, but of a kind that is no manifest.
    """
    suffix = path.suffix.lower()
    if suffix in UNKNOWN_SUFFIXES:
        message = f"{str(path)!r} is neither a media nor a manifest; save it as CSV, Parquet or JSON Lines"
        raise ConfigError(message)
    return suffix in MANIFEST_SUFFIXES


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest; a bad row costs itself.

    Args:
        path: CSV, Parquet or JSON Lines, UTF-8. Columns, any of: `video`, `image`, `audio`, `text_file` (paths,
            absolute or relative to the manifest's folder), `text`, `media_name`, `consent` (granted, refused,
            unstated), `subject_ids` (`;` between several, or a list), `language`, `recorded_at` (ISO 8601; UTC where
            it names no zone). Every other column is a task, and its cells are labels.

    Raises:
        ConfigError: The file cannot be read, no row has a column that names a media, or the name of a label's column
            cannot be that of a task.
    """
    rows: list[ManifestRow] = []
    problems: list[BadRow] = []
    columns: dict[str, None] = {}
    names: dict[str, int] = {}
    for raw in read_rows(path):
        if isinstance(raw, BadRow):
            problems.append(raw)
            continue
        columns.update(dict.fromkeys(raw.cells))
        try:
            row = _row(raw, path)
            _refuse_second(names, row)
            rows.append(row)
        except RowError as error:
            problems.append(BadRow(raw.number, str(error)))
    if columns or not problems:
        _check_columns(path, columns)
    return Manifest(path, tuple(rows), tuple(problems))


def _check_columns(path: Path, names: Iterable[str]) -> None:
    if not set(PARTS) & set(names):
        there = ", ".join(map(repr, names)) or "none"
        message = (
            f"the manifest {str(path)!r} has no column that names a media (it has: {there[:_SHOWN]}); "
            f"add one of {', '.join(PARTS)}"
        )
        raise ConfigError(message)
    for name in names:
        if name not in COLUMNS and not _TASK.fullmatch(name):
            message = (
                f"the column {name!r} of the manifest {str(path)!r} cannot be the name of a task; rename it with "
                "letters, digits, _ and -"
            )
            raise ConfigError(message)


def _refuse_second(names: dict[str, int], row: ManifestRow) -> None:
    """Refuse a loose sample with the name of another: the later would take the place of the earlier."""
    if "#" not in row.uri or row.sample.is_file:
        return
    before = names.setdefault(row.uri, row.number)
    if before != row.number:
        message = f"has the name {row.sample.name!r}, as row {before} has; give each sample a media_name of its own"
        raise RowError(message)


def _row(raw: RawRow, path: Path) -> ManifestRow:
    cells = {name: value for name, value in raw.cells.items() if not is_empty(value)}
    folder = str(path.absolute().parent)
    video, image, audio, text_file = (path_in(cells, name, folder) for name in ("video", "image", "audio", "text_file"))
    text = text_in(cells, "text")
    _check_parts(cells)
    sample = Sample(
        video=video,
        image=image,
        audio=audio,
        text_file=None if video else text_file,
        text=text,
        name=text_in(cells, "media_name"),
        language=language_in(cells),
        subject_ids=subjects_in(cells),
        recorded_at=recorded_at_in(cells),
    )
    uri, name = _called(sample, path, cells)
    has_text = text is not None or text_file is not None
    sidecars = ((text_file,) if text_file else ()) if video and has_text else None
    return ManifestRow(
        raw.number, uri, sample._replace(name=sample.name or name), sidecars, consent_in(cells), labels_in(cells)
    )


def _check_parts(cells: Mapping[str, Any]) -> None:
    parts = [name for name in PARTS if name in cells]
    if not parts:
        there = ", ".join(f"{name} {shown(value)}" for name, value in cells.items()) or "all of it is empty"
        message = f"names no media ({there}); fill one of {', '.join(PARTS)}"
        raise RowError(message)
    for one, other in (("video", "image"), ("video", "audio"), ("text", "text_file")):
        if one in parts and other in parts:
            message = f"has both {one} ({shown(cells[one])}) and {other} ({shown(cells[other])}); leave one of them"
            raise RowError(message)


def _called(sample: Sample, path: Path, cells: Mapping[str, Any]) -> tuple[str, str]:
    """Uri and usual name of a row's media: of one file its own, else a place in the manifest."""
    files = sample.files
    if sample.video or (len(files) == 1 and sample.text is None):
        return files[0], os.path.basename(files[0])  # noqa: PTH119 - there may be a million
    if sample.name:
        return f"{path.absolute()}#{sample.name}", sample.name
    parts = [str(cells[name]).strip() for name in ("image", "audio", "text_file") if name in cells]
    if sample.text is not None:
        parts.append(f"text:{text_tag(sample.text)}")
    return f"{path.absolute()}#{'+'.join(parts)}", "+".join(os.path.basename(part) for part in parts)  # noqa: PTH119
