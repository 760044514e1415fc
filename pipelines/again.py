"""The commit of batches that an extractor did again: a retry, a repair, or a change of what it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.schema import BATCH_ID
from features.store import Commit, FileRecord, Store, commit_files
from features.store.covered import follow_coverage
from features.store.lineage import read_lineage
from features.store.media import read_record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from features.spec import FeatureSpec
    from features.store.lineage import Lineage


def commit_again(
    store: Store, spec: FeatureSpec, own: Sequence[FileRecord], letters: Sequence[FileRecord], lineage: Lineage
) -> Iterator[Commit]:
    """Commit batches that were done again: rows, coverage, and last the letters, which follow what coverage says.

    Of two runs that do a batch again at once, the one whose rows are in writes its coverage too.

    Args:
        store: The store.
        spec: Of the extractor.
        own: Its files of rows and of coverage.
        letters: Its files of dead letters.
        lineage: What made them, of a generation above 1.

    Yields:
        What was committed.
    """
    rows = [file for file in own if file.table == spec.table]
    yield commit_files(
        store,
        spec.table,
        rows,
        stage=lineage.stage,
        generation=lineage.generation,
        metadata=lineage.metadata(),
        spec=spec,
    )
    ours = _made_by(store, spec.table, lineage, {file.batch_id for file in own})
    coverage = [file for file in own if file.table == spec.coverage_table and file.batch_id in ours]
    yield commit_files(
        store,
        spec.coverage_table,
        coverage,
        stage=lineage.stage,
        generation=lineage.generation,
        metadata=lineage.metadata(),
    )
    errors = {row["media_id"]: row["error"] for file in letters for row in read_record(store, file).to_pylist()}
    batch_ids = sorted({file.batch_id for file in own})
    yield from follow_coverage(store, spec.coverage_table, lineage.stage, batch_ids, errors=errors)


def _made_by(store: Store, table: str, lineage: Lineage, batch_ids: Collection[str]) -> frozenset[str]:
    """Batches whose live file this generation of this run made."""
    files = [file for file in store.files(table).to_pylist() if file[BATCH_ID] in batch_ids]
    made = {file[BATCH_ID]: read_lineage(store.table_path(table) / file["path"]) for file in files}
    mark = (lineage.run_id, lineage.generation)
    return frozenset(b for b, lines in made.items() if any((one.run_id, one.generation) == mark for one in lines))
