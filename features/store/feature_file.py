"""Files of precomputed vectors: CSV, Parquet or NumPy → rows with the media and the span that they are of."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import ConfigError
from features.store.files import checksum_of

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

_PLACES = ("media", "uri", "start_us", "end_us", "start_seconds", "end_seconds", "order")
_VALUES = "values"


@dataclass(frozen=True)
class FeatureFile:
    """Vectors of a file, n of them.

    Attributes:
        path: The file.
        places: What tells media and span, a row a vector: those of `media`, `uri`, `start_us`, `end_us`,
            `start_seconds`, `end_seconds`, `order` that the file has.
        values: Float32 [n, width].
        columns: Names of the numbers, where the file has them.
        checksum: Of the file.
    """

    path: Path
    places: list[dict[str, Any]]
    values: NDArray[np.float32]
    columns: tuple[str, ...]
    checksum: str


def read_feature_file(path: Path, index: Path | None = None, columns: str = "*") -> FeatureFile:
    """Read vectors and what they are of.

    Args:
        path: CSV or Parquet with `media` or `uri`, maybe a span or `order`, and the numbers: a list column `values`, or
            a column each. Or a NumPy array [n, width] (`.npy`), with an index.
        index: For NumPy: a CSV or Parquet file that tells media and span of each vector, in order.
        columns: Glob of the columns that are numbers of the vector.

    Raises:
        ConfigError: The file is missing or unreadable, has no vectors or names no media, or its vectors differ in size.
    """
    if path.suffix == ".npy":
        return _of_array(path, index)
    table = _table(path)
    if _VALUES in table.column_names:
        return FeatureFile(path, _places(path, table), _lists(path, table[_VALUES]), (), checksum_of(path))
    names = [name for name in table.column_names if name not in _PLACES and fnmatchcase(name, columns)]
    if not names:
        message = f"{str(path)!r} has no column of numbers that matches {columns!r} (it has:"
        message += f" {', '.join(table.column_names[:20])}); give --columns a glob that fits"
        raise ConfigError(message)
    return FeatureFile(path, _places(path, table), _numbers(path, table, names), tuple(names), checksum_of(path))


def _of_array(path: Path, index: Path | None) -> FeatureFile:
    if index is None:
        message = f"{str(path)!r} does not say of which media its vectors are; give --index a CSV file that does"
        raise ConfigError(message)
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        message = f"cannot read the array {str(path)!r} ({error}); give one that numpy.save wrote, of numbers"
        raise ConfigError(message) from error
    places = _places(index, _table(index))
    if values.ndim != 2 or values.dtype.kind not in "fiu" or len(values) != len(places):
        message = (
            f"{str(path)!r} has shape {list(values.shape)} of {values.dtype}, and {str(index)!r} {len(places)} rows;"
        )
        raise ConfigError(message + " give numbers [n, width], and a row of the index for each of n")
    return FeatureFile(path, places, np.asarray(values, np.float32), (), checksum_of(path))


def _table(path: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    if not path.is_file():
        message = f"there is no file {str(path)!r}; check the path"
        raise ConfigError(message)
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            kinds = {"media": pa.string(), "uri": pa.string()}
            table = pc.read_csv(path, convert_options=pc.ConvertOptions(column_types=kinds))
    except (pa.ArrowInvalid, OSError) as error:
        message = f"cannot read {str(path)!r} ({error}); give CSV, Parquet, or a NumPy array with --index"
        raise ConfigError(message) from error
    if not table.num_rows:
        message = f"{str(path)!r} has no rows; give a file with a vector a row"
        raise ConfigError(message)
    return table


def _places(path: Path, table: pa.Table) -> list[dict[str, Any]]:
    there = [name for name in _PLACES if name in table.column_names]
    if not {"media", "uri"} & set(there):
        message = f"{str(path)!r} has neither a column media nor uri (it has: {', '.join(table.column_names[:20])});"
        raise ConfigError(message + " add one that names the media of each vector")
    places: list[dict[str, Any]] = table.select(there).to_pylist()
    return places


def _lists(path: Path, column: pa.ChunkedArray) -> NDArray[np.float32]:
    sizes = sorted({-1 if value is None else len(value) for value in column.to_pylist()})
    if len(sizes) != 1 or sizes[0] < 1:
        message = f"the vectors of {str(path)!r} have {sizes} numbers (-1: none); give all the same, at least one"
        raise ConfigError(message)
    return np.array(column.to_pylist(), np.float32)


def _numbers(path: Path, table: pa.Table, names: list[str]) -> NDArray[np.float32]:
    import pyarrow.types as types

    kinds = {name: table[name].type for name in names}
    numbers = (types.is_integer, types.is_floating, types.is_null)  # a column without any value holds no text either
    texts = [name for name, kind in kinds.items() if not any(is_one(kind) for is_one in numbers)]
    if texts:
        shown = ", ".join(f"{name} ({table[name][0].as_py()!r})" for name in texts[:5])
        message = f"{str(path)!r} has columns that are no numbers: {shown}; leave them out with --columns 'GLOB'"
        raise ConfigError(message)
    return np.column_stack([table[name].cast("float64").to_numpy(zero_copy_only=False) for name in names]).astype(
        np.float32
    )
