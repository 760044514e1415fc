"""A store of all that can leave it: pictures, sound, text, two features, labels, splits; and media that must not."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from features.spec import FeatureSpec
from features.store import Store, commit_files
from tests.store.making import SECOND, media, put, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BATCHES: dict[str, tuple[str, ...]] = {"b1": ("a", "b"), "b2": ("c", "d", "e"), "b3": (), "b4": ("f",)}
REFUSED = "d"
CONSENT = {"a": "granted", "d": "refused:publish", "f": "refused:training"}
SHOWN = tuple(own for media_ids in BATCHES.values() for own in media_ids if own != REFUSED)
WIDTHS = {"looks": 4, "sounds": 3}
SPLITS = {"a": "train", "b": "train", "c": "dev", "e": "test"}


def spec(name: str) -> FeatureSpec:
    return FeatureSpec(name, 1, "video", "frames", shape=(WIDTHS[name],))


def vectors(name: str, media_id: str, count: int = 12) -> list[dict[str, Any]]:
    """A row a second, other numbers for each media and feature."""
    random = np.random.default_rng([ord(media_id), len(name)])
    values = random.normal(size=(count, WIDTHS[name])).astype(np.float32)
    return [
        {"media_id": media_id, "start_us": i * SECOND, "end_us": (i + 1) * SECOND, "values": v}
        for i, v in enumerate(values)
    ]


def put_feature(store: Store, name: str, batch_id: str, media_ids: Sequence[str]) -> None:
    made = spec(name)
    status = {own: "absent" if own == "e" and name == "sounds" else "ok" for own in media_ids}
    rows = [row for own in media_ids if status[own] == "ok" for row in vectors(name, own)]
    commit_files(store, made.table, [write(store, made.table, batch_id, rows)], stage=f"extract:{name}", spec=made)
    put(store, made.coverage_table, batch_id, [{"media_id": o, "status": s, "num_rows": 12} for o, s in status.items()])


def frames(media_id: str) -> list[dict[str, Any]]:
    times = [index * SECOND for index in range(12)]
    return [
        {"media_id": media_id, "t_us": t, "jpeg": f"{media_id}{t}".encode(), "width": 2, "height": None, "change": None}
        for t in times
    ]


def sound(media_id: str) -> list[dict[str, Any]]:
    return [
        {"media_id": media_id, "start_us": start, "end_us": start + SECOND, "flac": bytes(range(9)), "peak": 0.5}
        for start in (0, SECOND)
    ]


def words(media_id: str) -> list[dict[str, Any]]:
    word = {"word": "so", "start_us": 0, "end_us": SECOND, "confidence": 0.5}
    texts = ('said "so", then\nleft; ünïcode', "", None)
    return [
        {"media_id": media_id, "start_us": 0, "end_us": 2 * SECOND, "text": t, "source": "subtitle", "words": [word]}
        for t in texts
    ]


def labels(media_id: str) -> list[dict[str, Any]]:
    row = {"media_id": media_id, "task": "mood", "class": "glad" if media_id < "c" else "sad"}
    pace = {"media_id": media_id, "start_us": 0, "end_us": 5 * SECOND, "task": "pace", "number": 2.5}
    return [{**row, "start_us": 0, "end_us": 4 * SECOND}, row, pace]


def put_batch(store: Store, batch_id: str, media_ids: Sequence[str]) -> None:
    """All tables of a batch, `media` last; of refused media rows that nobody should see."""
    for name in WIDTHS:
        put_feature(store, name, batch_id, media_ids)
    for table, make in (("frames", frames), ("audio", sound), ("transcripts", words), ("labels/mood", labels)):
        put(store, table, batch_id, [row for own in media_ids for row in make(own)])
    split = [{"group_id": own, "media_id": own, "split": SPLITS[own]} for own in media_ids if own in SPLITS]
    put(store, "splits/even", batch_id, split)
    rows = [
        media(own, duration_us=12 * SECOND, language="en", consent=CONSENT.get(own, "unstated")) for own in media_ids
    ]
    put(store, "media", batch_id, rows)


@pytest.fixture(scope="session")
def made_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Made once; nobody writes to it."""
    made = Store.create(tmp_path_factory.mktemp("export") / "store")
    for batch_id, media_ids in BATCHES.items():
        put_batch(made, batch_id, media_ids)
    put_feature(made, "looks", "b9", ["a"])  # `media` does not list it: not whole
    return made


@pytest.fixture
def store(made_store: Store, tmp_path: Path) -> Store:
    """A copy, to write to."""
    shutil.copytree(made_store.path, tmp_path / "store")
    return Store.open(tmp_path / "store")
