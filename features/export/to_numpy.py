"""NumPy: `data/<column>.npy` of each column of numbers, for `np.load(..., mmap_mode="r")`; texts in `data/ids.csv`.

Row i of every array and line i of `ids.csv` belong together. A null is NaN, or NaT; of whole numbers and of flags it is
0, and `<column>.valid.npy` is False there: such a file is only where something is null.
"""

from __future__ import annotations

import io
import math
import re
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from features.export.cells import flat_rows
from features.export.folder import DATA
from features.export.manifest import FileDone
from features.export.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from features.export.manifest import Part

_IDS = f"{DATA}/ids.csv"
_VALID = ".valid"
_READ_ROWS = 1 << 20


class ArrayColumn(NamedTuple):
    """A column of numbers, and the file that it grows in.

    Attributes:
        field: The column.
        file: Name of the file, without its ending.
        dtype: Of a number.
        shape: Of a row's numbers.
    """

    field: pa.Field
    file: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def has_mask(self) -> bool:
        """Whether no number stands for null."""
        return self.dtype.kind in "iub"

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.dtype.itemsize * math.prod(self.shape)

    def header(self, num_rows: int) -> bytes:
        """What stands before the numbers; it is as long for any number of rows."""
        return npy_header(self.dtype, (num_rows, *self.shape))

    def values(self, column: pa.Array) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The numbers, shape [num_rows, ...], and whether each row has some."""
        valid = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)
        numbers = _numbers(column, self.dtype).reshape(-1, *self.shape)
        if not valid.all():
            numbers = numbers.copy()  # Arrow's own are not to be written to
            numbers[~valid] = _null_of(self.dtype)
        return numbers, valid


class NumpyWriter(Writer):
    """One growing file a column."""

    def recover(self, parts: Sequence[Part]) -> list[Part]:
        """Cut the files to where the last part ended that they all reach."""
        kept = list(parts)
        while kept and any((self.folder.interim_size_of(f.path) or 0) < f.size_bytes for f in kept[-1].files):
            kept.pop()
        last = kept[-1].files if kept else ()
        self.folder.sweep(frozenset(self.folder.interim(file.path).name for file in last))
        for file in last:
            path = self.folder.interim(file.path)
            with self.folder.writing(path), path.open("r+b") as opened:
                opened.truncate(file.size_bytes)
        self.resume(kept)
        return kept

    def resume(self, parts: Sequence[Part]) -> None:
        """Go on after these parts."""
        self._columns = array_columns(self.schema)
        arrays = {column.field.name for column in self._columns}
        self._texts = [name for name in self.schema.names if name not in arrays]
        self._num_rows = parts[-1].num_rows if parts else 0
        if not parts:
            for name, header in self._headers(0).items():
                self._append(name, header)
            if self._texts:
                self._append(_IDS, _csv(self.schema.empty_table().select(self._texts), header=True))

    def write(self, rows: pa.Table) -> None:
        """Add rows to every file."""
        for column in self._columns:
            values, valid = column.values(rows[column.field.name].combine_chunks())
            self._append(f"{DATA}/{column.file}.npy", np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
            if column.has_mask:
                self._append(f"{DATA}/{column.file}{_VALID}.npy", valid.data)
        if self._texts:
            self._append(_IDS, _csv(rows.select(self._texts), header=False))
        self._num_rows += rows.num_rows

    def end_part(self) -> list[Future[FileDone]]:
        """Wait until all files are on the disk; their checksums are taken when they are whole."""
        return [self._grown(name) for name in (*self._headers(0), *([_IDS] if self._texts else []))]

    def finish(self, parts: Sequence[Part]) -> list[FileDone]:
        """Write the number of rows into the headers; a mask that masks nothing is left behind."""
        del parts
        for name, header in self._headers(self._num_rows).items():
            path = self.folder.interim(name)
            with self.folder.writing(path), path.open("r+b") as file:
                file.write(header)
        names = [name for name in self._headers(0) if not name.endswith(f"{_VALID}.npy") or self._masks(name)]
        return [self.done_now(name, self._num_rows) for name in (*names, *([_IDS] if self._texts else []))]

    def _grown(self, name: str) -> Future[FileDone]:
        path = self.folder.interim(name)
        self.folder.sync(path)
        done: Future[FileDone] = Future()
        done.set_result(FileDone(name, path.stat().st_size, self._num_rows, ""))
        return done

    def _headers(self, num_rows: int) -> dict[str, bytes]:
        headers = {}
        for column in self._columns:
            headers[f"{DATA}/{column.file}.npy"] = column.header(num_rows)
            if column.has_mask:
                headers[f"{DATA}/{column.file}{_VALID}.npy"] = npy_header(np.dtype(np.bool_), (num_rows,))
        return headers

    def _append(self, name: str, data: bytes | memoryview) -> None:
        path = self.folder.interim(name)
        with self.folder.writing(path), path.open("ab") as file:
            file.write(data)

    def _masks(self, name: str) -> bool:
        mask = np.load(self.folder.interim(name), mmap_mode="r", allow_pickle=False)
        return any(not mask[start : start + _READ_ROWS].all() for start in range(0, len(mask), _READ_ROWS))


def array_columns(schema: pa.Schema) -> list[ArrayColumn]:
    """The columns that become arrays."""
    columns: list[ArrayColumn] = []
    for field in schema:
        kind, shape = field.type, []
        while pa.types.is_fixed_size_list(kind):
            shape.append(kind.list_size)
            kind = kind.value_type
        if pa.types.is_primitive(kind):
            file = file_name(field.name, {column.file for column in columns})
            columns.append(ArrayColumn(field, file, _dtype(kind), tuple(shape)))
    return columns


def file_name(column: str, taken: set[str] | frozenset[str] = frozenset()) -> str:
    """A column's name as a file's, without an ending: `mfcc:present` is `mfcc.present`."""
    name = re.sub(r"[^A-Za-z0-9_@.-]", ".", column)
    while name in taken:
        name += "_"
    return name


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Header of a `.npy` file, format 1.0; NumPy leaves room in it for the first axis to grow.

    Reference:
        numpy.lib.format.
    """
    header = io.BytesIO()
    described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def _numbers(column: pa.Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The numbers of a column, one after another; anything where it is null."""
    while pa.types.is_fixed_size_list(column.type):
        size = column.type.list_size
        column = column.values.slice(column.offset * size, len(column) * size)
    if column.null_count and dtype.kind in "iub":
        column = pc.fill_null(column, False if dtype.kind == "b" else 0)
    return np.asarray(column.to_numpy(zero_copy_only=False)).astype(dtype, copy=False)


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    return np.dtype("datetime64[us]") if pa.types.is_timestamp(kind) else np.dtype(kind.to_pandas_dtype())


def _null_of(dtype: np.dtype[Any]) -> Any:  # noqa: ANN401 - a number of the type
    if dtype.kind == "M":
        return np.datetime64("NaT")
    return np.nan if dtype.kind == "f" else 0


def _csv(rows: pa.Table, *, header: bool) -> bytes:
    buffer = io.BytesIO()
    csv.write_csv(flat_rows(rows), buffer, csv.WriteOptions(include_header=header))
    return buffer.getvalue()
