"""What models read of a store: aligned features and raw inputs, batch by batch."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.fusion.dataset import rows_found
from features.fusion.inputs import Gathered, align
from features.fusion.normalise import owner_of
from features.reading.raw import RAW_TABLES
from features.reading.snapshot import take_snapshot
from features.schema import BATCH_ID
from features.store.read import read_table
from pipelines.reading import BatchTables, read_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from features.fusion.dataset import Labelled
    from features.fusion.examples import Inputs
    from features.fusion.inputs import RawFound
    from features.fusion.recipe import Recipe
    from features.reading.snapshot import Snapshot
    from features.store import Store


def read_inputs(
    store: Store, recipe: Recipe, labelled: Labelled, rows: NDArray[np.int64], transcripts_sources: Mapping[str, str]
) -> Inputs:
    """Inputs of labelled segments; of the store one batch is held at a time, and only those with such segments.

    Args:
        store: The store.
        recipe: Names the features.
        labelled: The segments.
        rows: Places of those that are wanted, in the order of the result.
        transcripts_sources: Source of the best text by media.

    Raises:
        ModelError: A stored vector has another width than its table states, or there is no room for what is aligned.
    """
    widths = stored_widths(store, recipe)
    snapshot = raw_snapshot(store, recipe)
    batch_of = _batches_of(store)
    ids = labelled.media_ids
    by_batch: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows.tolist()):
        by_batch[batch_of[ids[row]]].append(place)
    gathered = Gathered(len(rows))
    for batch_id, own in by_batch.items():
        places = np.array(own, np.int64)
        segments = labelled.segments.take(pa.array(rows[places]))
        tables = {
            feature.name: rows_found(
                read_table(store, f"features/{feature.name}", batch_ids=[batch_id]), labelled.statuses[feature.name]
            )
            for feature in recipe.tables
        }
        raw = raw_of(snapshot, recipe, batch_id)
        gathered.put(places, align(recipe, segments, tables, transcripts_sources, widths, raw))
    return gathered.inputs() or _nothing(store, recipe, labelled, widths)


def stored_widths(store: Store, recipe: Recipe) -> dict[str, int]:
    """Numbers in a stored vector by feature, as its table states, or as its first row has them."""
    widths = {}
    for feature in recipe.tables:
        spec = store.spec(f"features/{feature.name}")
        shape = spec.shape if spec is not None else ()
        widths[feature.name] = math.prod(shape) if shape else _first_width(store, feature.name)
    return widths


def raw_snapshot(store: Store, recipe: Recipe, versions: Mapping[str, int] | None = None) -> Snapshot | None:
    """The files that raw inputs are computed from, where the recipe wants any."""
    tables = raw_tables(recipe)
    return take_snapshot(store, [*tables, "media"], dict(versions) if versions else None) if tables else None


def raw_tables(recipe: Recipe) -> list[str]:
    """Base tables that the recipe's raw inputs are computed from."""
    return [RAW_TABLES[name] for name in recipe.raw_inputs]


def raw_of(snapshot: Snapshot | None, recipe: Recipe, batch_id: str) -> dict[str, Callable[[pa.Table], RawFound]]:
    """What computes each raw input of a batch's segments, by its name."""
    if snapshot is None:
        return {}
    from features.raw.segments import makers_of_raw  # with the decoders of pictures and sound

    return dict(makers_of_raw(recipe.raw_inputs, snapshot, batch_id))


def media_beside(
    store: Store, recipe: Recipe, batch_id: str, versions: Mapping[str, int] | None = None
) -> dict[str, str]:
    """Batch by media of other batches that share a subject with one of this batch; none unless the recipe asks."""
    if recipe.normalisation.per != "subject":
        return {}
    media = read_table(store, "media", columns=["media_id", "subject_ids"], versions=versions).to_pylist()
    here = {owner_of(row["subject_ids"]) for row in media if row[BATCH_ID] == batch_id} - {""}
    return {
        row["media_id"]: row[BATCH_ID]
        for row in media
        if row[BATCH_ID] != batch_id and owner_of(row["subject_ids"]) in here
    }


def read_with_neighbours(
    store: Store, recipe: Recipe, keys: Sequence[str], batch_id: str, versions: Mapping[str, int] | None = None
) -> BatchTables:
    """What a model reads of a batch, with media of the same subjects where it normalises per subject."""
    beside = media_beside(store, recipe, batch_id, versions)
    found = read_tables(store, keys, [batch_id, *sorted(set(beside.values()))], versions)
    if not beside:
        return found
    own = read_table(store, "media", batch_ids=[batch_id], columns=["media_id"], versions=versions)["media_id"]
    wanted = pa.array([*own.to_pylist(), *beside], pa.string())

    def of_wanted(rows: pa.Table) -> pa.Table:
        return rows.filter(pc.is_in(rows["media_id"], value_set=wanted))

    return BatchTables(
        batch_id,
        of_wanted(found.media),
        {key: of_wanted(rows) for key, rows in found.features.items()},
        of_wanted(found.transcripts),
        of_wanted(found.shots),
        frozenset(beside),
    )


def _batches_of(store: Store) -> dict[str, str]:
    media = read_table(store, "media", columns=["media_id"])
    return dict(zip(media["media_id"].to_pylist(), media[BATCH_ID].to_pylist(), strict=True))


def _first_width(store: Store, key: str) -> int:
    for batch_id in sorted(store.batches(f"features/{key}")):
        rows = read_table(store, f"features/{key}", batch_ids=[batch_id], columns=["values"])
        if rows.num_rows:
            return len(rows["values"][0])
    return 0


def _nothing(store: Store, recipe: Recipe, labelled: Labelled, widths: Mapping[str, int]) -> Inputs:
    """Inputs of no segment."""
    tables = {f.name: read_table(store, f"features/{f.name}", batch_ids=()) for f in recipe.tables}
    raw = raw_of(raw_snapshot(store, recipe), recipe, "")
    return align(recipe, labelled.segments.slice(0, 0), tables, {}, widths, raw)
