"""`triptych lineage`: a table, a model, a media."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from features.store import commit_files, write_file
from features.store.lineage import Lineage
from features.store.rows import table_of
from tests.flows.conftest import SPECS
from tests.store.making import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.store import Store
    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]


def test_a_table_tells_what_made_its_batches(store: Store, triptych: Triptych) -> None:
    made = Lineage("night", "extract:looks@1", "0.1.0", 2, SPECS[0].fingerprint, (("frames", 4), ("media", 7)))
    rows = [{"media_id": "m00", "start_us": 0, "end_us": SECOND, "values": [0.0] * 4}]
    file = write_file(store, SPECS[0].table, "b1", table_of(SPECS[0].table, rows), lineage=[made])
    commit_files(store, SPECS[0].table, [file], stage="test", generation=2, metadata=made.metadata())
    told = triptych("--store", store.root, "lineage", "features/looks@1")
    assert told.status == 0
    assert SPECS[0].fingerprint in told.out
    assert "frames:4, media:7" in told.out
    data = json.loads(triptych("--store", store.root, "lineage", "features/looks@1", "--batch", "b1", "--json").out)
    (entry,) = data["files"]
    assert (entry["batch_id"], entry["checksum"], entry["num_rows"]) == ("b1", file.checksum, 1)
    assert entry["lineage"][0]["inputs"] == {"frames": 4, "media": 7}
    assert data["spec"]["name"] == "looks"


def test_a_model_tells_its_run_tables_and_features(
    store: Store, triptych: Triptych, recipe: Path, write_labels: Callable[..., Path]
) -> None:
    assert triptych("--store", store.root, "label", "mood", write_labels("low", "high")).status == 0
    assert triptych("--store", store.root, "train", recipe).status == 0
    data = json.loads(triptych("--store", store.root, "lineage", "moods", "--json").out)
    assert data["model"] == "moods@1"
    assert data["features"] == {spec.key: spec.fingerprint for spec in SPECS}
    assert data["tables"]["labels/mood"] == store.load("labels/mood").version()
    assert len(data["run"]) > 8
    assert data["run"] in triptych("--store", store.root, "lineage", "moods@1").out
    labels = json.loads(triptych("--store", store.root, "lineage", "labels/mood", "--json").out)
    assert {one["lineage"][0]["stage"].partition(":")[0] for one in labels["files"]} == {"label"}


def test_a_media_tells_what_made_each_of_its_tables(store: Store, triptych: Triptych) -> None:
    told = triptych("--store", store.root, "lineage", "m03.mp4")
    assert told.status == 0
    for table in ("media", "features/looks@1", "coverage/sounds@1"):
        assert table in told.out
    data = json.loads(triptych("--store", store.root, "lineage", "m03", "--json").out)
    assert {file["batch_id"] for file in data["files"]} == {"b1"}


def test_what_nobody_knows_is_refused_with_what_there_is(store: Store, triptych: Triptych) -> None:
    told = triptych("--store", store.root, "lineage", "features/nothing@1")
    assert told.status == 2
    assert "features/looks@1" in told.err
    told = triptych("--store", store.root, "lineage", "features/looks@1", "--batch", "b9")
    assert (told.status, "no batch 'b9'" in told.err) == (2, True)
