"""Listed sources as Arrow columns, and which of them `sources` knows: a million take no million Python objects."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.schema import BATCH_ID, data_schema_of, schema_of
from features.store.read import read_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from features.store.plan import Source
    from features.store.store import Store

KEY = "key"
"""Column of a listing: uri, bytes and time of change in one text; the attempt too, where a source is planned again."""

_TABLE = "sources"
_KEY_COLUMNS = ("uri", "size_bytes", "mtime_us", "attempt")
_FIELDS = ("uri", "size_bytes", "mtime_us", "sidecars", "consent", "attempt")  # of Source
_SOURCES_A_CHUNK = 1 << 16
_FILES_A_READ = 1000
_KEYS = pa.large_string()  # 32-bit offsets end at some 20 million sources


def listing_of(sources: Iterable[Source], *, again: bool = False) -> pa.Table:
    """Sources as columns: the fields of `Source`, and their key."""
    types = data_schema_of(_TABLE)
    schema = pa.schema([types.field(name) for name in _FIELDS])
    chunks = [_chunk(some, schema) for some in _cut(iter(sources))]
    listed = pa.concat_tables(chunks) if chunks else schema.empty_table()
    return listed.append_column(KEY, _keys(listed, again))


def sorted_once(listed: pa.Table) -> pa.Table:
    """A listing in order of uri, bytes and time of change; of equal keys the last stays."""
    if listed.num_rows < 2:
        return listed
    listed = listed.sort_by([(name, "ascending") for name in _KEY_COLUMNS])
    keys = listed[KEY].combine_chunks()
    differs = pc.not_equal(keys[:-1], keys[1:])
    return listed.filter(pa.concat_arrays([differs, pa.array([True])]))


class KnownSources:
    """Tells listed sources that stand in `sources` from new ones; reads each live file once, for none ever changes."""

    def __init__(self, store: Store, *, again: bool = False) -> None:
        self._store = store
        self._again = again
        self._seen = pa.array([], pa.string())

    def strike(self, listings: Sequence[pa.Table]) -> list[pa.Table]:
        """Listings without the sources that have been committed since the last call; ever, at the first.

        Raises:
            StoreError: A file that the log lists is missing or damaged.
        """
        left = pa.chunked_array([chunk for listed in listings for chunk in listed[KEY].chunks], _KEYS)
        places = pa.chunked_array([np.arange(len(left))])
        for keys in self._unseen():
            new = pc.invert(pc.is_in(left, keys))
            left, places = left.filter(new), places.filter(new)
        return _take_each(listings, places.to_numpy())

    def _unseen(self) -> Iterator[pa.Array]:
        """Keys of files that have not been looked at, some thousand files at a time, so that memory stays small."""
        files = self._store.files(_TABLE)
        files = files.filter(pc.invert(pc.is_in(files["path"], self._seen)))
        self._seen = pa.concat_arrays([self._seen, files["path"].combine_chunks()])
        schema = pa.schema([schema_of(_TABLE).field(name) for name in (BATCH_ID, *_KEY_COLUMNS)])
        for start in range(0, files.num_rows, _FILES_A_READ):
            rows = read_files(self._store, _TABLE, files.slice(start, _FILES_A_READ), schema)
            yield _keys(rows, self._again).combine_chunks()


def _take_each(listings: Sequence[pa.Table], places: NDArray[np.int64]) -> list[pa.Table]:
    """The rows at some places, ascending, of listings that are counted through."""
    ends = np.cumsum([listed.num_rows for listed in listings])
    parts = np.split(places, np.searchsorted(places, ends[:-1]))
    starts = ends - [listed.num_rows for listed in listings]
    return [listed.take(part - start) for listed, part, start in zip(listings, parts, starts, strict=True)]


def _cut(sources: Iterator[Source]) -> Iterator[list[Source]]:
    while chunk := list(islice(sources, _SOURCES_A_CHUNK)):
        yield chunk


def _chunk(sources: list[Source], schema: pa.Schema) -> pa.Table:
    columns = zip(*sources, strict=True)
    return pa.table([pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)], schema=schema)


def _keys(rows: pa.Table, again: bool) -> pa.ChunkedArray:
    parts = [rows["uri"], rows["size_bytes"], rows["mtime_us"]]
    if again:
        parts.append(rows["attempt"].fill_null(1))
    text = [part.cast(_KEYS) for part in parts]
    return pc.binary_join_element_wise(*text, pa.scalar("\n", _KEYS), null_handling="replace")
