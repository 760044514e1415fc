"""Verifying a store: every file as it was committed, every row in its place, batches aligned across tables.

It goes batch by batch, so that memory does not grow with the store, and reads of rows only what tells them apart.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from features.errors import ConfigError, StoreError
from features.schema import OPTIONAL_TABLES
from features.store import alignment
from features.store.checks import (
    PLACE,
    LiveFile,
    Problem,
    check_file,
    check_rows_of,
    is_checkable,
    read_rows,
    repeated_keys,
    rules_of,
)
from features.store.files import reason_of
from features.store.index import media_index
from features.store.seen import Seen
from features.store.store import files_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from deltalake import DeltaTable

    from features.store.store import Store

UNIQUE_IN_STORE = {"media": ("media_id",), "sources": ("uri", "size_bytes", "mtime_us", "attempt")}
"""Tables whose keys are unique across batches too, with the key."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong.

    Attributes:
        table: Table of it.
        batch_id: Batch of it.
        path: File of it, relative to the table's folder; empty where it is the batch.
        kind: In a word: `missing`, `size`, `unreadable`, `rows`, `schema`, `checksum`, `foreign`, `null`, `span`,
            `order`, `repeated`, `lost`, `stray`, `coverage`, `unknown`.
        what: In a sentence.
        remedy: Command that mends it.
    """

    table: str
    batch_id: str
    path: str
    kind: str
    what: str
    remedy: str


class Verified(NamedTuple):
    """What a verification looked at, and what it found. `num_unchecked` files state no checksum in their names."""

    findings: tuple[Finding, ...]
    num_tables: int
    num_batches: int
    num_files: int
    size_bytes: int
    num_unchecked: int
    num_orphans: int


class Snapshot:
    """Live files of all tables, by batch.

    A stage commits its mark of done last, and what it reads first. So tables are loaded against that order: a run that
    goes on meanwhile may have committed more of a batch than the marks tell, never less.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.handles: dict[str, DeltaTable] = {}
        self._files: dict[str, dict[str, list[LiveFile]]] = {}
        for table in sorted(store.tables(), key=_reading_order):
            self.handles[table] = store.load(table)
            self._files[table] = _by_batch(table, self.handles[table])

    @property
    def tables(self) -> tuple[str, ...]:
        """All tables, sorted."""
        return tuple(sorted(self._files))

    def files(self, table: str, batch_id: str) -> Sequence[LiveFile]:
        """Live files of a batch, sorted by path."""
        return self._files.get(table, {}).get(batch_id, ())

    def batches(self, table: str) -> Collection[str]:
        """Batches of a table; none where there is no table."""
        return self._files.get(table, {}).keys()

    def was_committed(self, table: str, stage: str, batch_id: str) -> bool:
        """Whether a stage has ever committed a batch to a table, whatever has become of it."""
        handle = self.handles.get(table)
        return handle is not None and handle.transaction_version(f"{stage}:{table}:{batch_id}") is not None


def verify_store(
    store: Store,
    tables: Collection[str] = (),
    *,
    quick: bool = False,
    on_progress: Callable[[int], None] | None = None,
) -> Verified:
    """Look at every live file and batch.

    Args:
        store: The store. A run that replaces batches meanwhile may cause findings that the next look does not have.
        tables: Only these; all by default.
        quick: Do not hash the files.
        on_progress: Called now and then with the number of files done.

    Raises:
        ConfigError: There is no such table.
        StoreError: A table's log cannot be read.
    """
    snapshot = Snapshot(store)
    _check_names(snapshot, tables)
    chosen = [table for table in snapshot.tables if table in tables or not tables]
    owed = [table for table in OPTIONAL_TABLES if table in tables or not tables]  # also where the table is gone
    verifier = _Verifier(snapshot, chosen, owed, quick)
    listing = {*chosen, "media", "sources"}  # a chosen table may lack a batch
    for batch_id in sorted({batch_id for table in listing for batch_id in snapshot.batches(table)}):
        verifier.check_batch(batch_id)
        if on_progress:
            on_progress(verifier.num_files)
    return verifier.verified()


def remedy_of(root: str, table: str) -> str:
    """The command that mends a table; labels and splits only people can state again."""
    repair = f"triptych --store {shlex.quote(root)} verify {shlex.quote(table)} --repair"
    family, _, name = table.partition("/")
    if family in ("labels", "splits"):
        return f"{repair}; load them again: triptych --store {shlex.quote(root)} label {name} FILE"
    return repair


def _check_names(snapshot: Snapshot, tables: Collection[str]) -> None:
    unknown = sorted(set(tables) - {*snapshot.tables, *OPTIONAL_TABLES})
    if unknown:
        message = f"there is no table {unknown[0]!r} in {snapshot.store.root!r}; tables: {', '.join(snapshot.tables)}"
        raise ConfigError(message)


def _reading_order(table: str) -> tuple[int, str]:
    order = ("scores", "coverage", "features", "labels", "splits", "media", "source_results")
    family, _, member = table.partition("/")
    if family == "transcripts" and member:
        family = "features"
    if family in order:
        return order.index(family), table
    return (len(order) + 1 if family == "sources" else len(order)), table


def _by_batch(table: str, handle: DeltaTable) -> dict[str, list[LiveFile]]:
    found: dict[str, list[LiveFile]] = defaultdict(list)
    for path, size_bytes, num_rows, batch_id in zip(*(c.to_pylist() for c in files_of(handle).columns), strict=True):
        found[batch_id].append(LiveFile(table, batch_id, path, size_bytes, num_rows))
    return dict(found)


class _Verifier:
    """Goes through the batches and keeps count."""

    def __init__(self, snapshot: Snapshot, tables: Sequence[str], owed: Sequence[str], quick: bool) -> None:
        self._snapshot = snapshot
        self._store = snapshot.store
        self._tables = tables
        self._owed = {*tables, *owed}
        self._quick = quick
        self._findings: list[Finding] = []
        self._seen = {table: Seen(key) for table, key in UNIQUE_IN_STORE.items()}
        self._doubts: list[tuple[Finding, tuple[str, ...]]] = []
        self._forgotten = alignment.forgotten_media(self._store)
        self.num_files = 0
        self._size_bytes = 0
        self._num_unchecked = 0

    def check_batch(self, batch_id: str) -> None:
        """Files, rows, and what tables must have in common."""
        sound: dict[str, pa.Table] = {}
        for table in self._tables:
            files = self._snapshot.files(table, batch_id)
            if files and self._check_files(files):
                rows = self._rows(files)
                if rows is not None:
                    sound[table] = rows
        batch = alignment.Batch(self._snapshot, batch_id, self._owed, sound)
        for table, problem in batch.problems():
            self._add(LiveFile(table, batch_id, "", 0, None), problem)
        for doubt in batch.doubts(self._forgotten):
            finding = self._finding(LiveFile(doubt.table, batch_id, "", 0, None), doubt.problem)
            self._doubts.append((finding, doubt.media_ids))
        for table, seen in self._seen.items():
            if table in sound:
                seen.add(batch_id, sound[table])

    def verified(self) -> Verified:
        """The result, once all batches have been checked."""
        for table in [table for table in self._seen if table in self._tables]:
            for batch_id, what in self._seen[table].repeated():
                self._add(LiveFile(table, batch_id, "", 0, None), Problem("repeated", what))
        self._findings += _justified(self._store, self._doubts)
        batches = {batch_id for table in self._tables for batch_id in self._snapshot.batches(table)}
        findings = tuple(sorted(self._findings, key=lambda f: (f.batch_id, f.table, f.path, f.kind)))
        return Verified(
            findings,
            len(self._tables),
            len(batches),
            self.num_files,
            self._size_bytes,
            self._num_unchecked,
            sum(1 for table in self._tables for _ in orphans(self._store, table, self._snapshot)),
        )

    def _check_files(self, files: Sequence[LiveFile]) -> bool:
        """Whether all of a batch's files in a table are as they were committed."""
        folder, good = self._store.table_path(files[0].table), True
        for file in files:
            problems = check_file(folder, file, quick=self._quick)
            self.num_files += 1
            self._size_bytes += file.size_bytes
            self._num_unchecked += not is_checkable(file.path)
            if problems:
                good = False
                self._add(file, Problem(problems[0].kind, "; ".join(problem.what for problem in problems)))
        return good

    def _rows(self, files: Sequence[LiveFile]) -> pa.Table | None:
        table = files[0].table
        try:
            rows = read_rows(self._store.table_path(table), files, rules_of(table).columns)
            problems = [*check_rows_of(table, rows), *self._repeated(table, files, rows)]
        except (OSError, pa.ArrowException) as error:
            self._add(files[0], Problem("unreadable", f"its rows cannot be read ({reason_of(error)[:200]})"))
            return None
        for problem in problems:
            self._add(files[problem.place or 0], problem)
        return rows

    def _repeated(self, table: str, files: Sequence[LiveFile], rows: pa.Table) -> Iterator[Problem]:
        found = repeated_keys(table, rows)
        column = rules_of(table).told_apart_by
        if found.num_rows and column:
            values = read_rows(self._store.table_path(table), files, [column])[column]
            text = pa.array([repr(value) for value in values.to_pylist()], pa.large_string())
            found = repeated_keys(table, rows.append_column("told", text), more=("told",))
        if found.num_rows:
            example = {name: value for name, value in found.slice(0, 1).to_pylist()[0].items() if value is not None}
            place, _ = example.pop(PLACE), example.pop("told", None)
            times = example.pop("count")
            shown = ", ".join(f"{name} {value}" for name, value in example.items())
            yield Problem("repeated", f"{found.num_rows} keys stand more than once: {times} times {shown}", place)

    def _add(self, file: LiveFile, problem: Problem) -> None:
        self._findings.append(self._finding(file, problem))

    def _finding(self, file: LiveFile, problem: Problem) -> Finding:
        remedy = remedy_of(self._store.root, file.table)
        return Finding(file.table, file.batch_id, file.path, problem.kind, problem.what, remedy)


def _justified(store: Store, doubts: Sequence[tuple[Finding, tuple[str, ...]]]) -> Iterator[Finding]:
    """Findings of doubts but for media that another batch had first: what is left of the loser's is invisible."""
    try:
        index = media_index(store) if doubts else None
    except StoreError:  # `media` is damaged, and is a finding itself
        return
    for finding, media_ids in doubts:
        elsewhere = index.batches_of(media_ids) if index else {}
        if any(elsewhere.get(media_id) in (None, finding.batch_id) for media_id in media_ids):
            yield finding


def orphans(store: Store, table: str, snapshot: Snapshot) -> Iterator[str]:
    """Parquet files in a table's folder that its log does not list: of dead runs, of old generations, of runs now."""
    folder = store.table_path(table)
    live = {file.path for batch_id in snapshot.batches(table) for file in snapshot.files(table, batch_id)}
    for path in sorted(folder.glob("batch_id=*/*.parquet")):
        relative = path.relative_to(folder).as_posix()
        if relative not in live:
            yield relative
