"""Files that name media and spans - labels, vectors - and the media of a store that they mean."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError
from features.identity import media_id_of_parts, seconds_to_us
from features.store.read import read_table
from features.store.tombstones import read_tombstones

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from features.store.store import Store

    Row = dict[str, Any]

IMPORTED = "imported:"
"""Begins the uri of a media that there are only vectors of; after it comes its name."""

_SHOWN = 5
_COLUMNS = ("media_id", "name", "duration_us", "consent", "superseded_by", "container")


def imported_id(name: str) -> str:
    """Identity of a media that there are only vectors of: BLAKE2b-128 of a namespace and its name."""
    return media_id_of_parts([os.fsencode(f"{IMPORTED}{name}")])


def name_in(row: Row) -> str:
    """What a row of a file calls its media; nothing where it names none."""
    return next((str(row[column]) for column in ("media", "uri") if row.get(column) not in (None, "")), "")


class MediaFinder:
    """Finds the media that rows of a file name, and collects the names that nobody knows.

    Args:
        store: The store.
        path: The file; a uri may be relative to it.
    """

    def __init__(self, store: Store, path: Path) -> None:
        self._path = path
        self._media: dict[str, Row] = {}
        self._by_name: dict[str, list[Row]] = {}
        self.add(read_table(store, "media", columns=_COLUMNS).to_pylist())
        results = read_table(store, "source_results", columns=["uri", "media_id", "status"]).to_pylist()
        self._results = {row["uri"]: row for row in results}
        self._tombstones = read_tombstones(store)
        self._unknown: dict[str, str] = {}

    def add(self, media: Iterable[Row]) -> None:
        """Know rows of `media`, also such as the store is only about to get."""
        for row in media:
            self._media[row["media_id"]] = row
            self._by_name.setdefault(row["name"], []).append(row)

    def find(self, row: Row, number: int) -> Row | str:
        """The media's row, or why the row of the file is left out.

        Args:
            row: With `media` (media_id or file name) or `uri`.
            number: Of the row, from 1.

        Raises:
            ConfigError: It names none.
        """
        name = name_in(row)
        if not name:
            message = f"row {number} of {str(self._path)!r} names no media; fill its column uri or media"
            raise ConfigError(message)
        media_id = self._media_id(name, row)
        if media_id is None and self.is_forgotten(name):
            return f"{name}: forgotten"
        if media_id is None:
            several = len(self._by_name.get(name, ()))
            self._unknown[name] = f"{name!r}" + (f" (the name of {several} media: write their ids)" if several else "")
            return f"{name}: unknown"
        if media_id not in self._media:
            return f"{name}: a dead letter"
        if self._media[media_id]["consent"] == "refused":
            return f"{name}: use refused"
        found: Row = self._media[media_id]
        return found

    def rows(self, media_ids: Iterable[str]) -> dict[str, Row]:
        """Rows of `media`, as far as they are known here, by id; with `batch_id`."""
        return {media_id: self._media[media_id] for media_id in media_ids}

    def knows(self, name: str) -> bool:
        """Whether the store has a media, or several, of this name or id."""
        return name in self._media or name in self._by_name

    def is_forgotten(self, name: str) -> bool:
        """Whether a media of this id or place, or one that there were only vectors of, has been forgotten."""
        if self._tombstones is None:
            return False
        if self._tombstones.media_ids.intersection((name, imported_id(name))):
            return True
        return self._tombstones.uri_hash(self._place(name)) in self._tombstones.uris

    def _media_id(self, name: str, row: Row) -> str | None:
        if row.get("media") not in (None, ""):
            named = self._by_name.get(name, [])
            current = [one for one in named if one["superseded_by"] is None] or named
            return name if name in self._media else current[0]["media_id"] if len(current) == 1 else None
        result = self._results.get(name) or self._results.get(self._place(name))
        return None if result is None else result["media_id"] or "unreadable"

    def _place(self, name: str) -> str:
        if "://" in name:
            return name
        return os.path.abspath(self._path.parent / name)  # noqa: PTH100 - as ingest, without resolving links

    def refuse_unknown(self, remedy: str = "ingest them first, or take the rows out") -> None:
        """Complain about all unknown media at once.

        Raises:
            ConfigError: There are some.
        """
        if self._unknown:
            shown = ", ".join(list(self._unknown.values())[:_SHOWN])
            more = f" and {len(self._unknown) - _SHOWN} more" if len(self._unknown) > _SHOWN else ""
            message = f"{str(self._path)!r} names media that the store does not know: {shown}{more}; {remedy}"
            raise ConfigError(message)


def span_of(row: Row, media: Row, path: Path, number: int) -> tuple[int, int]:
    """Start and end, microseconds, that a row of a file states of its media; the whole where it states none.

    Raises:
        ConfigError: They are no numbers, stand the wrong way round, or pass the media's end.
    """
    duration_us = media["duration_us"] or 0
    start_us, end_us = time_us(row, "start", path, number), time_us(row, "end", path, number)
    start_us = 0 if start_us is None else start_us
    end_us = duration_us if end_us is None else end_us
    if not 0 <= start_us < end_us <= duration_us:
        message = (
            f"row {number} of {str(path)!r} spans [{start_us}, {end_us}) µs, but the media lasts {duration_us} µs; "
            "mend its start and end"
        )
        raise ConfigError(message)
    return start_us, end_us


def time_us(row: Row, name: str, path: Path, number: int) -> int | None:
    """A time of a row, microseconds, of its column `<name>_us` or `<name>_seconds`; None where it states none.

    Raises:
        ConfigError: It is no number.
    """
    us, seconds = number_of(row, f"{name}_us", path, number), number_of(row, f"{name}_seconds", path, number)
    if us is not None:
        return int(us)
    return None if seconds is None else seconds_to_us(seconds)


def order_in(row: Row, path: Path, number: int) -> int:
    """Place of a row within its media, from 0.

    Raises:
        ConfigError: It is no whole number from 0.
    """
    value = number_of(row, "order", path, number)
    if value is None or value < 0 or value != int(value):
        message = f"row {number} of {str(path)!r} has order {row.get('order')!r}; give 0, 1, 2 and so on in each media"
        raise ConfigError(message)
    return int(value)


def number_of(row: Mapping[str, Any], name: str, path: Path, number: int) -> float | None:
    """A number of a row; None where the cell is empty.

    Raises:
        ConfigError: It is no finite number.
    """
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        result = float(value)
    except ValueError:
        result = math.nan
    if not math.isfinite(result):
        message = f"row {number} of {str(path)!r} has {name} {value!r}, which is no number; mend it"
        raise ConfigError(message)
    return result
