"""Loading labels: a file of media, spans and classes → rows of `labels/<set>`, each in its media's batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from features.errors import ConfigError
from features.store.files import checksum_of
from features.store.lineage import Lineage, code_version
from features.store.named_media import MediaFinder, name_in, number_of, span_of
from features.store.subjects import state_subjects, subjects_of
from features.store.upsert import upsert

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

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
            `subject` (who is in the media, `;` between several: kept in `media.subject_ids`). For a task of many
            labels, a row a class, with the number 1 where it holds and 0 where it does not.
        run_id: For lineage.

    Returns:
        Labels loaded, rows changed, and media that were left out: a dead letter, forgotten, or use refused.

    Raises:
        ConfigError: The file is unreadable, lacks a column, labels unknown media, or contradicts itself; the store
            stays as it was.
    """
    given = read_label_file(path)
    finder = MediaFinder(store, path)
    rows, skipped = [], []
    splits: dict[str, tuple[int, str]] = {}
    said: dict[tuple[object, ...], tuple[Said, Row]] = {}
    subjects: dict[str, tuple[str, ...]] = {}
    for number, row in enumerate(given, start=1):
        media = finder.find(row, number)
        if isinstance(media, str):
            skipped.append(media)
            continue
        rows.append(_label(row, media, label_set, path, number))
        _refuse_conflict(said, Said(number, name_in(row)), rows[-1], path)
        subjects[media["media_id"]] = subjects_of(row.get("subject")) or subjects.get(media["media_id"], ())
        if row.get("split"):
            _state_split(splits, row, media, path, number)
    finder.refuse_unknown()
    lineage = Lineage(run_id, "label", code_version(), fingerprint=checksum_of(path))
    changed = upsert(store, f"labels/{label_set}", rows, key=identity_of, lineage=lineage).num_changed if rows else 0
    people = {media_id: who for media_id, who in subjects.items() if who}
    if people:
        state_subjects(store, people, lineage)
    if splits:
        sides = [{"group_id": m, "media_id": m, "split": split} for m, (_, split) in splits.items()]
        upsert(store, f"splits/{label_set}", sides, key=("media_id",), lineage=lineage)
    return LoadedLabels(len(rows), changed, tuple(dict.fromkeys(skipped)))


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
        stated = [" ".join(repr(part) for part in one if part is not None) for one in (what, other)]
        message = (
            f"rows {before[0].number} ({before[0].name!r}) and {here.number} ({here.name!r}) of {str(path)!r} name the "
            f"same media, {row['media_id']}, and say {stated[0]} and {stated[1]}; take one out"
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
    value, weight = number_of(row, "number", path, number), number_of(row, "weight", path, number)
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


def _state_split(splits: dict[str, tuple[int, str]], row: Row, media: Row, path: Path, number: int) -> None:
    """Note on which side a media stands; segments of one media stand on one.

    Raises:
        ConfigError: There is no such split, or an earlier row says another.
    """
    split = str(row["split"])
    if split not in ("train", "dev", "test"):
        message = f"row {number} of {str(path)!r} has split {split!r}; give train, dev or test"
        raise ConfigError(message)
    before, other = splits.setdefault(media["media_id"], (number, split))
    if other != split:
        message = f"rows {before} and {number} of {str(path)!r} put media {name_in(row)!r} into {other} and {split};"
        raise ConfigError(message + " a media stands on one side: mend one of them")
