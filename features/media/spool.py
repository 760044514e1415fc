"""The spool: rows of one media on their way from the process that decodes it to the tables' files.

A spool is one unnamed file a table, so that nothing is left of it whoever dies. The child writes ready rows (Arrow's
stream format) and holds few of them; the parent reads them a record batch at a time, once the media is done.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from features.errors import LimitExceeded, StoreError
from features.schema import data_schema_of
from features.store.rows import audio_rows, frame_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from features.media.protocol import Request
    from features.records import AudioChunk, Frame

_HELD_BYTES = 2 << 20
_ROW_BYTES = 200


class Spool:
    """Unnamed files for the rows of one media; to be closed.

    Args:
        folder: Folder on the disk that has room for them.
        tables: Tables that rows may come for.

    Raises:
        StoreError: The disk is full or may not be written.
    """

    def __init__(self, folder: Path, tables: Sequence[str]) -> None:
        self.tables = tuple(tables)
        self._folder = folder
        with ExitStack() as stack:
            try:
                self._files = {table: stack.enter_context(_unnamed(folder)) for table in self.tables}
            except OSError as error:
                raise _write_error(str(folder), error) from error
            self._opened = stack.pop_all()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Of the files, in the order of the tables."""
        return tuple(file.fileno() for file in self._files.values())

    def rows(self, table: str) -> Iterator[pa.Table]:
        """Rows of a table, a few megabytes at a time."""
        file = self._files[table]
        file.seek(0)
        with pa.ipc.open_stream(file) as batches:
            yield from (pa.Table.from_batches([batch]) for batch in batches)

    def problem(self, num_rows: Mapping[str, int]) -> str:
        """What is wrong with the rows that a child says it has written, or nothing; all are read for it.

        Raises:
            StoreError: The disk cannot be read.
        """
        for table, expected in num_rows.items():
            try:
                found = sum(_valid(rows).num_rows for rows in self.rows(table))
            except (pa.ArrowException, OSError, KeyError) as error:
                if getattr(error, "errno", None):
                    message = f"cannot read the spool in {str(self._folder)!r} ({error}); run again"
                    raise StoreError(message) from error
                return f"of {table!r}: {error}"
            if found != expected:
                return f"{found} of {table!r}, not {expected}"
        return ""

    def close(self) -> None:
        """Give the room back."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SpoolWriter:
    """The child's end: takes frames and chunks of sound as they are made, and rows of other tables.

    Args:
        descriptors: Of the spool's files, by table.
        request: What is decoded, and how many bytes its rows may take.
    """

    def __init__(self, descriptors: Mapping[str, int], request: Request) -> None:
        self._request = request
        self._num_bytes = 0
        self._writers = {table: _StreamWriter(table, fd, request.folder) for table, fd in descriptors.items()}
        self._frames = _Held("frames", frame_rows)
        self._chunks = _Held("audio", audio_rows)

    def add_frame(self, frame: Frame) -> None:
        """Take a picture."""
        self._hold(self._frames, frame, len(frame.jpeg))

    def add_chunk(self, chunk: AudioChunk) -> None:
        """Take a chunk of sound."""
        self._hold(self._chunks, chunk, len(chunk.flac))

    def write(self, table: str, rows: pa.Table) -> None:
        """Append rows of a table, where its rows are wanted.

        Raises:
            LimitExceeded: The media has more rows than it may have.
            StoreError: The disk is full.
        """
        if table not in self._writers:
            return
        self._num_bytes += rows.nbytes
        if self._num_bytes > self._request.output_bytes:
            message = (
                f"rows of {self._request.path!r} take more than {self._request.output_bytes >> 20} MB; take fewer or "
                "smaller frames, or allow more with --decode-output-megabytes"
            )
            raise LimitExceeded(message)
        self._writers[table].write(rows)

    def finish(self) -> dict[str, int]:
        """Write what is held; rows by table."""
        for held in (self._frames, self._chunks):
            self._flush(held)
        for writer in self._writers.values():
            writer.close()
        return {table: writer.num_rows for table, writer in self._writers.items()}

    def _hold(self, held: _Held, record: Any, num_bytes: int) -> None:  # noqa: ANN401 - a frame or a chunk
        held.records.append(record)
        held.num_bytes += num_bytes + _ROW_BYTES
        if held.num_bytes >= _HELD_BYTES:
            self._flush(held)

    def _flush(self, held: _Held) -> None:
        if held.records:
            self.write(held.table, held.rows_of(self._request.media_id, held.records))
            held.records.clear()
            held.num_bytes = 0


class _Held:
    """Records that wait until they are worth a record batch."""

    def __init__(self, table: str, rows_of: Callable[[str, Sequence[Any]], pa.Table]) -> None:
        self.table = table
        self.rows_of = rows_of
        self.records: list[Any] = []
        self.num_bytes = 0


class _StreamWriter:
    """Rows of one table, as an Arrow stream into a file."""

    def __init__(self, table: str, descriptor: int, folder: str) -> None:
        self._folder = folder
        self._file = open(descriptor, "wb", buffering=0, closefd=False)  # noqa: SIM115 - the parent closes it
        self._stream = pa.ipc.new_stream(self._file, data_schema_of(table))
        self.num_rows = 0

    def write(self, rows: pa.Table) -> None:
        try:
            self._stream.write_table(rows)
        except OSError as error:
            raise _write_error(self._folder, error) from error
        self.num_rows += rows.num_rows

    def close(self) -> None:
        try:
            self._stream.close()
        except OSError as error:
            raise _write_error(self._folder, error) from error


def _unnamed(folder: Path) -> Any:  # noqa: ANN401 - a raw binary file
    return tempfile.TemporaryFile(dir=folder, buffering=0, prefix=".triptych-spool-")


def _valid(rows: pa.Table) -> pa.Table:
    rows.validate(full=True)
    return rows


def _write_error(place: str, error: OSError) -> StoreError:
    reason = error.strerror or str(error)
    return StoreError(f"cannot write {place!r} ({reason}); free space or rights there, then run again")
