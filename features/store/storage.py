"""Where a store lies: a folder, or a prefix of a bucket. The one place that knows the difference.

A bucket's files are `upath.UPath`s, which act as `pathlib.Path`s do (and are typed as such), so that most code does not
care. What S3 has not - renaming, links, appending, times that can be set - has its equivalent here. Endpoint, region
and credentials come from the environment, by the AWS variables.

Reference:
    Conditional writes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, cast

import pyarrow.dataset as ds
import pyarrow.parquet as pq

from features.errors import StoreError
from features.sources import urls

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa

SCHEME = "s3://"
"""What the root of a store in a bucket begins with."""
_DELETED_AT_ONCE = 1000


def is_url(root: str | Path) -> bool:
    """Whether a store's root names a bucket."""
    return isinstance(root, str) and root.startswith(SCHEME)


def root_of(given: str | Path) -> str:
    """The root of a store as it is kept: an absolute path, or a URL without a slash at its end.

    Raises:
        StoreError: It is another kind of URL.
    """
    if is_url(given):
        return str(given).rstrip("/")
    if isinstance(given, str) and urls.is_url(given):
        message = f"a store cannot lie at {given!r}; name a folder, or s3://BUCKET/PREFIX, with --store"
        raise StoreError(message)
    return str(Path(given).absolute())


def place_of(root: str | Path) -> Path:
    """The folder, absolute, or the prefix of the bucket.

    Raises:
        StoreError: It is a URL, and what opens it is not installed.
    """
    if not is_url(root):
        return Path(root_of(root))
    from features.store.s3 import path_of

    return path_of(root_of(root))


def check_place(root: str | Path) -> None:
    """Ask for a bucket once, so that what is wrong with it is told in words.

    Raises:
        StoreError: It is not there, or may not be listed, or does not answer.
    """
    if is_url(root):
        from features.store.s3 import probe

        probe(root_of(root))


def remedy(place: str | Path, error: BaseException, on_disk: str) -> str:
    """What to do about what cannot be written, or deleted.

    Args:
        place: Root of the store, or the file.
        error: What went wrong.
        on_disk: What to do where it lies on a disk; a bucket says why by itself.
    """
    if not (is_url(place) if isinstance(place, str) else is_remote(place)):
        return on_disk
    from features.store.s3 import remedy_of

    return remedy_of(error)


def is_remote(path: object) -> bool:
    """Whether a file or folder lies in a bucket."""
    return not isinstance(path, PurePath)


def local_of(path: Path) -> Path:
    """A folder on a disk for what is on its way to a folder: itself, or the system's for temporary files."""
    return Path(tempfile.gettempdir()) if is_remote(path) else path


def list_folder(path: Path) -> list[tuple[str, bool]]:
    """Names in a folder, and whether each is one; nothing where it is not there."""
    try:
        if not is_remote(path):
            with os.scandir(path) as entries:
                return [(entry.name, entry.is_dir()) for entry in entries]
        found = _system_of(path).ls(_key(path), detail=True)
    except FileNotFoundError:
        return []
    named = ((entry["name"].rstrip("/"), entry["type"] == "directory") for entry in found)
    return [(name.rpartition("/")[2], is_folder) for name, is_folder in named if name != _key(path)]


def parquet_file(path: Path) -> pq.ParquetFile:
    """Open a Parquet file; of one in a bucket only the parts that are asked for are fetched.

    Raises:
        OSError, ArrowInvalid: It is missing or damaged.
    """
    if not is_remote(path):
        return pq.ParquetFile(path)
    return pq.ParquetFile(_key(path), filesystem=_arrow(), pre_buffer=True)


def parquet_dataset(
    paths: Sequence[Path], schema: pa.Schema, *, partitioning: ds.Partitioning | None = None
) -> ds.Dataset:
    """Many Parquet files of one table as one; `__filename` tells a row's file as `name_in_dataset` does.

    Raises:
        OSError, ArrowException: One is missing or damaged.
    """
    names = [name_in_dataset(path) for path in paths]
    system = _arrow() if paths and is_remote(paths[0]) else None
    return ds.dataset(names, schema=schema, format="parquet", partitioning=partitioning, filesystem=system)


def name_in_dataset(path: Path) -> str:
    """What a dataset calls a file."""
    return _key(path) if is_remote(path) else str(path)


def put_bytes(path: Path, content: bytes, *, is_new: bool = False) -> None:
    """Write an object of a bucket, whole or not at all.

    Args:
        path: Where.
        content: All of it.
        is_new: Only where there is none, whoever else tries at the same time (`If-None-Match: *`).

    Raises:
        FileExistsError: There is one, and it should be new.
        OSError: It cannot be written.
    """
    try:
        _system_of(path).pipe_file(_key(path), content, mode="create" if is_new else "overwrite")
    except FileExistsError:
        if path.read_bytes() != content:  # else it is ours: it was tried again because the answer was lost
            raise


def put_file(local: Path, path: Path) -> None:
    """Copy a finished file into a bucket; it shows when all of it is there.

    Raises:
        OSError: It cannot be written.
    """
    _system_of(path).put_file(str(local), _key(path))


def touch(path: Path) -> None:
    """Make a file's time of change now.

    Raises:
        OSError: It is gone, or may not be written.
    """
    if is_remote(path):
        put_bytes(path, path.read_bytes())
    else:
        os.utime(path)


def remove_files(paths: Collection[Path]) -> None:
    """Delete files; those that are gone are no matter.

    Raises:
        OSError: They may not be deleted.
    """
    remote = [path for path in paths if is_remote(path)]
    if remote:
        for start in range(0, len(remote), _DELETED_AT_ONCE):
            _system_of(remote[0]).bulk_delete([_key(path) for path in remote[start : start + _DELETED_AT_ONCE]])
    for path in set(paths).difference(remote):
        path.unlink(missing_ok=True)


def remove_folder(path: Path) -> None:
    """Delete a folder and all in it.

    Raises:
        OSError: It may not be deleted.
    """
    if is_remote(path):
        remove_files([file for file in path.rglob("*") if file.is_file()])
    else:
        shutil.rmtree(path)


def _key(path: Path) -> str:
    """Bucket and key, as file systems name an object."""
    return str(path).removeprefix(SCHEME)


def _system_of(path: Path) -> Any:  # noqa: ANN401 - s3fs states no types
    return cast("Any", path).fs


def _arrow() -> Any:  # noqa: ANN401 - pyarrow states no types
    from features.store.s3 import arrow_system

    return arrow_system()
