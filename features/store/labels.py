"""Loading labels: a file of media, spans and classes → rows of `labels/<set>`, each in its media's batch."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError
from features.identity import seconds_to_us
from features.store.files import checksum_of
from features.store.lineage import Lineage, code_version
from features.store.read import read_table
from features.store.subjects import state_subjects, subjects_of
from features.store.tombstones import read_tombstones
from features.store.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from features.store.store import Store

    Row = dict[str, Any]

_KEY = ("media_id", "start_us", "end_us", "task", "annotator")
_COLUMNS = frozenset(
    [
        "media",
        "uri",
        "task",
        "class",
        "number",
        "weight",
        "annotator",
        "split",
        "subject",
        "start_us",
        "end_us",
        "start_seconds",
        "end_seconds",
    ]
)
_SHOWN = 5


class LoadedLabels(NamedTuple):
    """What a label file came to."""

    num_labels: int
    num_changed: int
    skipped: tuple[str, ...]


def identity_of(row: Row) -> tuple[object, ...]:
    """What tells a label from another: media, span, task, annotator; its class too where it says that one holds or not.

    A row with a class and a number (1 holds, 0 does not) is one of several of a segment, as tasks of many labels have.
    """
    own = row["class"] if row["class"] is not None and row["number"] is not None else None
    return (*(row[name] for name in _KEY), own)


class Said(NamedTuple):
    """Where a label stands in its file, and the name of the media that it used."""

    number: int
    name: str


def load_labels(store: Store, label_set: str, path: Path, *, run_id: str) -> LoadedLabels:
    """Load a label file; later rows replace earlier ones of the same media, span, task and annotator (`identity_of`).

    Args:
        store: The store.
        label_set: Name of the set; also the task where the file states none.
        path: CSV, Parquet or JSON Lines with `uri` (absolute, or relative to the file) or `media` (media_id or
            file name), `class` or `number`, and optionally `task`, a span (`start_seconds`, `end_seconds` or
            `start_us`, `end_us`; else the whole media), `weight`, `annotator`, `split` (train, dev, test),
            `subject` (who is in the media, `;` between several: kept in `media.subject_ids`).
        run_id: For lineage.

    Returns:
        Labels loaded, rows changed, and what was left out because its media is a dead letter or was refused.

    Raises:
        ConfigError: The file is unreadable, lacks a column, or labels unknown media; the store stays as it was.
    """
    given = read_label_file(path)
    finder = MediaFinder(store, path)
    rows, splits, skipped = [], [], []
    said: dict[tuple[object, ...], tuple[Said, Row]] = {}
    subjects: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(given, start=1):
        media = finder.find(row, number)
        if isinstance(media, str):
            skipped.append(media)
            continue
        rows.append(_label(row, media, label_set, path, number))
        _refuse_conflict(said, Said(number, str(row.get("media") or row.get("uri"))), rows[-1], path)
        subjects[media["media_id"]] = subjects_of(row.get("subject")) or subjects.get(media["media_id"], ())
        if row.get("split"):
            splits.append(_split(row, media, path, number))
    finder.refuse_unknown()
    lineage = Lineage(run_id, "label", code_version(), fingerprint=checksum_of(path))
    changed = upsert(store, f"labels/{label_set}", rows, key=identity_of, lineage=lineage).num_changed if rows else 0
    people = {media_id: who for media_id, who in subjects.items() if who}
    if people:
        state_subjects(store, people, lineage)
    if splits:
        upsert(store, f"splits/{label_set}", splits, key=("media_id",), lineage=lineage)
    return LoadedLabels(len(rows), changed, tuple(skipped))


class MediaFinder:
    """Finds the media that a row names, and collects the names that nobody knows."""

    def __init__(self, store: Store, path: Path) -> None:
        self._path = path
        media = read_table(store, "media", columns=["media_id", "name", "duration_us", "consent"]).to_pylist()
        self._media = {row["media_id"]: row for row in media}
        self._by_name: dict[str, list[Row]] = {}
        for row in media:
            self._by_name.setdefault(row["name"], []).append(row)
        results = read_table(store, "source_results", columns=["uri", "media_id", "status"]).to_pylist()
        self._results = {row["uri"]: row for row in results}
        self._tombstones = read_tombstones(store)
        self._unknown: list[str] = []

    def find(self, row: Row, number: int) -> Row | str:
        """The media's row, or why the label is left out."""
        name = row.get("media") or row.get("uri")
        if not name:
            message = f"row {number} of {str(self._path)!r} names no media; fill its column uri or media"
            raise ConfigError(message)
        media_id = self._media_id(str(name), row)
        if media_id is None and self._is_forgotten(str(name)):
            return f"{name}: forgotten"
        if media_id is None:
            self._unknown.append(str(name))
            return f"{name}: unknown"
        if media_id not in self._media:
            return f"{name}: a dead letter"
        if self._media[media_id]["consent"] == "refused":
            return f"{name}: use refused"
        found: Row = self._media[media_id]
        return found

    def _media_id(self, name: str, row: Row) -> str | None:
        if row.get("media"):
            named = self._by_name.get(name, [])
            return name if name in self._media else named[0]["media_id"] if len(named) == 1 else None
        result = self._results.get(name) or self._results.get(os.path.abspath(self._path.parent / name))  # noqa: PTH100 - as ingest
        return None if result is None else result["media_id"] or "unreadable"

    def _is_forgotten(self, name: str) -> bool:
        if self._tombstones is None:
            return False
        place = self._tombstones.uri_hash(os.path.abspath(self._path.parent / name))  # noqa: PTH100 - as ingest
        return name in self._tombstones.media_ids or place in self._tombstones.uris

    def refuse_unknown(self) -> None:
        """Complain about all unknown media at once."""
        if self._unknown:
            shown = ", ".join(repr(name) for name in self._unknown[:_SHOWN])
            more = f" and {len(self._unknown) - _SHOWN} more" if len(self._unknown) > _SHOWN else ""
            message = (
                f"{str(self._path)!r} names media that the store does not know: {shown}{more}; "
                "ingest them first, or take the rows out"
            )
            raise ConfigError(message)


def _refuse_conflict(said: dict[tuple[object, ...], tuple[Said, Row]], here: Said, row: Row, path: Path) -> None:
    """Refuse two labels of one media, under two names, that say something else; of one name the later counts.

    Raises:
        ConfigError: They do.
    """
    before = said.get(identity_of(row))
    said[identity_of(row)] = here, row
    if before is None or before[0].name == here.name:
        return
    what, other = ((one["class"], one["number"]) for one in (before[1], row))
    if what != other:
        stated = [value if value is not None else number for value, number in (what, other)]
        message = (
            f"rows {before[0].number} ({before[0].name!r}) and {here.number} ({here.name!r}) of {str(path)!r} name the "
            f"same media, {row['media_id']}, and say {stated[0]!r} and {stated[1]!r}; take one out"
        )
        raise ConfigError(message)


def read_label_file(path: Path) -> list[Row]:
    """Rows of a label file as they stand there.

    Raises:
        ConfigError: The file is missing or unreadable, or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    if not path.is_file():
        message = f"there is no label file {str(path)!r}; check the path"
        raise ConfigError(message)
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        elif path.suffix in (".jsonl", ".ndjson", ".json"):
            table = pj.read_json(path)
        else:
            types = dict.fromkeys(_COLUMNS, pa.string())
            text = pc.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=[""])  # "NA" is a class
            table = pc.read_csv(path, convert_options=text)
    except (pa.ArrowInvalid, OSError) as error:
        message = f"cannot read the label file {str(path)!r} ({error}); give CSV, Parquet or JSON Lines"
        raise ConfigError(message) from error
    _check_columns(path, table.column_names)
    rows: list[Row] = table.to_pylist()
    return rows


def _check_columns(path: Path, names: Sequence[str]) -> None:
    there = ", ".join(names)
    if not {"uri", "media"} & set(names):
        message = f"{str(path)!r} has neither a column uri nor media (it has: {there}); add one"
        raise ConfigError(message)
    if not {"class", "number"} & set(names):
        message = f"{str(path)!r} has neither a column class nor number (it has: {there}); add one"
        raise ConfigError(message)


def _label(row: Row, media: Row, label_set: str, path: Path, number: int) -> Row:
    start_us, end_us = span_of(row, media, path, number)
    value, weight = _float(row, "number", path, number), _float(row, "weight", path, number)
    if row.get("class") in (None, "") and value is None:
        message = f"row {number} of {str(path)!r} has neither a class nor a number; fill one, or take the row out"
        raise ConfigError(message)
    return {
        "media_id": media["media_id"],
        "start_us": start_us,
        "end_us": end_us,
        "task": row.get("task") or label_set,
        "class": None if row.get("class") in (None, "") else str(row["class"]),
        "number": value,
        "weight": 1.0 if weight is None else weight,
        "annotator": row.get("annotator"),
    }


def span_of(row: Row, media: Row, path: Path, number: int) -> tuple[int, int]:
    """Start and end that a row of a file states of its media, the whole where it states none.

    Raises:
        ConfigError: They are no numbers, or pass the media's end.
    """
    duration_us = media["duration_us"]
    start_us, end_us = _time_us(row, "start", path, number), _time_us(row, "end", path, number)
    start_us = 0 if start_us is None else start_us
    end_us = duration_us if end_us is None else end_us
    if not 0 <= start_us < end_us <= duration_us:
        message = (
            f"row {number} of {str(path)!r} spans [{start_us}, {end_us}) µs, but the media lasts {duration_us} µs; "
            "mend its start and end"
        )
        raise ConfigError(message)
    return start_us, end_us


def _time_us(row: Row, name: str, path: Path, number: int) -> int | None:
    us, seconds = _float(row, f"{name}_us", path, number), _float(row, f"{name}_seconds", path, number)
    if us is not None:
        return int(us)
    return None if seconds is None else seconds_to_us(seconds)


def _float(row: Mapping[str, Any], name: str, path: Path, number: int) -> float | None:
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


def _split(row: Row, media: Row, path: Path, number: int) -> Row:
    if row["split"] not in ("train", "dev", "test"):
        message = f"row {number} of {str(path)!r} has split {row['split']!r}; give train, dev or test"
        raise ConfigError(message)
    return {"group_id": media["media_id"], "media_id": media["media_id"], "split": row["split"]}
