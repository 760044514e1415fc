"""Where a media is: its batch, found without reading `media`.

A `media_id` is a hash, so the log's minima and maxima prune nothing. This index is derived from the table's live
files, file by file, and kept in `<store>/.index/`; it may be deleted at any time. It holds hashes of names only.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from features.errors import StoreError
from features.schema import BATCH_ID
from features.store.storage import is_remote, name_in_dataset, parquet_dataset, put_bytes
from features.store.store import files_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from deltalake import DeltaTable
    from numpy.typing import NDArray

    from features.store.store import Store

_FOLDER = ".index"
_FILES_KEY = b"files"
_COLUMNS = ("media", "media_rest", "uri", "file")
_KEPT_APART = 64
"""New files that are read again at each opening rather than written to the index."""


@dataclass(frozen=True)
class MediaIndex:
    """Batches of media and of URIs, as of one version of `media`.

    Attributes:
        entries: By column: first and last 8 bytes of the media's digest, 8 of its uri's, place in `files`; sorted by
            `media`.
        files: Files that the entries came from.
        live: For each of these, whether the version lists it.
    """

    entries: dict[str, NDArray[np.uint64]]
    files: tuple[str, ...]
    live: NDArray[np.bool_]

    def batch_of(self, media_id: str) -> str | None:
        """The batch of a media, or None where it is not in `media`."""
        return self.batches_of([media_id]).get(media_id)

    def batches_of(self, media_ids: Iterable[str]) -> dict[str, str]:
        """The batch of each of these media; those that are not in `media` are left out."""
        found = {}
        for media_id in media_ids:
            first, rest = _digest(media_id)
            for place in _places(self.entries["media"], first):
                if self.entries["media_rest"][place] == rest and self._is_live(place):
                    found[media_id] = _batch_of_path(self.files[int(self.entries["file"][place])])
        return found

    def batches_of_uris(self, uris: Iterable[str]) -> frozenset[str]:
        """Batches that may hold a media from one of these URIs (one of a few billion is a false alarm)."""
        wanted = np.array(sorted({_digest(uri)[0] for uri in uris}), np.uint64)
        places = np.flatnonzero(np.isin(self.entries["uri"], wanted))
        return frozenset(
            _batch_of_path(self.files[int(self.entries["file"][place])]) for place in places if self._is_live(place)
        )

    def _is_live(self, place: int | np.intp) -> bool:
        return bool(self.live[int(self.entries["file"][place])])


def media_index(store: Store, handle: DeltaTable | None = None) -> MediaIndex:
    """The index of `media`, brought up to date.

    Args:
        store: The store.
        handle: Version of `media` to answer for; by default the newest.

    Raises:
        StoreError: A file of `media` is missing or damaged.
    """
    if handle is None and not store.has("media"):
        return MediaIndex(_nothing(), (), np.zeros(0, bool))
    live = files_of(handle or store.load("media"))["path"].to_pylist()
    entries, files = _load(store.path / _FOLDER / "media.arrow")
    known = set(files)
    new = [path for path in live if path not in known]
    if new:
        entries = _merged(entries, _read(store, new, len(files)))
        files = (*files, *new)
        dead = len(files) > 2 * len(live) + _KEPT_APART
        if len(new) > _KEPT_APART or dead:
            entries, files = _only(entries, files, set(live)) if dead else (entries, files)
            _save(store.path / _FOLDER / "media.arrow", entries, files)
    listed = set(live)
    return MediaIndex(entries, files, np.array([path in listed for path in files], bool))


def forget_index(store: Store) -> None:
    """Delete the index, and all else that is kept beside it; it is made again when it is needed."""
    for path in (store.path / _FOLDER).glob("*.arrow"):
        path.unlink(missing_ok=True)


def _digest(text: str) -> tuple[int, int]:
    digest = blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def _places(column: NDArray[np.uint64], value: int) -> range:
    wanted = np.uint64(value)
    return range(int(np.searchsorted(column, wanted, "left")), int(np.searchsorted(column, wanted, "right")))


def _batch_of_path(path: str) -> str:
    return path.split("/", 1)[0].removeprefix(f"{BATCH_ID}=")


def _nothing() -> dict[str, NDArray[np.uint64]]:
    return {name: np.zeros(0, np.uint64) for name in _COLUMNS}


def _read(store: Store, paths: Sequence[str], offset: int) -> dict[str, NDArray[np.uint64]]:
    """Entries of files of `media`, whose places count on from `offset`."""
    folder = store.table_path("media")
    found = [folder / path for path in paths]
    places = {name_in_dataset(path): offset + place for place, path in enumerate(found)}
    try:
        dataset = parquet_dataset(found, pa.schema([("media_id", pa.string()), ("uri", pa.string())]))
        rows = dataset.to_table(columns=["media_id", "uri", "__filename"])
    except (OSError, pa.ArrowInvalid) as error:
        message = f"cannot read a file of table 'media' in {store.root!r} ({error}); see what can be done: verify"
        raise StoreError(message) from error
    media = [_digest(media_id) for media_id in rows["media_id"].to_pylist()]
    return {
        "media": np.array([first for first, _ in media], np.uint64),
        "media_rest": np.array([rest for _, rest in media], np.uint64),
        "uri": np.array([_digest(uri or "")[0] for uri in rows["uri"].to_pylist()], np.uint64),
        "file": np.array([places[path] for path in rows["__filename"].to_pylist()], np.uint64),
    }


def _merged(old: dict[str, NDArray[np.uint64]], new: dict[str, NDArray[np.uint64]]) -> dict[str, NDArray[np.uint64]]:
    both = {name: np.concatenate([old[name], new[name]]) for name in _COLUMNS}
    order = np.argsort(both["media"], kind="stable")
    return {name: values[order] for name, values in both.items()}


def _only(
    entries: dict[str, NDArray[np.uint64]], files: Sequence[str], live: set[str]
) -> tuple[dict[str, NDArray[np.uint64]], tuple[str, ...]]:
    """Without the entries of files that are live no more."""
    kept = tuple(path for path in files if path in live)
    places = {path: place for place, path in enumerate(kept)}
    moved = np.array([places.get(path, len(kept)) for path in files], np.uint64)
    place = moved[entries["file"].astype(np.int64)]
    there = np.flatnonzero(place < len(kept))
    return {**{name: entries[name][there] for name in _COLUMNS[:3]}, "file": place[there]}, kept


def _load(path: Path) -> tuple[dict[str, NDArray[np.uint64]], tuple[str, ...]]:
    """The stored index; nothing where it is missing or damaged, for it can be made again."""
    try:
        table = kept_table(path)
        files = tuple(json.loads((table.schema.metadata or {})[_FILES_KEY]))
        return {name: table[name].combine_chunks().to_numpy() for name in _COLUMNS}, files
    except (OSError, pa.ArrowInvalid, KeyError, ValueError):
        return _nothing(), ()


def _save(path: Path, entries: dict[str, NDArray[np.uint64]], files: Sequence[str]) -> None:
    keep_table(path, pa.table(entries).replace_schema_metadata({_FILES_KEY: json.dumps(files)}))


def kept_table(path: Path) -> pa.Table:
    """What `keep_table` wrote.

    Raises:
        OSError, ArrowInvalid: It is missing or damaged.
    """
    if is_remote(path):
        return pa.ipc.open_file(pa.BufferReader(path.read_bytes())).read_all()
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()


def _in_memory(table: pa.Table) -> bytes:
    with pa.BufferOutputStream() as sink:
        with pa.ipc.new_file(sink, table.schema) as file:
            file.write_table(table, max_chunksize=max(1, table.num_rows))
        return bytes(sink.getvalue().to_pybytes())


def keep_table(path: Path, table: pa.Table) -> None:
    """Write what was derived beside, then rename; a store that may not be written does without."""
    if is_remote(path):
        with contextlib.suppress(OSError):
            put_bytes(path, _in_memory(table))
        return
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        with pa.ipc.new_file(str(temporary), table.schema) as sink:
            sink.write_table(table, max_chunksize=max(1, table.num_rows))
        temporary.replace(path)
