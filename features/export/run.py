"""An export from its beginning, or from where it stopped, to its end."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from features.errors import ConfigError, StoreError, TriptychError
from features.export.aligned import open_aligned
from features.export.folder import OutFolder
from features.export.formats import make_writer, written_as
from features.export.manifest import (
    MANIFEST,
    Manifest,
    Part,
    add_part,
    forget_parts,
    read_manifest,
    read_parts,
    write_parts,
)
from features.export.options import check_options
from features.export.stored import open_stored
from features.store.tombstones import TABLE as TOMBSTONES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    import pyarrow as pa

    from features.export.manifest import FileDone
    from features.export.options import ExportOptions
    from features.export.source import Piece, Source
    from features.export.writer import Writer
    from features.store.store import Store


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export came to.

    Attributes:
        manifest: As it stands in the folder.
        num_resumed: Batches that an earlier run had done.
        was_done: Nothing was left to do.
        newer: Tables that have newer versions than were exported.
        has_forgotten: Media have been forgotten since the export began; it may show them.
    """

    manifest: Manifest
    num_resumed: int = 0
    was_done: bool = False
    newer: tuple[str, ...] = ()
    has_forgotten: bool = False


@dataclass(frozen=True, slots=True)
class _Begun:
    """An export that is under way: what it is of, where it comes from, and the parts that are done."""

    manifest: Manifest
    source: Source
    writer: Writer
    parts: list[Part]


class _Ended(NamedTuple):
    """A part that is written, and whose files may not be on the disk yet."""

    num_batches: int
    num_rows: int
    files: list[Future[FileDone]]


def export(store: Store, options: ExportOptions, tell: Callable[[int, int], None] | None = None) -> Exported:
    """Write rows of a store into files of a folder, in the order of batches; go on where an earlier run stopped.

    What is read was fixed when the export began: versions of tables, batches, and who is left out. The same options
    make the same files from the same versions, whether or not they were interrupted. When all is done, the same
    options do nothing.

    Args:
        store: The store.
        options: What to export; `media` by `media_id`.
        tell: Called with the batches done and all there are.

    Raises:
        ConfigError: An option is wrong, or the folder holds something else.
        StoreError: The store cannot be read as it was, or the folder cannot be written.
    """
    check_options(options)
    with OutFolder.at(options.out, store.root) as folder:
        manifest = _there(folder, store, options)
        if manifest is not None and _publish(folder, manifest, options):
            return _already(store, manifest)
        begun = _begin(folder, store, options) if manifest is None else _go_on(folder, store, options, manifest)
        resumed = begun.parts[-1].num_batches if begun.parts else 0
        with closing(begun.writer):
            _write(folder, options, begun, tell or _ignore)
            return Exported(_finish(folder, options, begun), resumed)


def _there(folder: OutFolder, store: Store, options: ExportOptions) -> Manifest | None:
    """The export that the folder holds and that is to go on, or None for a new one."""
    manifest = read_manifest(folder)
    if manifest is None:
        if foreign := folder.foreign():
            message = f"--out {str(folder.path)!r} holds something that is no export (such as {foreign[0]!r});"
            raise ConfigError(message + " name a folder that is missing or empty")
        return None
    if options.overwrite:
        _remove(folder, manifest)
        return None
    wanted = options.identity()
    others = [name for name, value in wanted.items() if manifest.options.get(name) != value]
    if others:
        told = ", ".join(f"{name} {manifest.options.get(name)!r} and not {wanted[name]!r}" for name in others)
        message = f"--out {str(folder.path)!r} holds another export ({told});"
        raise ConfigError(message + " name another folder, or begin anew with --overwrite")
    if any(store.has(table) and _id(store, table) != own for table, own in manifest.table_ids.items()):
        message = f"--out {str(folder.path)!r} holds an export of another store than {store.root!r};"
        raise ConfigError(message + " name another folder, or begin anew with --overwrite")
    return manifest


def _remove(folder: OutFolder, manifest: Manifest) -> None:
    """Delete the files of an export, its manifest last."""
    for file in (*manifest.files, *(file for part in read_parts(folder) for file in part.files)):
        folder.remove(file.path)
    forget_parts(folder)
    folder.sweep()
    folder.remove(MANIFEST)


def _open(store: Store, options: ExportOptions, as_of: Mapping[str, int] | None = None) -> Source:
    return open_aligned(store, options, as_of) if options.is_aligned else open_stored(store, options, as_of)


def _begin(folder: OutFolder, store: Store, options: ExportOptions) -> _Begun:
    source = _open(store, options)
    leaving = source.leaving
    versions = {**source.versions, **dict(store.versions([TOMBSTONES]))}
    manifest = Manifest(
        options.identity(),
        dict(sorted(versions.items())),
        {table: _id(store, table) for table in sorted(versions)},
        {field.name: str(field.type) for field in source.schema},
        len(leaving.batch_ids),
        {"refused": leaving.num_refused, "forgotten": leaving.num_forgotten},
        leaving.fingerprint,
    )
    writer = make_writer(folder, source.schema, options)
    folder.make_data()
    forget_parts(folder)
    manifest.write(folder)
    writer.recover([])
    return _Begun(manifest, source, writer, [])


def _go_on(folder: OutFolder, store: Store, options: ExportOptions, manifest: Manifest) -> _Begun:
    where = f"the export in {str(folder.path)!r} cannot go on"
    remedy = "begin anew with --overwrite, or in another folder"
    try:
        source = _open(store, options, manifest.as_of)
    except TriptychError as error:
        message = f"{where}: the store is no longer as it was when it began ({error}); {remedy}"
        raise StoreError(message) from error
    if source.leaving.fingerprint != manifest.left_out_fingerprint:
        message = f"{where}: since it began, media were forgotten or their use refused, and it may show them; {remedy}"
        raise StoreError(message)
    if manifest.is_done or manifest.files:  # files that were whole have gone
        manifest = replace(manifest, status="in progress", num_rows=0, files=())
        folder.make_data()
        manifest.write(folder)
    writer = make_writer(folder, source.schema, options)
    parts = writer.recover(read_parts(folder))
    write_parts(folder, parts)
    return _Begun(manifest, source, writer, parts)


def _write(folder: OutFolder, options: ExportOptions, begun: _Begun, tell: Callable[[int, int], None]) -> None:
    """Write the parts that are left."""
    batch_ids, parts = begun.source.leaving.batch_ids, begun.parts
    done, num_rows = (parts[-1].num_batches, parts[-1].num_rows) if parts else (0, 0)
    part_bytes, is_open = 0, not parts
    tell(done, len(batch_ids))
    ended: list[_Ended] = []
    for _, pieces in groupby(begun.source.stream(batch_ids[done:]), key=lambda piece: piece.batch_id):
        if options.limit and num_rows >= options.limit:
            break
        for rows in _up_to(pieces, options.limit - num_rows if options.limit else None):
            begun.writer.write(rows)
            num_rows, part_bytes, is_open = num_rows + rows.num_rows, part_bytes + rows.nbytes, True
        done += 1
        if part_bytes >= options.shard_bytes:
            _settle(folder, begun, ended)
            ended.append(_Ended(done, num_rows, begun.writer.end_part()))
            part_bytes, is_open = 0, False
        tell(done, len(batch_ids))
    if is_open:
        ended.append(_Ended(len(batch_ids), num_rows, begun.writer.end_part()))
    _settle(folder, begun, ended)


def _settle(folder: OutFolder, begun: _Begun, ended: list[_Ended]) -> None:
    """Put parts into the journal, once their files are on the disk."""
    for num_batches, num_rows, files in ended:
        part = Part(num_batches, num_rows, tuple(file.result() for file in files))
        add_part(folder, part)
        begun.parts.append(part)
    ended.clear()


def _up_to(pieces: Iterator[Piece], limit: int | None) -> Iterator[pa.Table]:
    """Rows of pieces, the first `limit` of them."""
    for piece in pieces:
        rows = piece.rows if limit is None else piece.rows.slice(0, limit)
        if rows.num_rows:
            yield rows
        if limit is not None:
            limit -= rows.num_rows


def _finish(folder: OutFolder, options: ExportOptions, begun: _Begun) -> Manifest:
    files = tuple(begun.writer.finish(begun.parts))
    manifest = replace(begun.manifest, num_rows=begun.parts[-1].num_rows, files=files)
    manifest.write(folder)
    if not _publish(folder, manifest, options):
        message = f"files in {str(folder.path)!r} have gone while they were written; run again"
        raise StoreError(message)
    return replace(manifest, status="done")


def _publish(folder: OutFolder, manifest: Manifest, options: ExportOptions) -> bool:
    """Give the files of an export that is written their names; False where it is not written, or files are missing."""
    if not manifest.files:
        return False
    for file in manifest.files:
        first = written_as(options.format, file.path)
        if folder.interim_size_of(first) == file.size_bytes and not manifest.is_done:
            folder.publish(file.path, first)
        if folder.size_of(file.path) != file.size_bytes:
            return False
    if not manifest.is_done:
        replace(manifest, status="done").write(folder)
    forget_parts(folder)
    folder.sweep()
    return True


def _already(store: Store, manifest: Manifest) -> Exported:
    """The export of an earlier run, and what has happened to the store since."""
    newer = [
        table
        for table, version in store.versions([*manifest.as_of, TOMBSTONES])
        if version > manifest.as_of.get(table, -1)
    ]
    return Exported(manifest, manifest.num_batches, True, tuple(newer), TOMBSTONES in newer)


def _id(store: Store, table: str) -> str:
    return str(store.load(table).metadata().id)


def _ignore(done: int, total: int) -> None:
    del done, total
