"""Importing precomputed vectors: a file → rows of `features/<name>@<version>` and coverage, as of an extractor."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
import pyarrow.compute as pc

from features.errors import ConfigError
from features.fusion.settings import nearest
from features.spec import FeatureSpec, Modality
from features.store.files import checksum_of
from features.store.labels import MediaFinder, span_of
from features.store.lineage import Lineage, code_version
from features.store.read import read_table
from features.store.upsert import upsert

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from features.store.feature_file import FeatureFile
    from features.store.store import Store

    Row = dict[str, Any]
    Key = tuple[str, int, int]

IMPORT = "import"
"""What makes imported features: no extractor does."""

_INPUTS = {"video": "frames", "face": "frames", "audio": "audio", "voice": "audio", "text": "transcripts"}
_SHOWN = 5


class Imported(NamedTuple):
    """What an import came to.

    Attributes:
        key: `<name>@<version>`.
        num_rows: Vectors in the file that are usable.
        num_media: Media that have some.
        num_changed: Rows that are new in the table.
        failed: Vectors that are no features, in words.
        skipped: Media of the file that were left out, and why.
    """

    key: str
    num_rows: int
    num_media: int
    num_changed: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]


def import_features(
    store: Store, file: FeatureFile, *, modality: str, name: str, version: int = 1, run_id: str = ""
) -> Imported:
    """Put a file's vectors into the feature store. The same file twice changes nothing.

    A vector of no span is of its whole media; those with `order` share their media's duration evenly, in that order. A
    vector that is not finite, or all zeros, is a failure and no feature. Media of the store that the file does not
    mention are `absent`, until a later file does.

    Args:
        store: The store.
        file: As of `read_feature_file`.
        modality: Modality that the vectors speak for.
        name: Of the feature, `[a-z0-9_]+`.
        version: Of the feature.
        run_id: For lineage.

    Raises:
        ConfigError: The file names unknown media, a span passes its media's end, two vectors have one place, the table
            holds other vectors for these places or of another width, or none of the vectors is usable.
    """
    spec = _spec(file, modality, name, version)
    finder = MediaFinder(store, file.path)
    keys, places, skipped = _placed(file, finder)
    bad = _unusable(file.values)
    good = [place for place in places if not bad[place]]
    if not good:
        message = (
            f"none of the {len(file.values)} vectors of {str(file.path)!r} is usable: they are not finite, all zeros"
        )
        raise ConfigError(message + ", or of media that are left out; check the file")
    rows = [_row(keys[place], file.values[place]) for place in good]
    store.ensure(spec.table, spec)
    _refuse_changes(store, spec, rows)
    lineage = Lineage(run_id, f"{IMPORT}:{spec.key}", code_version(), fingerprint=checksum_of(file.path))
    changed = upsert(store, spec.table, rows, key=("media_id", "start_us", "end_us"), lineage=lineage).num_changed
    failed = {place: keys[place] for place in places if bad[place]}
    _cover(store, spec, rows, {key[0] for key in failed.values()}, lineage)
    words = tuple(f"row {place + 1}: not finite, or all zeros" for place in failed)
    return Imported(spec.key, len(rows), len({row["media_id"] for row in rows}), changed, words, tuple(skipped))


def is_imported(spec: FeatureSpec) -> bool:
    """Whether a feature was imported: no extractor makes it."""
    return spec.made_by == IMPORT


def _spec(file: FeatureFile, modality: str, name: str, version: int) -> FeatureSpec:
    if modality not in get_args(Modality):
        hint = nearest(modality, list(get_args(Modality)))
        message = f"there is no modality {modality!r}; {hint}write one of {', '.join(get_args(Modality))}"
        raise ConfigError(message)
    if not name or not set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_"):
        message = f"a feature cannot be called {name!r}; use a to z, digits and _"
        raise ConfigError(message)
    if version < 1:
        message = f"a feature's version cannot be {version}; give 1 or more"
        raise ConfigError(message)
    return FeatureSpec(
        name=name,
        version=version,
        modality=modality,  # type: ignore[arg-type]  # checked above
        inputs=_INPUTS[modality],  # type: ignore[arg-type]  # likewise
        shape=(file.values.shape[1],),
        rate="as imported",
        units="as imported",
        source="imported vectors",
        parameters=(("columns", ",".join(file.columns)),) if file.columns else (),
        made_by=IMPORT,
    )


def _placed(file: FeatureFile, finder: MediaFinder) -> tuple[dict[int, Key], list[int], list[str]]:
    """Media and span of each vector by its place in the file, the places that count, and who is left out."""
    media: dict[int, Row] = {}
    skipped: dict[str, None] = {}
    for place, row in enumerate(file.places):
        found = finder.find(row, place + 1)
        if isinstance(found, str):
            skipped[found] = None
        else:
            media[place] = found
    finder.refuse_unknown()
    keys = _ordered(file, media) if "order" in file.places[0] else {}
    for place, found in media.items():
        if place not in keys:
            keys[place] = (found["media_id"], *span_of(file.places[place], found, file.path, place + 1))
    first: dict[Key, int] = {}
    for place, key in keys.items():
        if key in first:
            message = f"rows {first[key] + 1} and {place + 1} of {str(file.path)!r} are of the same media and span"
            message += f" ({key[0]}, [{key[1]}, {key[2]}) µs); take one out, or give them spans or an order"
            raise ConfigError(message)
        first[key] = place
    return keys, sorted(keys), list(skipped)


def _ordered(file: FeatureFile, media: dict[int, Row]) -> dict[int, Key]:
    """Spans of vectors that state their order within their media."""
    by_media: dict[str, list[int]] = defaultdict(list)
    for place, found in media.items():
        by_media[found["media_id"]].append(place)
    keys: dict[int, Key] = {}
    for media_id, places in by_media.items():
        places.sort(key=lambda place: int(file.places[place]["order"]))
        orders = [int(file.places[place]["order"]) for place in places]
        if orders != list(range(len(orders))):
            message = f"the orders of media {media_id} in {str(file.path)!r} are {orders[:10]}; give 0, 1, 2 and so on"
            raise ConfigError(message)
        duration_us = media[places[0]]["duration_us"] or 0
        ends = [duration_us * count // len(places) for count in range(len(places) + 1)]
        keys |= {place: (media_id, ends[n], ends[n + 1]) for n, place in enumerate(places)}
    return keys


def _unusable(values: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.asarray(~np.isfinite(values).all(axis=1) | ~values.any(axis=1), np.bool_)


def _row(key: Key, values: NDArray[np.float32]) -> Row:
    return {"media_id": key[0], "start_us": key[1], "end_us": key[2], "values": values.tolist()}


def _refuse_changes(store: Store, spec: FeatureSpec, rows: list[Row]) -> None:
    """A version of a feature says one thing of a place for good."""
    there = read_table(store, spec.table)
    wanted = {row["media_id"] for row in rows}
    there = there.filter(pc.is_in(there["media_id"], value_set=_strings(wanted)))
    held = {(row["media_id"], row["start_us"], row["end_us"]): row["values"] for row in there.to_pylist()}
    places = {(row["media_id"], row["start_us"], row["end_us"]) for row in rows}
    other = [
        row
        for row in rows
        if held.get((row["media_id"], row["start_us"], row["end_us"]), row["values"]) != row["values"]
    ]
    gone = [key for key in held if key not in places]
    if other or gone:
        which = other[0]["media_id"] if other else gone[0][0]
        message = (
            f"{spec.table} holds other vectors of {len(other) + len(gone)} places of these media (such as {which});"
        )
        raise ConfigError(message + f" a version stays as it is: import the file with --version {spec.version + 1}")


def _cover(store: Store, spec: FeatureSpec, rows: list[Row], failed: set[str], lineage: Lineage) -> None:
    """Coverage of every media of the store: what the file has, and `absent` for those that no file had yet."""
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        counts[row["media_id"]] += 1
    held = read_table(store, spec.coverage_table, columns=["media_id", "status"]).to_pylist()
    covered = {row["media_id"] for row in held}
    coverage: list[Row] = []
    for media_id in read_table(store, "media", columns=["media_id"])["media_id"].to_pylist():
        count, is_bad = counts.get(media_id, 0), media_id in failed
        if count or is_bad:
            status = "partial" if count and is_bad else "failed" if is_bad else "ok"
            message = "a vector is not finite, or all zeros" if is_bad else None
            coverage.append({"media_id": media_id, "status": status, "num_rows": count, "message": message})
        elif media_id not in covered:
            coverage.append({"media_id": media_id, "status": "absent", "num_rows": 0, "message": None})
    store.ensure(spec.coverage_table)
    upsert(store, spec.coverage_table, coverage, key=("media_id",), lineage=lineage)


def _strings(values: set[str]) -> Any:  # noqa: ANN401 - an Arrow array
    import pyarrow as pa

    return pa.array(sorted(values), pa.string())
