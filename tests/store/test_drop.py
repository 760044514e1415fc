"""Dropping an extractor: all of it goes, in an order that a kill cannot hurt, and it can be made anew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from features.errors import ConfigError, StoreError
from features.spec import FeatureSpec
from features.store import Store, pending_batches, read_table
from features.store.drop import drop_extracted, find_extracted
from features.store.failures import commit_failures
from features.store.leases import Leases
from features.store.lineage import Lineage
from features.store.maintain import maintain
from features.store.models import ModelRef, model_folder
from tests.store.making import SECOND, media, put, write

SPEC = FeatureSpec("sounds", 1, "audio", "audio", shape=(2,))
OTHER_WEIGHTS = FeatureSpec("sounds", 1, "audio", "audio", shape=(2,), weights_fingerprint="another")


def extract(store: Store, *batch_ids: str, spec: FeatureSpec = SPEC) -> int:
    """What an extract wave commits, one media of each batch failing; rows that it made visible."""
    store.ensure(spec.table, spec)
    num_rows = 0
    for batch_id in batch_ids:
        failed = {"stage": "extract:sounds@1", "media_id": "m2", "error": "ExtractionError", "message": "silence"}
        letters = [write(store, "failures", batch_id, [failed])]
        commit_failures(store, letters, batch_ids, lineage=Lineage("run", "extract:sounds@1"))
        row = {"media_id": "m1", "start_us": 0, "end_us": SECOND, "values": [1.0, 2.0]}
        num_rows += put(store, spec.table, batch_id, [row], stage="extract:sounds@1").num_rows
        coverage = [{"media_id": "m1", "status": "ok", "num_rows": 1}, {"media_id": "m2", "status": "failed"}]
        put(store, spec.coverage_table, batch_id, coverage, stage="extract:sounds@1")
    return num_rows


@pytest.fixture
def extracted(store: Store) -> Store:
    """Two batches with `sounds@1`, and dead letters of it and of another stage."""
    for batch_id in ("b1", "b2"):
        put(store, "media", batch_id, [media("m1"), media("m2")])
    extract(store, "b1", "b2")
    put(store, "failures", "b1", [{"stage": "ingest", "uri": "/v/torn.mp4"}], stage="ingest")
    return store


def model(store: Store, name: str, **learned: object) -> None:
    folder = model_folder(store, ModelRef(name, 1))
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"features": {}, "table_versions": {}, **learned}))


def open_stages(store: Store) -> list[str]:
    rows = read_table(store, "failures").to_pylist()
    return sorted(row["stage"] for row in rows if row["closed_at"] is None)


def test_what_is_dropped_is_named_with_its_models(extracted: Store) -> None:
    model(extracted, "heard", features={"sounds@1": {}})
    model(extracted, "read", table_versions={"features/sounds@1": 3})
    model(extracted, "seen", features={"looks@1": {}})
    found = find_extracted(extracted, "sounds@1")
    assert found.tables == ("coverage/sounds@1", "features/sounds@1")
    assert found.models == ("heard@1", "read@1")
    assert found.num_rows == 6


def test_an_unknown_name_is_refused_with_a_suggestion(extracted: Store) -> None:
    for wrong in ("sound@1", "sounds", "sounds@2"):
        with pytest.raises(ConfigError, match="did you mean 'sounds@1'"):
            find_extracted(extracted, wrong)
    with pytest.raises(ConfigError, match="there are: sounds@1"):
        find_extracted(extracted, "media")


def test_it_goes_whole_and_its_letters_are_closed(extracted: Store) -> None:
    drop_extracted(extracted, find_extracted(extracted, "sounds@1"), "run")
    assert extracted.tables() == ("failures", "media")
    assert not list(extracted.path.rglob("*sounds*"))
    assert open_stages(extracted) == ["ingest"]
    assert read_table(extracted, "failures").num_rows == 3, "closed, not deleted"


def test_it_is_made_anew_also_by_other_weights(extracted: Store) -> None:
    drop_extracted(extracted, find_extracted(extracted, "sounds@1"), "run")
    assert pending_batches(extracted, SPEC.coverage_table) == ("b1", "b2")
    assert extract(extracted, "b1", "b2", spec=OTHER_WEIGHTS) == 2
    assert pending_batches(extracted, SPEC.coverage_table) == ()
    assert open_stages(extracted) == ["extract:sounds@1", "extract:sounds@1", "ingest"], "new letters are not lost"
    assert extract(extracted, "b1", "b2", spec=OTHER_WEIGHTS) == 0
    assert len(open_stages(extracted)) == 3


def test_a_kill_on_the_way_leaves_nothing_half_done(extracted: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed when the mark of done is gone and the rows are not: they are pending, and dropping goes on."""
    rename = Path.rename

    def die(self: Path, target: Path) -> Path:
        if "features" in self.parts:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            drop_extracted(extracted, find_extracted(extracted, "sounds@1"), "run")
    assert pending_batches(extracted, SPEC.coverage_table) == ("b1", "b2")
    assert find_extracted(extracted, "sounds@1").tables == ("features/sounds@1",)
    drop_extracted(extracted, find_extracted(extracted, "sounds@1"), "again")
    assert extract(extracted, "b1", "b2") == 2
    assert maintain(extracted, "run").others == 1, "the folder of the killed one"
    assert not list(extracted.path.glob(".dropped/*"))


def test_a_kill_before_the_deleting_is_finished_by_maintain(extracted: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(path: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", die)
        with pytest.raises(KeyboardInterrupt):
            drop_extracted(extracted, find_extracted(extracted, "sounds@1"), "run")
    assert extracted.tables() == ("failures", "media")
    maintain(extracted, "run")
    assert not list(extracted.path.rglob("*sounds*"))


def test_what_a_run_is_extracting_is_not_dropped(extracted: Store) -> None:
    with Leases(extracted, "night") as leases:
        leases.take(["extract-sounds.b1"])
        with pytest.raises(StoreError, match="run night on"):
            drop_extracted(extracted, find_extracted(extracted, "sounds@1"), "run")
    assert len(open_stages(extracted)) == 3
