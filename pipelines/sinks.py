"""The end of every job: rows become files of a batch, file records meet, and the wave is committed."""

from __future__ import annotations

import logging
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import apache_beam as beam

from features.store import Commit, FileRecord, Store, commit_files, write_file
from features.store.failures import commit_failures
from features.store.rows import table_of
from pipelines.waves import HEARTBEAT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from features.spec import FeatureSpec
    from features.store.lineage import Lineage

_BEAT_SECONDS = 0.5
_LOG = logging.getLogger(__name__)


class Failure(NamedTuple):
    """A dead letter on its way to `failures`."""

    stage: str
    media_id: str | None
    uri: str | None
    error: str
    message: str
    attempts: int = 1


class Heartbeat:
    """Signs of life in the wave's heartbeat file: its time of change, and a byte a media that is done."""

    def __init__(self) -> None:
        name = os.environ.get(HEARTBEAT)
        self._path = Path(name) if name else None
        self._last = 0.0

    def __call__(self) -> None:
        """Tell the supervisor that work goes on; at most twice a second."""
        now = time.monotonic()
        if self._path is not None and now - self._last >= _BEAT_SECONDS:
            self._path.touch()
            self._last = now

    def done(self, count: int = 1) -> None:
        """Tell the supervisor that media are done."""
        if self._path is not None:
            with self._path.open("ab") as file:
                file.write(b"." * count)


def write_failures(store: Store, batch_id: str, failures: Sequence[Failure], lineage: Lineage) -> Iterator[FileRecord]:
    """The file of a batch's dead letters; none where there are none."""
    if not failures:
        return
    now = datetime.now(UTC)
    rows = (
        {
            **failure._asdict(),
            "generation": lineage.generation,
            "run_id": lineage.run_id,
            "failed_at": now,
        }
        for failure in failures
    )
    yield write_file(store, "failures", batch_id, table_of("failures", rows), lineage=[lineage])


def file_records(values: Iterable[object]) -> list[FileRecord]:
    """File records as they come out of a shuffle, in order, each once."""
    return sorted({FileRecord(*value) for value in values if isinstance(value, tuple)})


class CommitWave(beam.PTransform):  # type: ignore[misc]
    """File records of a wave → the commits made, after one GroupByKey: nothing else is ever shuffled.

    Args:
        commit: Commits files.
        join: Makes files of all that meets, where there is more than file records.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[Any]], Iterable[Commit]],
        join: Callable[[Iterable[object]], Sequence[Any]] = file_records,
    ) -> None:
        super().__init__()
        self._commit = commit
        self._join = join

    def expand(self, files: beam.PCollection[FileRecord]) -> beam.PCollection[Commit]:
        """Group all records under one key and commit them."""
        return (
            files
            | "UnderOneKey" >> beam.Map(_under_one_key)
            | "MeetOfFiles" >> beam.GroupByKey()
            | "Commit" >> beam.FlatMap(_commit_group, self._commit, self._join)
        )


def _under_one_key(file: object) -> tuple[str, object]:
    return "wave", file


def _commit_group(
    group: tuple[str, Iterable[object]],
    commit: Callable[[Sequence[Any]], Iterable[Commit]],
    join: Callable[[Iterable[object]], Sequence[Any]],
) -> list[Commit]:
    return list(commit(join(group[1])))


def commit_tables(
    store: Store,
    files: Sequence[FileRecord],
    tables: Sequence[str],
    *,
    lineage: Lineage,
    batch_ids: Collection[str],
    spec: FeatureSpec | None = None,
) -> Iterator[Commit]:
    """Commit files: dead letters first, then table by table in the order given; the last is the stage's mark of done.

    Args:
        store: The store.
        files: Files of the wave.
        tables: Tables beside `failures`; one without files is passed over.
        lineage: What made the files.
        batch_ids: Batches of the wave, also those without dead letters.
        spec: For a feature table, the first of `tables`: what made it.
    """
    letters = [file for file in files if file.table == "failures"]
    told = commit_failures(store, letters, batch_ids, lineage=lineage)
    if told is not None:
        yield told
    for table in tables:
        of_table = [file for file in files if file.table == table]
        if of_table:
            commit = commit_files(
                store,
                table,
                of_table,
                stage=lineage.stage,
                generation=lineage.generation,
                metadata=lineage.metadata(),
                spec=spec if table == tables[0] else None,
            )
            _LOG.info("committed %s rows of %s batches to %s", commit.num_rows, len(commit.batch_ids), table)
            yield commit
