"""Listed sources as the columns of `sources`, in a fixed order, each once."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.schema import data_schema_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from features.samples.record import Sample
    from features.store.plan import Source

KEY = "key"
"""Column of a listing that tells its sources apart, as `key_of` says."""

_FIELDS = ("uri", "size_bytes", "mtime_us", "sidecars", "consent", "attempt", "etag", "sample")  # of Source
_SOURCES_A_CHUNK = 1 << 16


def key_of(uri: str, size_bytes: int, mtime_us: int, attempt: int | None, etag: str | None = None) -> str:
    """What a source is known by, its tag where it has one; the attempt counts where it is planned again, else None."""
    key = f"{uri}\n{size_bytes}\n{mtime_us}" if etag is None else f"{uri}\n{size_bytes}\n{mtime_us}\n{etag}"
    return key if attempt is None else f"{key}\n{attempt}"


def keys_of(sources: Iterable[Source], *, again: bool) -> list[str]:
    """What each listed source is known by."""
    return [
        key_of(uri, size_bytes, mtime_us, attempt if again else None, etag)
        for uri, size_bytes, mtime_us, _, _, attempt, etag, _ in sources
    ]


def listing_of(sources: Iterable[Source], *, again: bool = False) -> pa.Table:
    """Sources as columns: the fields of `Source`, and their key; sorted by uri, of equal keys the last."""
    types = data_schema_of("sources")
    schema = pa.schema([*(types.field(name) for name in _FIELDS), pa.field(KEY, pa.large_string())])
    left = iter(sources)
    chunks = [schema.empty_table()]
    while some := list(islice(left, _SOURCES_A_CHUNK)):
        *fields, samples = zip(*some, strict=True)
        columns = [*fields, _structs(samples), keys_of(some, again=again)]
        arrays = [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)]
        chunks.append(pa.table(arrays, schema=schema))
    return _sorted_once(pa.concat_tables(chunks))


def _structs(samples: Iterable[Sample | None]) -> list[dict[str, object] | None]:
    return [None if sample is None else sample._asdict() for sample in samples]


def _sorted_once(listed: pa.Table) -> pa.Table:
    if not listed.num_rows:
        return listed
    listed = listed.sort_by([(name, "ascending") for name in ("uri", "size_bytes", "mtime_us", "attempt")])
    keys = listed[KEY].combine_chunks()
    return listed.filter(pa.concat_arrays([pc.not_equal(keys[:-1], keys[1:]), pa.array([True])]))
