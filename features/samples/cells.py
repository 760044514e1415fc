"""Cells of a manifest: each is checked, and what is wrong with it costs its row."""

from __future__ import annotations

import math
import os
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError, TriptychError
from features.samples.rows import MAX_TEXT_BYTES
from features.sources.urls import check_url, hidden, is_url
from features.store.subjects import subjects_of
from features.transcripts.language import language_tag

if TYPE_CHECKING:
    from collections.abc import Mapping

PARTS = ("video", "image", "audio", "text", "text_file")
COLUMNS = (*PARTS, "media_name", "consent", "subject_ids", "language", "recorded_at")
"""Columns with a meaning of their own; all others are labels."""

_CONSENTS = ("granted", "refused", "unstated")
_SHOWN = 80

LabelValue = str | int | float | bool


class RowError(TriptychError):
    """Why a row is left out."""


def is_empty(value: object) -> bool:
    """Whether a cell says nothing: null, white space, or no number."""
    return value is None or (isinstance(value, str) and not value.strip()) or (value != value)


def text_in(cells: Mapping[str, Any], name: str) -> str | None:
    """A text, as it stands there; None where the cell is empty.

    Raises:
        RowError: It is none.
    """
    value = cells.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        message = f"has {name} {shown(value)}, which is no text; write it as one"
        raise RowError(message)
    try:
        num_bytes = len(value.encode())
    except UnicodeEncodeError:
        message = f"has {name} {shown(value)}, which is no Unicode text; mend its surrogates"
        raise RowError(message) from None
    if num_bytes > MAX_TEXT_BYTES:
        message = (
            f"has {name} of {num_bytes} bytes ({shown(value)}), {MAX_TEXT_BYTES} at most; write it into a file and "
            "name that in text_file"
        )
        raise RowError(message)
    return value


def path_in(cells: Mapping[str, Any], name: str, folder: str) -> str | None:
    """An absolute path, of one relative to the folder; or a URL.

    Raises:
        RowError: It is none.
    """
    value = text_in(cells, name)
    if value is None:
        return None
    if is_url(value.strip()):
        try:
            return check_url(value.strip())
        except ConfigError as error:
            message = f"has {name} {hidden(value)!r}, which cannot be read: {error}"
            raise RowError(message) from error
    if "://" in value or "\0" in value:
        message = f"has {name} {shown(value)}, which is no path of a file; copy it here and name its path"
        raise RowError(message)
    return os.path.abspath(os.path.join(folder, value.strip()))  # noqa: PTH100, PTH118 - without resolving links


def consent_in(cells: Mapping[str, Any]) -> str:
    """What was agreed to; `unstated` where the cell is empty.

    Raises:
        RowError: It is none.
    """
    value = cells.get("consent", "unstated")
    stated = value.strip().lower() if isinstance(value, str) else value
    if stated not in _CONSENTS:
        message = f"has consent {shown(value)}; give one of {', '.join(_CONSENTS)}"
        raise RowError(message)
    return str(stated)


def language_in(cells: Mapping[str, Any]) -> str | None:
    """A language, BCP 47.

    Raises:
        RowError: It is none.
    """
    value = text_in(cells, "language")
    tag = None if value is None else language_tag(value.strip())
    if value is not None and tag is None:
        message = f"has language {shown(value)}, which is no code; give one such as en, de or pt-BR"
        raise RowError(message)
    return tag


def subjects_in(cells: Mapping[str, Any]) -> tuple[str, ...]:
    """Pseudonyms, sorted, each once.

    Raises:
        RowError: It is none.
    """
    value = cells.get("subject_ids", "")
    is_list = isinstance(value, list) and all(isinstance(part, str) for part in value)
    found = subjects_of(value) if is_list or isinstance(value, str) else ()
    if (not is_list and not isinstance(value, str)) or any(not part.isprintable() for part in found):
        message = f"has subject_ids {shown(value)}; write pseudonyms with ; between them, or a list of texts"
        raise RowError(message)
    return found


def recorded_at_in(cells: Mapping[str, Any]) -> datetime | None:
    """A time, UTC; where it names no zone it is taken for UTC.

    Raises:
        RowError: It is none.
    """
    value = cells.get("recorded_at")
    if value is None:
        return None
    try:
        when = value if isinstance(value, date) else datetime.fromisoformat(value.strip())
        if not isinstance(when, datetime):
            when = datetime(when.year, when.month, when.day, tzinfo=UTC)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, AttributeError, TypeError, OverflowError):
        message = f"has recorded_at {shown(value)}; write ISO 8601, such as 2026-01-31T09:30:00Z"
        raise RowError(message) from None


def labels_in(cells: Mapping[str, Any]) -> tuple[tuple[str, LabelValue], ...]:
    """Task and value of every cell that is not of `COLUMNS`.

    Raises:
        RowError: It is none.
    """
    return tuple((name, _label(name, value)) for name, value in cells.items() if name not in COLUMNS)


def _label(name: str, value: object) -> LabelValue:
    if isinstance(value, str):
        return (text_in({name: value}, name) or "").strip()
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    message = f"has label {name} {shown(value)}, which is neither a text nor a finite number; write one"
    raise RowError(message)


def shown(value: object) -> str:
    """A cell as an error shows it."""
    return f"{str(value)[:_SHOWN]!r}" if isinstance(value, str) else repr(value)[:_SHOWN]
