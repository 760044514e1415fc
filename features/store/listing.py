"""Listed sources as Arrow columns, and which of them `sources` knows: a million take no million Python objects."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from features.errors import StoreError
from features.schema import BATCH_ID, data_schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from features.store.plan import Source
    from features.store.store import Store

KEY = "key"
"""Column of a listing: uri, bytes and time of change in one text; the attempt too, where a source is planned again."""

_TABLE = "sources"
_COLUMNS = ("uri", "size_bytes", "mtime_us", "sidecars", "consent", "attempt")
_SOURCES_A_CHUNK = 1 << 16
_KEYS = pa.large_string()  # 32-bit offsets end at some 20 million sources


def listing_of(sources: Iterable[Source], *, again: bool = False) -> pa.Table:
    """Sources as columns: the fields of `Source`, and their key."""
    types = data_schema_of(_TABLE)
    schema = pa.schema([types.field(name) for name in _COLUMNS])
    chunks = [_chunk(some, schema) for some in _cut(iter(sources))]
    listed = pa.concat_tables(chunks) if chunks else schema.empty_table()
    return listed.append_column(KEY, _keys(listed, again))


def sorted_once(listed: pa.Table) -> pa.Table:
    """A listing in order of uri, bytes and time of change; of equal keys the last stays."""
    if listed.num_rows < 2:
        return listed
    listed = listed.sort_by([(name, "ascending") for name in ("uri", "size_bytes", "mtime_us", "attempt")])
    keys = listed[KEY].combine_chunks()
    differs = pc.not_equal(keys[:-1], keys[1:])
    return listed.filter(pa.concat_arrays([differs, pa.array([True])]))


def without(listed: pa.Table, keys: pa.ChunkedArray) -> pa.Table:
    """A listing without the sources of these keys."""
    return listed.filter(pc.invert(pc.is_in(listed[KEY], keys))) if len(keys) else listed


class KnownSources:
    """Keys that stand in `sources`; each live file is read once, for a file never changes."""

    def __init__(self, store: Store, *, again: bool = False) -> None:
        self._store = store
        self._again = again
        self._seen: set[str] = set()

    def look(self) -> pa.ChunkedArray:
        """Keys of what has been committed since the last look; of everything at the first.

        Raises:
            StoreError: A file that the log lists is missing or damaged.
        """
        paths = [path for path in self._store.files(_TABLE)["path"].to_pylist() if path not in self._seen]
        self._seen.update(paths)
        return _keys(self._read(paths), self._again)

    def _read(self, paths: list[str]) -> pa.Table:
        types = data_schema_of(_TABLE)
        names = [name for name in ("uri", "size_bytes", "mtime_us", "attempt") if name == "uri" or self._reads(name)]
        schema = pa.schema([types.field(name) for name in names])
        folder = self._store.table_path(_TABLE)
        files = [str(folder / path) for path in paths]
        try:
            return ds.dataset(files, schema=schema, format="parquet").to_table() if files else schema.empty_table()
        except (OSError, pa.ArrowInvalid) as error:
            message = f"cannot read table {_TABLE!r} in {self._store.root!r} ({error}); try: triptych verify"
            raise StoreError(message) from error
