"""What all formats have in common: rows go into the files of a part, and the parts make an export."""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from features.export.folder import DATA
from features.export.manifest import FileDone, Part
from features.store.files import checksum_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa

    from features.export.folder import OutFolder


class Writer(ABC):
    """Writes an export in one format, part by part, in the order of its rows.

    Every file stands under its interim name until the export is whole.

    Attributes:
        folder: Where it writes.
        schema: Schema of the rows; vectors are lists of a fixed size.
        shard_bytes: Bytes of rows in a file, about.
    """

    def __init__(self, folder: OutFolder, schema: pa.Schema, shard_bytes: int) -> None:
        self.folder = folder
        self.schema = schema
        self.shard_bytes = shard_bytes
        self._behind = ThreadPoolExecutor(1, thread_name_prefix="export-done")

    def recover(self, parts: Sequence[Part]) -> list[Part]:
        """Take up an export: of the parts in the journal, the first ones whose files are there; the rest is swept."""
        kept = []
        for part in parts:
            if any(self.folder.interim_size_of(file.path) != file.size_bytes for file in part.files):
                break
            kept.append(part)
        self.folder.sweep(frozenset(self.folder.interim(file.path).name for part in kept for file in part.files))
        self.resume(kept)
        return kept

    def close(self) -> None:
        """Wait for nothing more; what is not whole stays as it is."""
        self._behind.shutdown(wait=False, cancel_futures=True)

    @abstractmethod
    def resume(self, parts: Sequence[Part]) -> None:
        """Go on after these parts."""

    @abstractmethod
    def write(self, rows: pa.Table) -> None:
        """Add rows to the part.

        Raises:
            StoreError: The disk is full or may not be written.
        """

    @abstractmethod
    def end_part(self) -> list[Future[FileDone]]:
        """End the part; the next rows begin another.

        Returns:
            Its files, each there once it is whole and on the disk.
        """

    def finish(self, parts: Sequence[Part]) -> list[FileDone]:
        """All files of the export, as they will be named."""
        return [file for part in parts for file in part.files]

    @staticmethod
    def written_as(path: str) -> str:
        """The name for which a file of the export was written."""
        return path

    def done(self, name: str, num_rows: int) -> Future[FileDone]:
        """A file that was written: it is waited for, and its checksum taken, while the next one is written."""
        return self._behind.submit(self.done_now, name, num_rows)

    def done_now(self, name: str, num_rows: int) -> FileDone:
        """A file that was written, once it is on the disk."""
        path = self.folder.interim(name)
        self.folder.sync(path)
        with self.folder.writing(path):
            return FileDone(name, path.stat().st_size, num_rows, checksum_of(path))


class PartFiles(Writer):
    """A format with one file a part: `data/part-00000.<suffix>`."""

    suffix = ""

    def resume(self, parts: Sequence[Part]) -> None:
        """Go on after these parts."""
        self._number = len(parts)
        self._num_rows = 0
        self._is_open = False

    def write(self, rows: pa.Table) -> None:
        """Add rows to the part."""
        with self.folder.writing(self._path):
            if not self._is_open:
                self.open_file(self._name)
                self._is_open = True
            self.write_rows(rows)
        self._num_rows += rows.num_rows

    def end_part(self) -> list[Future[FileDone]]:
        """End the file; there is one also where no row came."""
        self.write(self.schema.empty_table())
        with self.folder.writing(self._path):
            self.close_file()
        file = self.done(self._name, self._num_rows)
        self._number, self._num_rows, self._is_open = self._number + 1, 0, False
        return [file]

    @property
    def _path(self) -> Path:
        return self.folder.interim(self._name)

    @property
    def _name(self) -> str:
        return f"{DATA}/part-{self._number:05}.{self.suffix}"

    @abstractmethod
    def open_file(self, name: str) -> None:
        """Begin a file, under its interim name."""

    @abstractmethod
    def write_rows(self, rows: pa.Table) -> None:
        """Add rows to the file."""

    @abstractmethod
    def close_file(self) -> None:
        """End the file."""
