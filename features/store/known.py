"""Which sources stand in `sources`: 16 bytes each, read from a file of rows once.

They are kept in `<store>/.index/`, for a large store has ten thousand files to read. What is kept is derived from the
table's live files, file by file, and may be deleted at any time; it holds hashes of names only.
"""

from __future__ import annotations

import json
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.schema import BATCH_ID, schema_of
from features.store.index import keep_table, kept_table
from features.store.listing import KEY, key_of, keys_of
from features.store.read import read_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from features.store.plan import Source
    from features.store.store import Store

    Digests = NDArray[np.bytes_]

_TABLE = "sources"
_COLUMNS = ("uri", "size_bytes", "mtime_us", "attempt", "etag")
_DIGEST_BYTES = 16
_DIGEST = np.dtype(f"S{_DIGEST_BYTES}")
_FILES_KEY = b"files"
_KEPT_APART = 64
"""New files that are read again by each run rather than kept."""

_SOURCES_A_LOOK = 1 << 16
_FILES_A_READ = 1000


class KnownSources:
    """Tells listed sources that stand in `sources` from new ones.

    Args:
        store: The store, which has the table.
        again: A source is known by its attempt too.
    """

    def __init__(self, store: Store, *, again: bool = False) -> None:
        self._store = store
        self._again = again
        self._seen: frozenset[str] = frozenset()

    def new_of(self, sources: Iterable[Source]) -> Iterator[Source]:
        """Sources that do not stand in the table as it is when the first is asked for.

        Raises:
            StoreError: A file that the log lists is missing or damaged.
        """
        known = self._unseen() if self._again else self._load()
        left = iter(sources)
        while some := list(islice(left, _SOURCES_A_LOOK)):
            there = _among(_digests(keys_of(some, again=self._again)), known)
            yield from (some[place] for place in np.flatnonzero(~there))

    def strike(self, listings: Sequence[pa.Table]) -> list[pa.Table]:
        """Listings without the sources that rivals have committed since the last look.

        Raises:
            StoreError: A file that the log lists is missing or damaged.
        """
        taken = self._unseen()
        if not len(taken):
            return list(listings)
        masks = [_among(_digests(listed[KEY].to_pylist()), taken) for listed in listings]
        return [listed.filter(pa.array(~mask)) for listed, mask in zip(listings, masks, strict=True)]

    def _load(self) -> Digests:
        """All keys, those that were kept and those of newer files."""
        path = self._store.path / ".index" / f"{_TABLE}.arrow"
        kept, files = _read_kept(path)
        if files <= set(self._store.files(_TABLE)["path"].to_pylist()):
            self._seen = files
        else:  # rows were erased: nothing of them may be known by what was kept
            kept = np.zeros(0, _DIGEST)
            path.unlink(missing_ok=True)
        num_kept = len(self._seen)
        known = np.sort(np.concatenate([kept, new])) if len(new := self._unseen()) else kept
        if len(self._seen) - num_kept > _KEPT_APART:
            _keep(path, known, self._seen)
        return known

    def _unseen(self) -> Digests:
        """Keys of files that have not been looked at, sorted."""
        files = self._store.files(_TABLE)
        files = files.filter(pc.invert(pc.is_in(files["path"], pa.array(sorted(self._seen), pa.string()))))
        self._seen |= set(files["path"].to_pylist())
        schema = pa.schema([schema_of(_TABLE).field(name) for name in (BATCH_ID, *_COLUMNS)])
        some = (files.slice(start, _FILES_A_READ) for start in range(0, files.num_rows, _FILES_A_READ))
        found = [self._digests_of(read_files(self._store, _TABLE, part, schema)) for part in some]
        return np.sort(np.concatenate(found)) if found else np.zeros(0, _DIGEST)

    def _digests_of(self, rows: pa.Table) -> Digests:
        uris, sizes, times, attempts, etags = (rows[name].to_pylist() for name in _COLUMNS)
        counted = [attempt or 1 for attempt in attempts] if self._again else [None] * len(uris)
        return _digests(map(key_of, uris, sizes, times, counted, etags))


def _digests(keys: Iterable[str]) -> Digests:
    joined = b"".join([blake2b(key.encode(), digest_size=_DIGEST_BYTES).digest() for key in keys])
    return np.frombuffer(joined, _DIGEST)


def _among(wanted: Digests, known: Digests) -> NDArray[np.bool_]:
    """Which stand among sorted ones: by the first 8 bytes, and then by all 16."""
    if not len(known):
        return np.zeros(len(wanted), bool)
    heads, wanted_heads = _heads(known), _heads(wanted)
    places = np.searchsorted(heads, wanted_heads).clip(max=len(known) - 1)
    there = np.asarray(known[places] == wanted)
    unsure = np.flatnonzero((heads[places] == wanted_heads) & ~there)  # two with one head: a matter of centuries
    if len(unsure):
        there[unsure] = np.isin(wanted[unsure], known)
    return there


def _heads(digests: Digests) -> NDArray[np.uint64]:
    """The first 8 bytes as numbers in the same order: they compare ten times as fast."""
    return digests.view(np.dtype(">u8"))[::2].astype(np.uint64)


def _read_kept(path: Path) -> tuple[Digests, frozenset[str]]:
    """What was kept, and of which files; nothing where it is missing or damaged, for it can be made again."""
    try:
        table = kept_table(path)
        files = frozenset(map(str, json.loads((table.schema.metadata or {})[_FILES_KEY])))
        digests = table["digest"].combine_chunks()
        return np.frombuffer(digests.buffers()[1], _DIGEST, len(digests)), files
    except (OSError, pa.ArrowInvalid, KeyError, ValueError, TypeError):
        return np.zeros(0, _DIGEST), frozenset()


def _keep(path: Path, digests: Digests, files: Iterable[str]) -> None:
    column = pa.Array.from_buffers(pa.binary(_DIGEST_BYTES), len(digests), [None, pa.py_buffer(digests.tobytes())])
    table = pa.table({"digest": column}).replace_schema_metadata({_FILES_KEY: json.dumps(sorted(files))})
    keep_table(path, table)
