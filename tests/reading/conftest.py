"""A small store with two features, text and labels, over three whole batches and one that is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from features.spec import FeatureSpec
from features.store import Store, commit_files
from tests.store.making import SECOND, media, put, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WIDTHS = {"pictures": 4, "words": 3}
BATCHES = {"b1": ("a", "c"), "b2": ("d", "e", "f"), "b3": ()}
DURATIONS = {"a": 25 * SECOND, "c": 9 * SECOND, "d": 30 * SECOND, "e": None, "f": 12 * SECOND}
STATUS = {"a": "ok", "c": "ok", "d": "failed", "e": "absent", "f": "ok"}


def spec(name: str, version: int = 1) -> FeatureSpec:
    return FeatureSpec(name, version, "video", "frames", shape=(WIDTHS[name],))


def vectors(name: str, media_id: str, *, count: int) -> list[dict[str, Any]]:
    """One row a second, a little jittered, other numbers for each media and feature."""
    rng = np.random.default_rng([ord(media_id), len(name)])
    starts = np.arange(count) * SECOND + rng.integers(0, SECOND // 3, count)
    return [
        {
            "media_id": media_id,
            "start_us": int(start),
            "end_us": int(start) + SECOND,
            "values": rng.normal(size=WIDTHS[name]).astype(np.float32),
        }
        for start in starts
    ]


def put_feature(
    store: Store, name: str, batch_id: str, media_ids: Sequence[str], *, version: int = 1, generation: int = 1
) -> None:
    """A batch of a feature and its coverage; rows only where the status is ok."""
    made = spec(name, version)
    rows = [row for own in media_ids if STATUS[own] == "ok" for row in vectors(name, own, count=8)]
    files = [write(store, made.table, batch_id, rows)]
    commit_files(store, made.table, files, stage=f"extract:{made.key}", spec=made, generation=generation)
    coverage = [{"media_id": own, "status": STATUS[own], "num_rows": 8} for own in media_ids]
    put(store, made.coverage_table, batch_id, coverage, stage=f"extract:{made.key}", generation=generation)


def utterance(media_id: str, start: int, end: int, source: str) -> dict[str, Any]:
    return {"media_id": media_id, "start_us": start * SECOND, "end_us": end * SECOND, "text": "so", "source": source}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.create(tmp_path / "store")
    for batch_id, media_ids in BATCHES.items():
        put_feature(made, "pictures", batch_id, media_ids)
        if batch_id != "b2":  # words have not been extracted there
            put_feature(made, "words", batch_id, media_ids)
        text = [utterance(own, 1, 4, "sidecar") for own in media_ids]
        put(made, "transcripts", batch_id, [*text, *(utterance(own, 5, 6, "subtitle") for own in media_ids[:1])])
        put(made, "transcripts/heard@1", batch_id, [utterance(own, 0, 9, "asr:heard") for own in media_ids])
        put(made, "media", batch_id, [media(own, duration_us=DURATIONS[own]) for own in media_ids])
    put_feature(made, "pictures", "b4", ["a", "c"])  # `media` does not list it: not whole
    label = {"media_id": "a", "start_us": 0, "end_us": 2 * SECOND, "task": "mood", "class": "glad"}
    put(made, "labels/mood", "b1", [label, {**label, "media_id": "c", "start_us": None, "end_us": None}])
    return made
