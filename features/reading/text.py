"""The best text of each media, for segments by utterance."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from features.transcripts.choice import source_rank

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.reading.snapshot import Snapshot
    from features.store.store import Store

_COLUMNS = ("media_id", "start_us", "end_us", "source")


def text_tables(store: Store) -> list[str]:
    """Tables of text that have been made: of the files, and of recognisers."""
    return [table for table in store.tables() if table.partition("/")[0] == "transcripts"]


def best_text_of(
    snapshot: Snapshot, batch_id: str, media_id: str | None = None, *, columns: Sequence[str] = _COLUMNS
) -> pa.Table:
    """Utterances of a batch, of each media those of its best source: subtitle, sidecar, then recognised speech.

    `media_id` and `source` are to be among the columns.
    """
    tables = [table for table in snapshot.files if table.partition("/")[0] == "transcripts"]
    found = [snapshot.read(table, batch_id, columns, media_id) for table in tables]
    if not found:
        return snapshot.read("transcripts", batch_id, columns)
    rows = pa.concat_tables(found)
    pairs = rows.group_by(["media_id", "source"]).aggregate([])
    best: dict[str, str] = {}
    for own, source in sorted(zip(pairs["media_id"].to_pylist(), pairs["source"].to_pylist(), strict=True), key=_rank):
        best.setdefault(own, source)
    ids = pa.array(list(best), pa.string())
    place = pc.index_in(rows["media_id"], value_set=ids)
    wanted = pa.array(list(best.values()), pa.string()).take(place.combine_chunks())
    return rows.filter(pc.equal(rows["source"], pa.chunked_array([wanted])))


def _rank(pair: tuple[str, str]) -> tuple[str, tuple[object, ...]]:
    media_id, source = pair
    return media_id, source_rank(source)
