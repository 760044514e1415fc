"""Files of precomputed vectors: CSV, Parquet or NumPy → vectors, and the media and span that each is of."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from features.errors import ConfigError
from features.identity import fingerprint
from features.store.feature_cells import PLACES, VALUES, numbers_of, read_cells, vectors_of
from features.store.files import checksum_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    Row = dict[str, Any]

_ARRAYS = (".npy", ".npz")
_SHOWN = 20


@dataclass(frozen=True)
class FeatureFile:
    """Vectors of a file, n of them.

    Attributes:
        path: The file.
        places: A row a vector, of those of the columns `media`, `uri`, `start_us`, `end_us`, `start_seconds`,
            `end_seconds`, `order` that there are.
        values: Float32 [n, width]; what float32 cannot hold is infinite.
        columns: Names of the numbers, where the file has them.
        checksum: Hex, of the file's BLAKE2b-128; of the index too, where there is one.
    """

    path: Path
    places: Sequence[Row]
    values: NDArray[np.float32]
    columns: tuple[str, ...]
    checksum: str


def read_feature_file(path: Path, index: Path | None = None, columns: str = "") -> FeatureFile:
    """Read vectors and what they are of.

    Args:
        path: CSV or Parquet with `media` or `uri`, maybe a span or `order`, and the numbers: a list column `values`
            (in CSV as JSON: `[0.5, 1]`), or all other columns in the order of the file. Or a NumPy array [n, width]:
            `.npy`, or `.npz` with one array or one called `values`.
        index: A CSV or Parquet file that states media and span of each vector, row by row; NumPy needs one.
        columns: Globs, with commas between them, of the columns that are the numbers; by default all that are left.

    Raises:
        ConfigError: The file is missing or unreadable, has no vectors or names no media, a number is none, or its
            vectors differ in size.
    """
    wanted = tuple(part.strip() for part in columns.split(",") if part.strip())
    names: tuple[str, ...] = ()
    if path.suffix in _ARRAYS:
        values = _of_array(path, index)
        places = _places(index or path, read_cells(index or path))
    else:
        table = read_cells(path)
        places = _places(path, table) if index is None else _places(index, read_cells(index))
        values, names = _of_table(path, table, wanted)
    if len(places) != len(values):
        message = f"{str(path)!r} has {len(values)} vectors, and {str(index)!r} {len(places)} rows;"
        raise ConfigError(message + " give a row of the index for each vector, in the same order")
    checksums = [checksum_of(one) for one in (path, index) if one is not None]
    return FeatureFile(path, places, values, names, fingerprint(checksums) if index is not None else checksums[0])


def _of_table(path: Path, table: pa.Table, wanted: Sequence[str]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    if VALUES in table.column_names and not wanted:
        return vectors_of(path, table[VALUES]), ()
    left = [name for name in table.column_names if name not in PLACES]
    names = [name for name in left if not wanted or any(fnmatchcase(name, glob) for glob in wanted)]
    if not names:
        what = f"column that matches {', '.join(map(repr, wanted))}" if wanted else "column of numbers"
        message = f"{str(path)!r} has no {what} (it has: {_shown(table.column_names)});"
        raise ConfigError(message + " give a file with numbers, or --columns a glob that fits")
    return numbers_of(path, table, names), tuple(names)


def _of_array(path: Path, index: Path | None) -> NDArray[np.float32]:
    if index is None:
        message = f"{str(path)!r} does not say of which media its vectors are; give --index a CSV file that does"
        raise ConfigError(message)
    values = _load(path)
    if values.ndim != 2 or values.dtype.kind not in "fiu" or not values.size:
        message = f"{str(path)!r} holds {values.dtype} of shape {list(values.shape)}; give numbers [n, width]"
        raise ConfigError(message)
    with np.errstate(over="ignore"):  # what float32 cannot hold is a failure of its row
        return np.asarray(values, np.float32)


def _load(path: Path) -> NDArray[Any]:
    from zipfile import BadZipFile

    if not path.is_file():
        message = f"there is no file {str(path)!r}; check the path"
        raise ConfigError(message)
    try:
        found = np.load(path, allow_pickle=False)
        if path.suffix == ".npy":
            return np.asarray(found)
        with found:
            name = VALUES if VALUES in found.files or len(found.files) != 1 else found.files[0]
            if name in found.files:
                return np.asarray(found[name])
            message = f"{str(path)!r} holds {len(found.files)} arrays ({_shown(found.files)}); call one 'values'"
            raise ConfigError(message)
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        message = f"cannot read the array {str(path)!r} ({error}); give one of numbers, as numpy.save writes"
        raise ConfigError(message) from error


def _places(path: Path, table: pa.Table) -> list[Row]:
    there = [name for name in PLACES if name in table.column_names]
    if not {"media", "uri"} & set(there):
        message = f"{str(path)!r} has neither a column media nor uri (it has: {_shown(table.column_names)});"
        raise ConfigError(message + " add one that names the media of each vector")
    places: list[Row] = table.select(there).to_pylist()
    return places


def _shown(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (" …" if len(names) > _SHOWN else "")
