"""The rows of a manifest file, one after the other, none of them larger than what a row may hold."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from features.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MANIFEST_SUFFIXES = frozenset({".csv", ".jsonl", ".ndjson", ".parquet"})
"""Suffixes of manifests: a file that is named with one of them is a list of sources, and no source."""

UNKNOWN_SUFFIXES = frozenset({".arrow", ".feather", ".json", ".ods", ".tsv", ".xls", ".xlsx", ".yaml", ".yml"})
"""Suffixes of tables that are no manifests."""

MAX_TEXT_BYTES = 1 << 20
"""Bytes of a field at most."""

_MAX_LINE_BYTES = 4 << 20
_MAX_GROUP_BYTES = 1 << 30
_ROWS_A_READ = 64
_SHOWN = 60


class BadRow(NamedTuple):
    """A row that cannot be used: its number from 1, without the header, and why."""

    number: int
    message: str


class RawRow(NamedTuple):
    """A row as it stands in the file; `number` counts from 1, without the header."""

    number: int
    cells: Mapping[str, Any]


def read_rows(path: Path) -> Iterator[RawRow | BadRow]:
    """Rows of a CSV, Parquet or JSON Lines file.

    Of CSV and JSON Lines, UTF-8 is read; a row that is not, or is cut short, or too large, costs itself.

    Raises:
        ConfigError: The file is of another kind, cannot be read, or not even its header can.
    """
    suffix = path.suffix.lower()
    if suffix not in MANIFEST_SUFFIXES:
        message = f"{str(path)!r} is no manifest (its suffix is {suffix!r}); give CSV, Parquet or JSON Lines"
        raise ConfigError(message)
    readers = {".csv": _read_csv, ".parquet": _read_parquet}
    try:
        yield from readers.get(suffix, _read_json_lines)(path)
    except OSError as error:
        message = f"cannot read the manifest {str(path)!r} ({error.strerror or error}); check that it may be read"
        raise ConfigError(message) from error


def _read_csv(path: Path) -> Iterator[RawRow | BadRow]:
    with path.open("rb") as file, _large_fields():
        lines = _Lines(file)
        reader = csv.reader(lines, strict=True)
        names = _header(path, reader)
        number = 0
        while True:
            number, lines.problem = number + 1, ""
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, _Unreadable) as error:
                yield BadRow(number, lines.problem or f"is no CSV ({error}); mend its quotes, or take it out")
                if isinstance(error, _Unreadable) or "field larger" in str(error):
                    yield BadRow(number + 1, "and all after it are left out: a quote that was opened before never ends")
                    return
                continue
            if lines.problem:
                yield BadRow(number, lines.problem)
            elif cells and len(cells) != len(names):
                yield BadRow(number, _wrong_width(cells, len(names)))
            elif cells:
                yield RawRow(number, dict(zip(names, cells, strict=True)))


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip() for name in next(reader, [])]
    except (csv.Error, _Unreadable) as error:
        message = f"cannot read the header of the manifest {str(path)!r} ({error}); write it as CSV in UTF-8"
        raise ConfigError(message) from error
    if any("\ufffd" in name or "\0" in name for name in names):
        message = f"the header of the manifest {str(path)!r} is not UTF-8 ({names!r}); save it as UTF-8"
        raise ConfigError(message)
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        message = f"the manifest {str(path)!r} has {doubled[0]!r} more than once in its header; rename one"
        raise ConfigError(message)
    return names


def _wrong_width(cells: list[str], num_columns: int) -> str:
    shown = ",".join(cells)[:_SHOWN]
    return f"has {len(cells)} of {num_columns} cells ({shown!r}); it may be cut short, or a comma lacks its quotes"


class _Unreadable(Exception):
    """From here on, nobody can tell where a row starts."""


class _Lines:
    """Lines of a CSV file as text; one that is not UTF-8, or too long, is told and has no cells that can be used.

    Attributes:
        problem: What is wrong with the lines since it was last emptied.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._is_first = True
        self.problem = ""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(_MAX_LINE_BYTES)
        if not line:
            raise StopIteration
        if self._is_first:
            self._is_first, line = False, line.removeprefix(b"\xef\xbb\xbf")
        if len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
            return self._too_long(line)
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            bad = line[max(error.start - 8, 0) : error.end + 8]
            self.problem = f"is not UTF-8 (at {bad!r}); save the file as UTF-8"
            return line.decode("utf-8", errors="replace")

    def _too_long(self, line: bytes) -> str:
        """Pass over the rest of a line, a piece at a time."""
        num_bytes, num_quotes = len(line), line.count(b'"')
        while not line.endswith(b"\n"):
            line = self._file.readline(_MAX_LINE_BYTES)
            if not line:
                break
            num_bytes, num_quotes = num_bytes + len(line), num_quotes + line.count(b'"')
        self.problem = (
            f"has a line of {num_bytes} bytes, and a field may have {MAX_TEXT_BYTES}; write long texts into files and "
            "name them in text_file"
        )
        if num_quotes % 2:
            raise _Unreadable(self.problem)
        return "\n"


@contextmanager
def _large_fields() -> Iterator[None]:
    """The limit of the csv module is one for the whole process."""
    before = csv.field_size_limit(_MAX_LINE_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _read_json_lines(path: Path) -> Iterator[RawRow | BadRow]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE_BYTES):
            number += 1
            num_bytes = len(line)
            while len(line) == _MAX_LINE_BYTES and not line.endswith(b"\n"):
                line = file.readline(_MAX_LINE_BYTES)
                num_bytes += len(line)
            if num_bytes > _MAX_LINE_BYTES:
                yield BadRow(number, f"has {num_bytes} bytes, {_MAX_LINE_BYTES} at most; write its text into a file")
            elif line.strip():
                yield _json_row(number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)


def _json_row(number: int, line: bytes) -> RawRow | BadRow:
    try:
        cells = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        bad = line[max(error.start - 8, 0) : error.end + 8]
        return BadRow(number, f"is not UTF-8 (at {bad!r}); save the file as UTF-8")
    except (ValueError, RecursionError) as error:
        return BadRow(number, f"is no JSON ({line[:_SHOWN]!r}: {error}); it may be cut short: write an object a line")
    if not isinstance(cells, dict):
        return BadRow(number, f"is no JSON object ({line[:_SHOWN]!r}); write an object a line")
    return RawRow(number, cells)


def _read_parquet(path: Path) -> Iterator[RawRow | BadRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            groups = (file.metadata.row_group(group) for group in range(file.metadata.num_row_groups))
            largest = max((group.total_byte_size for group in groups), default=0)
            if largest > _MAX_GROUP_BYTES:
                message = (
                    f"the manifest {str(path)!r} has a row group of {largest} bytes, {_MAX_GROUP_BYTES} at most; write "
                    "long texts into files and name them in text_file"
                )
                raise ConfigError(message)
            for rows in file.iter_batches(batch_size=_ROWS_A_READ):
                for cells in rows.to_pylist():
                    number += 1
                    yield RawRow(number, cells)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        if number:
            yield BadRow(number + 1, f"and all after it cannot be read ({error}); write the file again")
            return
        message = f"cannot read the manifest {str(path)!r} ({error}); it may be cut short: write it again"
        raise ConfigError(message) from error
