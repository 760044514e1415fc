"""Importing precomputed vectors: a file → rows of `features/<name>@<version>` and coverage, as of an extractor."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow.compute as pc

from features.errors import ConfigError
from features.privacy.consent import first_refused, purposes_of
from features.schema import BATCH_ID
from features.store.import_places import CONTAINER, place_rows
from features.store.import_rows import (
    Found,
    merged_coverage,
    merged_vectors,
    put_rows,
    table_of_vectors,
    tell_failures,
)
from features.store.import_spec import import_stage, spec_of_file
from features.store.lineage import Lineage, code_version
from features.store.named_media import MediaFinder
from features.store.new_media import NewMedia, commit_new_media, commit_plan, plan_new_media
from features.store.read import read_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import pyarrow as pa

    from features.spec import FeatureSpec
    from features.store.feature_file import FeatureFile
    from features.store.import_places import Place, Placed
    from features.store.store import Store

    Row = dict[str, Any]


class Imported(NamedTuple):
    """What an import came to.

    Attributes:
        key: `<name>@<version>`.
        num_rows: Vectors in the file that are usable.
        num_media: Media that have some.
        num_changed: Vectors that the table did not have.
        num_new_media: Media that the store did not have.
        failed: Vectors that are no features, in words.
        skipped: Media of the file that were left out, and why.
    """

    key: str
    num_rows: int
    num_media: int
    num_changed: int
    num_new_media: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]


def import_features(
    store: Store,
    file: FeatureFile,
    *,
    modality: str,
    name: str,
    version: int = 1,
    new_media: bool = False,
    run_id: str = "",
) -> Imported:
    """Put a file's vectors into the feature store. The same file twice changes nothing.

    A vector of no span is of its whole media; those with `order` share their media's duration evenly, in that order. A
    vector that is not finite, or all zeros, is a failure and no feature. Media of the store that the file does not
    mention are `absent`, until a later file does; a batch that comes in later is covered when the file, or another, is
    imported after it.

    Args:
        store: The store.
        file: As of `read_feature_file`.
        modality: Modality that the vectors speak for.
        name: Of the feature, `[a-z0-9_]+`.
        version: Of the feature.
        new_media: Add media that the store does not have, by their names in the column `media`, without content.
        run_id: For lineage.

    Raises:
        ConfigError: The file names unknown media, a span passes its media's end, two vectors have one place, the table
            holds something else, or none of the vectors is usable; the store stays as it was.
        StoreError: The store cannot be written; import the file again, and it goes on from there.
    """
    spec = spec_of_file(store, file, modality=modality, name=name, version=version)
    finder = MediaFinder(store, file.path)
    new = plan_new_media(store, file, finder, spec.table) if new_media else None
    if new is not None:
        finder.add({**row, BATCH_ID: new.batch_id} for row in new.rows)
    one = _Import(store, file, spec, place_rows(file, finder, spec), finder, new)
    lineage = Lineage(run_id, import_stage(spec), code_version(), fingerprint=file.checksum)
    num_changed, lost = one.commit(lineage)
    if lost:  # another import has added these media in between: their vectors belong into its batch
        return import_features(store, file, modality=modality, name=name, version=version, run_id=run_id)
    return one.told(num_changed)


class _Import:
    """One file on its way into a store; made, it has been checked against itself."""

    def __init__(
        self,
        store: Store,
        file: FeatureFile,
        spec: FeatureSpec,
        placed: Placed,
        finder: MediaFinder,
        new: NewMedia | None,
    ) -> None:
        self._store, self._file, self._spec, self._placed, self._new = store, file, spec, placed, new
        self._media = finder.rows({place.media_id for place in placed.places.values()})
        self._problems = _problems(file, placed.places)
        self._good = sorted(set(placed.places) - set(self._problems), key=placed.places.__getitem__)
        if not self._good:
            left_out = len(file.values) - len(placed.places)
            reasons = [f"{left_out} are of media that are left out ({placed.skipped[0]}, …)"] if left_out else []
            reasons += [f"{len(self._problems)} are not finite, or all zeros"] if self._problems else []
            message = f"none of the {len(file.values)} vectors of {str(file.path)!r} can be used: {', '.join(reasons)};"
            raise ConfigError(message + " check the file")

    def commit(self, lineage: Lineage) -> tuple[int, frozenset[str]]:
        """Vectors, then coverage as the mark of done, media that are new, and dead letters last.

        Returns:
            How many vectors are new, and new media that another import had first.
        """
        store, spec = self._store, self._spec
        own, whole = self._found_by_batch(), self._whole_media()
        bare = store.batches("media") - store.batches(spec.coverage_table)
        batch_ids = own.keys() | bare
        store.ensure(spec.table, spec)
        merge = partial(_merge_vectors, spec, self._vectors_by_batch(), whole)
        num_changed = put_rows(store, spec.table, batch_ids, merge, lineage)
        store.ensure(spec.coverage_table)
        cover = partial(_merge_coverage, spec, self._consents(batch_ids), own)
        put_rows(store, spec.coverage_table, batch_ids, cover, lineage)
        lost = commit_new_media(store, self._new, lineage) if self._new else frozenset()
        self._complete_plans(lineage)
        if not lost:
            tell_failures(store, spec, own, lineage)
        return num_changed, lost

    def told(self, num_changed: int) -> Imported:
        """What it came to."""
        media = {self._placed.places[place].media_id for place in self._good}
        words = tuple(self._problems[place] for place in sorted(self._problems))
        num_new = len(self._new.rows) if self._new else 0
        return Imported(self._spec.key, len(self._good), len(media), num_changed, num_new, words, self._placed.skipped)

    def _found_by_batch(self) -> dict[str, dict[str, Found]]:
        counts: dict[str, int] = defaultdict(int)
        problems: dict[str, list[str]] = defaultdict(list)
        for number, place in sorted(self._placed.places.items()):
            if number in self._problems:
                problems[place.media_id].append(self._problems[number])
            else:
                counts[place.media_id] += 1
        found: dict[str, dict[str, Found]] = defaultdict(dict)
        for media_id, row in self._media.items():
            found[row[BATCH_ID]][media_id] = Found(counts[media_id], tuple(problems[media_id]))
        return dict(found)

    def _vectors_by_batch(self) -> dict[str, pa.Table]:
        numbers: dict[str, list[int]] = defaultdict(list)
        for number in self._good:
            numbers[self._media[self._placed.places[number].media_id][BATCH_ID]].append(number)
        return {
            batch_id: table_of_vectors(
                self._spec.table, [self._placed.places[number] for number in own], self._file.values[own]
            )
            for batch_id, own in numbers.items()
        }

    def _whole_media(self) -> frozenset[str]:
        """Media that have all their vectors by now."""
        held = read_table(self._store, self._spec.coverage_table, columns=["media_id", "status"])
        return frozenset(held.filter(pc.equal(held["status"], "ok"))["media_id"].to_pylist())

    def _consents(self, batch_ids: Collection[str]) -> dict[str, dict[str, str | None]]:
        """Media of batches, each with the purpose that its consent refuses, or None."""
        rows = read_table(self._store, "media", batch_ids=batch_ids, columns=["media_id", "consent"]).to_pylist()
        new = [{**row, BATCH_ID: self._new.batch_id} for row in self._new.rows] if self._new else []
        found: dict[str, dict[str, str | None]] = {batch_id: {} for batch_id in batch_ids}
        for row in (*rows, *new):
            refused = first_refused(row["consent"], purposes_of(self._spec))
            found.setdefault(row[BATCH_ID], {})[row["media_id"]] = refused
        return found

    def _complete_plans(self, lineage: Lineage) -> None:
        """List media in `sources` that an import which was killed at its end has added."""
        planned = self._store.batches("sources")
        unplanned = {
            row[BATCH_ID]
            for row in self._media.values()
            if row["container"] == CONTAINER and row[BATCH_ID] not in planned
        }
        for batch_id in sorted(unplanned):
            rows = read_table(self._store, "media", batch_ids=[batch_id]).to_pylist()
            commit_plan(self._store, batch_id, tuple(rows), lineage)


def _problems(file: FeatureFile, places: Mapping[int, Place]) -> dict[int, str]:
    """What is wrong with vectors that cannot be used, by row of the file."""
    bad = {"is not finite": ~np.isfinite(file.values).all(axis=1), "is all zeros": ~file.values.any(axis=1)}
    return {
        int(number): f"the vector of row {number + 1} of {file.path.name!r} {what}"
        for what, rows in bad.items()
        for number in np.flatnonzero(rows)
        if number in places
    }


def _merge_vectors(
    spec: FeatureSpec, vectors: Mapping[str, pa.Table], whole: Collection[str], batch_id: str, held: pa.Table
) -> pa.Table:
    new = vectors.get(batch_id)
    return held if new is None else merged_vectors(spec, new, held, whole)


def _merge_coverage(
    spec: FeatureSpec,
    media: Mapping[str, Mapping[str, str | None]],
    found: Mapping[str, Mapping[str, Found]],
    batch_id: str,
    held: pa.Table,
) -> pa.Table:
    return merged_coverage(spec, media.get(batch_id, {}), found.get(batch_id, {}), held)
