"""Media that there are only vectors of: rows of `media` without content, in a batch of their own."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError
from features.identity import MICROSECONDS, make_batch_id, media_id_of_parts, seconds_to_us
from features.store.commit import commit_files
from features.store.files import write_file
from features.store.lineage import Lineage, code_version
from features.store.read import read_table
from features.store.rows import table_of
from features.store.tombstones import read_tombstones

if TYPE_CHECKING:
    from features.store.feature_file import FeatureFile
    from features.store.store import Store

CONTAINER = "imported"
"""`media.container` of media that there are only vectors of."""

_SCHEME = "imported:"


def add_media(store: Store, file: FeatureFile, *, run_id: str = "") -> int:
    """Add the media that a file of vectors names and the store does not have, by their names.

    A media lasts until the latest end that the file states of it; rows with `order` last one second each, others one
    second. They are in `media` alone, in one batch; what was forgotten does not come back.

    Args:
        store: The store.
        file: As of `read_feature_file`, with a column `media`.
        run_id: For lineage.

    Returns:
        How many were added.

    Raises:
        ConfigError: The file names media by `uri` alone.
    """
    if "media" not in file.places[0]:
        message = f"{str(file.path)!r} names media by uri alone; new media need names: a column media"
        raise ConfigError(message)
    durations = _durations(file)
    held = read_table(store, "media", columns=["media_id", "name"])
    known = {*held["media_id"].to_pylist(), *held["name"].to_pylist()}
    tombstones = read_tombstones(store)
    forgotten = tombstones.media_ids if tombstones else frozenset()
    new = {name: us for name, us in durations.items() if name not in known and media_id_of(name) not in forgotten}
    if not new:
        return 0
    now = datetime.now(UTC)
    batch_id = make_batch_id(now, 0, sorted(new))
    lineage = Lineage(run_id, CONTAINER, code_version())
    rows: list[dict[str, Any]] = [
        {
            "media_id": media_id_of(name),
            "name": name,
            "uri": f"{_SCHEME}{name}",
            "container": CONTAINER,
            "duration_us": new[name],
            "has_video": False,
            "has_audio": False,
            "has_text": False,
            "consent": "unstated",
            "subject_ids": [],
            "ingested_at": now,
        }
        for name in sorted(new)
    ]
    record = write_file(store, "media", batch_id, table_of("media", rows), lineage=[lineage])
    commit_files(store, "media", [record], stage=CONTAINER, metadata=lineage.metadata())
    return len(new)


def media_id_of(name: str) -> str:
    """Identity of a media that there are only vectors of: by its name."""
    return media_id_of_parts([_SCHEME.encode() + os.fsencode(name)])


def _durations(file: FeatureFile) -> dict[str, int]:
    """Latest end by name, microseconds."""
    ends: dict[str, int] = {}
    for row in file.places:
        end = row.get("end_us")
        if end is None and row.get("end_seconds") is not None:
            end = seconds_to_us(float(row["end_seconds"]))
        if end is None:
            end = (int(row.get("order") or 0) + 1) * MICROSECONDS
        ends[str(row["media"])] = max(ends.get(str(row["media"]), 1), int(end))
    return ends
