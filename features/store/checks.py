"""What must hold of one file and of one batch's rows in one table; `features.store.verify` asks for each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from features.schema import data_schema_of
from features.store.files import checksum_in_name, checksum_of, reason_of
from features.store.storage import parquet_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

PLACE = "place"
"""Column of rows that are checked: number of the file that they stand in."""

_NAME_OF_VERSION_1 = re.compile(r"part-\d{5}-[0-9a-f]{32}\.parquet")


class LiveFile(NamedTuple):
    """A file as a table's log lists it; `num_rows` is None where the log does not say."""

    table: str
    batch_id: str
    path: str
    size_bytes: int
    num_rows: int | None


class Problem(NamedTuple):
    """What is wrong, with which of a batch's files (None: with the batch)."""

    kind: str
    what: str
    place: int | None = None


class Rules(NamedTuple):
    """What must hold of a table's rows.

    Attributes:
        key: Columns that tell a row of a batch from all others.
        span: Columns of start and end of its half-open span.
        time: Column that a media's rows are sorted by, where they must be.
        told_apart_by: Column that may tell rows of one key apart, too large to be read unless there are some.
    """

    key: tuple[str, ...] = ()
    span: tuple[str, str] | None = None
    time: str | None = None
    told_apart_by: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """All that is read of each row."""
        valid = ("valid_start_us", "valid_end_us") if self.time == "t_us" else ()
        return tuple(dict.fromkeys([*self.key, *(self.span or ()), *valid]))


_SPAN = ("start_us", "end_us")
_TEXT = ("source", "language", "speaker", "text")
_RULES = {
    "sources": Rules(("uri", "size_bytes", "mtime_us", "attempt")),
    "source_results": Rules(("uri",)),
    "media": Rules(("media_id",)),
    "frames": Rules(("media_id", "t_us"), time="t_us"),
    "audio": Rules(("media_id", *_SPAN), _SPAN, "start_us"),
    "transcripts": Rules(("media_id", *_SPAN, *_TEXT), _SPAN, "start_us"),
    "shots@1": Rules(("media_id", "start_us"), _SPAN, "start_us"),
    "motion@1": Rules(("media_id", "start_us"), _SPAN, "start_us"),
    "features": Rules(("media_id", *_SPAN), _SPAN, "start_us", "values"),
    "coverage": Rules(("media_id",)),
    "labels": Rules(("media_id", *_SPAN, "task", "annotator", "class"), _SPAN),
    "splits": Rules(("media_id",)),
    "scores": Rules(("media_id", *_SPAN, "task"), _SPAN),
    "runs": Rules(("run_id", "stage", "started_at")),
    "tombstones": Rules(("media_id", "uri_hash")),
}


def rules_of(table: str) -> Rules:
    """What must hold of a table's rows."""
    return _RULES.get(table.partition("/")[0], Rules())


def check_file(folder: Path, file: LiveFile, *, quick: bool) -> tuple[Problem, ...]:
    """What is wrong with a file, beside what its log states.

    Args:
        folder: The table's folder.
        file: As the log lists it.
        quick: Do not read all its bytes: a flipped one goes unnoticed.
    """
    path = folder / file.path
    if not path.is_file():
        return (Problem("missing", "the file is missing"),)
    try:
        problems = [*_check_size(path, file), *_check_footer(path, file)]
        if not quick:
            problems += _check_bytes(path)
    except OSError as error:
        return (Problem("unreadable", f"the file cannot be read ({error.strerror or reason_of(error)})"),)
    return (*problems, *_check_name(file))


def is_checkable(path: str) -> bool:
    """Whether a file's name states its checksum; those of stores of version 1 do not."""
    return checksum_in_name(path) is not None


def _check_size(path: Path, file: LiveFile) -> Iterator[Problem]:
    size_bytes = path.stat().st_size
    if size_bytes != file.size_bytes:
        yield Problem("size", f"has {size_bytes:,} bytes, {file.size_bytes:,} were committed")


def _check_bytes(path: Path) -> Iterator[Problem]:
    stated = checksum_in_name(path.name)
    if stated is not None and checksum_of(path) != stated:
        yield Problem("checksum", "its bytes are not those that were committed (the checksum differs from its name's)")


def _check_footer(path: Path, file: LiveFile) -> Iterator[Problem]:
    try:
        with parquet_file(path) as parquet:
            schema, num_rows = parquet.schema_arrow, parquet.metadata.num_rows
    except (OSError, pa.ArrowException) as error:
        yield Problem("unreadable", f"is no readable Parquet ({reason_of(error)[:200]})")
        return
    if file.num_rows is not None and num_rows != file.num_rows:
        yield Problem("rows", f"has {num_rows:,} rows, {file.num_rows:,} were committed")
    wanted = data_schema_of(file.table)  # a column that a newer schema added is null in an older file
    wrong = [field.name for field in schema if field.name not in wanted.names or wanted.field(field.name) != field]
    if wrong:
        yield Problem("schema", f"has columns that the table does not, or of other types: {', '.join(wrong)}")


def _check_name(file: LiveFile) -> Iterator[Problem]:
    if not is_checkable(file.path) and not _NAME_OF_VERSION_1.fullmatch(file.path.rpartition("/")[2]):
        yield Problem("foreign", "was not written by Triptych, so nothing vouches for its rows")


def read_rows(folder: Path, files: Sequence[LiveFile], columns: Sequence[str]) -> pa.Table:
    """Some columns of a batch's files, and the place of each row's file; a column that a file lacks is null.

    Raises:
        OSError, ArrowException: A file is damaged.
    """
    wanted = data_schema_of(files[0].table) if files else pa.schema([])
    fields = [wanted.field(name) for name in columns]
    tables = []
    for place, file in enumerate(files):
        with parquet_file(folder / file.path) as parquet:
            there = [name for name in columns if name in parquet.schema_arrow.names]
            rows = parquet.read(columns=there)
            num_rows = parquet.metadata.num_rows
        data = [rows[f.name].cast(f.type) if f.name in there else pa.nulls(num_rows, f.type) for f in fields]
        places = pa.repeat(pa.scalar(place, pa.int32()), num_rows)
        tables.append(pa.table([*data, places], schema=pa.schema([*fields, pa.field(PLACE, pa.int32())])))
    return pa.concat_tables(tables)


def check_rows_of(table: str, rows: pa.Table) -> Iterator[Problem]:
    """What is wrong among a batch's rows in one table, but for repeated keys."""
    rules = rules_of(table)
    required = [name for name in ("media_id", "t_us", *_SPAN) if name in rules.columns]
    for name in required:
        if rows[name].null_count and table != "tombstones":
            yield _where(rows, pc.is_null(rows[name]), "null", f"{{count}} rows without {name}")
            return
    if rules.span is not None:
        start, end = (rows[name] for name in rules.span)
        bad = pc.or_(pc.less(start, 0), pc.greater_equal(start, end))
        yield from _some(rows, bad, "span", "{count} rows whose span does not start at 0 or later, or is empty")
    if rules.time == "t_us":
        yield from _check_pictures(rows)
    if rules.time is not None:
        yield from _check_order(rows, rules.time)


def _check_pictures(rows: pa.Table) -> Iterator[Problem]:
    t_us, start, end = (rows[name] for name in ("t_us", "valid_start_us", "valid_end_us"))
    inside = pc.and_(pc.less_equal(start, t_us), pc.less_equal(t_us, end))
    bad = pc.or_(pc.less(t_us, 0), pc.invert(pc.fill_null(inside, True)))
    yield from _some(rows, bad, "span", "{count} pictures outside the stretch that they stand for")


def _check_order(rows: pa.Table, time: str) -> Iterator[Problem]:
    """Rows of a media stand together in a file, sorted by time."""
    if rows.num_rows < 2:
        return
    media, place, times = (rows[name].combine_chunks() for name in ("media_id", PLACE, time))
    same = pc.and_(pc.equal(media[1:], media[:-1]), pc.equal(place[1:], place[:-1]))
    back = pc.and_(same, pc.less(times[1:], times[:-1]))
    yield from _some(rows[1:], back, "order", "{count} rows that stand before earlier ones of their media")
    begins = rows.filter(pa.concat_arrays([pa.array([True]), pc.invert(same)]))
    counts = begins.group_by([PLACE, "media_id"]).aggregate([([], "count_all")])
    apart = counts.filter(pc.greater(counts["count_all"], 1))
    yield from _some(apart, pa.repeat(True, apart.num_rows), "order", "{count} media whose rows do not stand together")


def repeated_keys(table: str, rows: pa.Table, *, more: Sequence[str] = ()) -> pa.Table:
    """Keys that more than one row has: the key's columns and `more`, `count`, and the last file that has it."""
    key = [*rules_of(table).key, *more] if rules_of(table).key else []
    if not key or rows.num_rows < 2:
        return rows.schema.empty_table()
    counts = rows.group_by(key).aggregate([([], "count_all"), (PLACE, "max")])
    found = counts.filter(pc.greater(counts["count_all"], 1))
    return found.rename_columns([*key, "count", PLACE])


def _some(rows: pa.Table, bad: pa.Array, kind: str, text: str) -> Iterator[Problem]:
    if pc.any(bad).as_py():
        yield _where(rows, bad, kind, text)


def _where(rows: pa.Table, bad: pa.Array, kind: str, text: str) -> Problem:
    found = rows.filter(bad)
    example = found.slice(0, 1).to_pylist()[0]
    place = example.pop(PLACE)
    names = ("media_id", "t_us", *_SPAN)
    shown = ", ".join(f"{name} {example[name]}" for name in names if example.get(name) is not None)
    return Problem(kind, text.format(count=found.num_rows) + (f", such as {shown}" if shown else ""), place)
