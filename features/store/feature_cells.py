"""Cells of files of vectors: text or Parquet → columns, and columns → float32 vectors of one width."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

PLACES = ("media", "uri", "start_us", "end_us", "start_seconds", "end_seconds", "order")
"""Columns that tell media and span of a vector."""

VALUES = "values"
"""Column of lists."""

_SHOWN = 5
_MISSING = frozenset({"", "na", "nan", "null", "n/a", "#n/a", "none", "inf", "-inf", "+inf", "infinity", "-infinity"})


def read_cells(path: Path) -> pa.Table:
    """All of a CSV (or `.tsv`) or Parquet file; of a text file every cell is text.

    Raises:
        ConfigError: The file is missing, unreadable or without rows, or two of its columns have one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        message = f"there is no file {str(path)!r}; check the path"
        raise ConfigError(message)
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else _read_text(path)
    except (pa.ArrowInvalid, OSError) as error:
        message = f"cannot read {str(path)!r} ({error}); give CSV, Parquet, or a NumPy array with --index"
        raise ConfigError(message) from error
    names = [name.strip() for name in table.column_names]  # some trackers write a blank after each comma
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        message = f"{str(path)!r} has more than one column {twice[0]!r}; rename or take out all but one"
        raise ConfigError(message)
    if not table.num_rows:
        message = f"{str(path)!r} has no rows; give a file with a vector a row"
        raise ConfigError(message)
    return _named(table.rename_columns(names))


def _read_text(path: Path) -> pa.Table:
    """As text: a type that the first rows suggest may not fit the later ones, and `0017` is a name."""
    import pyarrow as pa
    import pyarrow.csv as pc

    parse = pc.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ",")
    with pc.open_csv(path, parse_options=parse) as reader:
        names = reader.schema.names
    convert = pc.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    return pc.read_csv(path, parse_options=parse, convert_options=convert)


def _named(table: pa.Table) -> pa.Table:
    """The table with the names of its media as text: Parquet may have numbers there."""
    import pyarrow as pa

    for name in {"media", "uri"}.intersection(table.column_names):
        place = table.column_names.index(name)
        if not pa.types.is_string(table[name].type):
            table = table.set_column(place, name, table[name].cast(pa.string()))
    return table


def numbers_of(path: Path, table: pa.Table, names: Sequence[str]) -> NDArray[np.float32]:
    """Columns side by side, float32 [n, columns]; a cell without a number is NaN.

    Raises:
        ConfigError: A column holds something else.
    """
    columns, texts = {}, {}
    for name in names:
        try:
            columns[name] = _numbers(table[name])
        except ValueError as error:
            texts[name] = str(error)
    if texts:
        shown = ", ".join(f"{name} ({text})" for name, text in list(texts.items())[:_SHOWN])
        more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
        message = f"{str(path)!r} has columns that are no numbers: {shown}{more};"
        raise ConfigError(message + " mend them, or choose the others with --columns 'GLOB'")
    return np.column_stack(list(columns.values()))


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column as numbers.

    Raises:
        ValueError: It has a cell that is none; the message tells the first.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_string(kind):
        cells = pc.utf8_trim_whitespace(column)
        missing = pc.is_in(pc.utf8_lower(cells), value_set=pa.array(sorted(_MISSING)))
        cells = pc.if_else(missing, pa.scalar(None, pa.string()), cells)
        try:
            column = pc.cast(cells, pa.float64())
        except pa.ArrowInvalid as error:
            raise ValueError(_first_text(column)) from error
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
        message = f"{kind}"
        raise ValueError(message)
    with np.errstate(over="ignore"):  # what float32 cannot hold is a failure of its row
        return np.asarray(column.cast(pa.float64()).to_numpy(), np.float32)


def _first_text(column: pa.ChunkedArray) -> str:
    for number, cell in enumerate(column.to_pylist(), start=1):
        try:
            if cell is not None and cell.strip().lower() not in _MISSING:
                float(cell)
        except ValueError:
            return f"{cell!r} in row {number}"
    return "text"


def vectors_of(path: Path, column: pa.ChunkedArray) -> NDArray[np.float32]:
    """A column of lists, float32 [n, width]; a member without a number is NaN.

    Raises:
        ConfigError: A cell is no list of numbers, or they differ in length.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type):
        column = pa.chunked_array([pa.array(_parsed(path, column), pa.list_(pa.float64()))])
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)):
        message = f"the column values of {str(path)!r} holds {kind}; give lists of numbers"
        raise ConfigError(message)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy()
    odd = np.flatnonzero((lengths != lengths[0]) | (lengths == 0))
    if len(odd):
        place = int(odd[0])
        message = f"row {place + 1} of {str(path)!r} has a vector of {lengths[place]} numbers, row 1 of {lengths[0]};"
        raise ConfigError(message + " give all the same number, at least one")
    flat = pc.list_flatten(column).cast(pa.float64()).to_numpy()
    with np.errstate(over="ignore"):
        return np.asarray(flat, np.float32).reshape(len(column), -1)


def _parsed(path: Path, column: pa.ChunkedArray) -> list[list[float]]:
    """JSON lists of a text file."""
    found = []
    for number, cell in enumerate(column.to_pylist(), start=1):
        try:
            parsed: Any = json.loads(cell)
            found.append([float("nan") if one is None else float(one) for one in parsed])
        except (ValueError, TypeError) as error:
            message = f"row {number} of {str(path)!r} has values {cell!r:.60}, which are no list of numbers;"
            raise ConfigError(message + " write [0.5, 1]") from error
    return found
