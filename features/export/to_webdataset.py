"""WebDataset: `data/shard-000000.tar`, …; a row is a sample, its members share the key `<media_id>_<start_us>`.

Pictures are `.jpg`, sound `.flac`, text `.txt`, vectors `.npy` (`.<feature>.npy`, of segments); all else is in `.json`.
What is null has no member. The tar files state no times and owners, so that the same rows make the same bytes.
"""

from __future__ import annotations

import tarfile
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from features.errors import ConfigError
from features.export.cells import json_text
from features.export.folder import DATA
from features.export.to_numpy import array_columns, file_name, npy_header
from features.export.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    import pyarrow as pa

    from features.export.folder import OutFolder
    from features.export.manifest import FileDone, Part
    from features.export.to_numpy import ArrayColumn

_ENDINGS = {"jpeg": "jpg", "flac": "flac", "text": "txt"}
_STARTS = ("start_us", "t_us")
_BLOCK = 512
_NAME_BYTES, _SIZE_DIGITS = 100, 11
_RECORD = 20 * _BLOCK


class Sample(NamedTuple):
    """A row: its key, and the bytes of each member by its ending."""

    key: str
    members: tuple[tuple[str, bytes], ...]


class WebDatasetWriter(Writer):
    """Shards of bounded size; a part has one or more."""

    def __init__(self, folder: OutFolder, schema: pa.Schema, shard_bytes: int) -> None:
        super().__init__(folder, schema, shard_bytes)
        if "media_id" not in schema.names:
            message = f"samples are named by media_id, and the columns are {', '.join(schema.names)}; add media_id"
            raise ConfigError(message)
        self._samples = Samples(schema)

    def resume(self, parts: Sequence[Part]) -> None:
        """Go on after these parts."""
        self._number = sum(len(part.files) for part in parts)
        self._ended: list[Future[FileDone]] = []
        self._file: IO[bytes] | None = None
        self._num_samples = self._num_bytes = 0

    def write(self, rows: pa.Table) -> None:
        """Add samples, and begin another shard where one would grow too large."""
        most = self.shard_bytes // _RECORD * _RECORD - 2 * _BLOCK
        with self.folder.writing(self.folder.interim(self._name)):
            for sample in self._samples.of(rows):
                data = b"".join(tar_member(f"{sample.key}.{ending}", content) for ending, content in sample.members)
                if self._file is not None and self._num_bytes + len(data) > most:
                    self._end_shard()
                self._opened().write(data)
                self._num_bytes += len(data)
                self._num_samples += 1

    def end_part(self) -> list[Future[FileDone]]:
        """End the shard; there is one also where no row came."""
        with self.folder.writing(self.folder.interim(self._name)):
            self._opened()
            self._end_shard()
        files, self._ended = self._ended, []
        self._samples.forget()
        return files

    @property
    def _name(self) -> str:
        return f"{DATA}/shard-{self._number:06}.tar"

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = self.folder.interim(self._name).open("wb")
        return self._file

    def _end_shard(self) -> None:
        with self._opened() as file:
            file.write(bytes(2 * _BLOCK + -(self._num_bytes + 2 * _BLOCK) % _RECORD))
        self._ended.append(self.done(self._name, self._num_samples))
        self._number += 1
        self._file, self._num_samples, self._num_bytes = None, 0, 0


class Samples:
    """Rows as samples; keys are unique within what was given since `forget`, which has all rows of its media."""

    def __init__(self, schema: pa.Schema) -> None:
        arrays = array_columns(schema)
        self._vectors = {column.field.name: column for column in arrays if column.shape}
        self._files = [name for name in schema.names if name in _ENDINGS]
        self._start = next((name for name in _STARTS if name in schema.names), None)
        apart = {*self._vectors, *self._files}
        self._rest = [name for name in schema.names if name not in apart]
        self._seen: dict[str, int] = {}

    def forget(self) -> None:
        """Begin anew with the numbering of rows that share a key."""
        self._seen.clear()

    def of(self, rows: pa.Table) -> Iterator[Sample]:
        """A sample a row."""
        media_ids = rows["media_id"].to_pylist()
        starts = rows[self._start].to_pylist() if self._start else [None] * rows.num_rows
        members = [_files_of(rows[name].to_pylist(), _ENDINGS[name]) for name in self._files]
        members += [_arrays_of(rows[name].combine_chunks(), column) for name, column in self._vectors.items()]
        for place, rest in enumerate(rows.select(self._rest).to_pylist()):
            found = [own for make in members if (own := make(place)) is not None]
            found.append(("json", json_text(rest).encode()))
            yield Sample(self._key(media_ids[place], starts[place]), tuple(found))

    def _key(self, media_id: str, start_us: int | None) -> str:
        key = media_id if start_us is None else f"{media_id}_{start_us}"
        count = self._seen.get(key, 0)
        self._seen[key] = count + 1
        return f"{key}-{count}" if count else key


def _files_of(values: list[Any], ending: str) -> Callable[[int], tuple[str, bytes] | None]:
    def member(place: int) -> tuple[str, bytes] | None:
        value = values[place]
        return None if value is None else (ending, value.encode() if isinstance(value, str) else value)

    return member


def _arrays_of(column: pa.Array, made: ArrayColumn) -> Callable[[int], tuple[str, bytes] | None]:
    values, valid = made.values(column)
    name = made.field.name
    ending = "npy" if name == "values" else f"{file_name(name)}.npy"
    header = npy_header(made.dtype, made.shape)

    def member(place: int) -> tuple[str, bytes] | None:
        return (ending, header + np.ascontiguousarray(values[place]).tobytes()) if valid[place] else None

    return member


def tar_member(name: str, content: bytes) -> bytes:
    """A file in a tar archive, as its bytes: no times and owners, rights 0644.

    Reference:
        `tarfile.TarInfo.tobuf`, whose header it is; five times as fast for short names.
    """
    padding = bytes(-len(content) % _BLOCK)
    encoded, size = name.encode(), b"%011o" % len(content)
    if len(encoded) > _NAME_BYTES or len(size) > _SIZE_DIGITS:
        return _header(name, len(content)) + content + padding
    checksum = _BASE_SUM + sum(encoded) + sum(size)
    before = encoded.ljust(_NAME_BYTES, b"\0") + _TEMPLATE[_NAME_BYTES:124] + size + b"\0" + _TEMPLATE[136:148]
    return b"".join((before, b"%06o\0 " % checksum, _TEMPLATE[156:], content, padding))


def _header(name: str, size_bytes: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size_bytes, 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


_TEMPLATE = _header("", 0)
_BASE_SUM = int(_TEMPLATE[148:154], 8) - sum(b"%011o" % 0)
