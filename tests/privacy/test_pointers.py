"""What points to a forgotten media, the key of the tombstones, and the models that learned from it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from features.privacy.erasure import erase, plan_erasure
from features.privacy.learned import models_that_learned
from features.store import Store, read_table
from features.store.read import read_committed
from features.store.tombstones import KEY_FILE, if_forgotten, read_key, read_tombstones
from tests.pipelines.running import config, ingest_here
from tests.privacy.test_erasure import NAME, forget, media_id_of
from tests.privacy.traces import files_with
from tests.store.making import media, put, result


@pytest.fixture
def family(tmp_path: Path) -> Store:
    """`b` superseded `a` at one place; `b` gave its name to a group of three; letters tell of both."""
    store = Store.create(tmp_path / "family")
    uris = {"a": "/v/x.mp4", "b": "/v/x.mp4", "c": "/v/c.mp4"}
    for batch_id, name, size in (("b1", "a", 1), ("b2", "b", 2), ("b3", "c", 3)):
        put(store, "sources", batch_id, [{"uri": uris[name], "size_bytes": size, "mtime_us": size}])
        put(store, "source_results", batch_id, [result(name, uris[name])])
    put(store, "media", "b1", [media("a", uri=uris["a"], superseded_by="b")])
    put(store, "media", "b2", [media("b", uri=uris["b"])])
    put(store, "media", "b3", [media("c", uri=uris["c"], subject_ids=["s1"])])
    put(store, "failures", "b1", [{"stage": "ingest", "uri": uris["a"], "message": "torn at first"}])
    put(store, "splits/default", "b2", [{"group_id": "b", "media_id": "b", "split": "train"}])
    put(store, "splits/default", "b3", [{"group_id": "b", "media_id": m, "split": "train"} for m in ("c", "d")])
    return store


def test_pointers_to_it_are_cleared(family: Store) -> None:
    plan = plan_erasure(family, ["b"])
    assert plan.batches == ("b1", "b2", "b3")
    assert plan.rows["media"] == 1
    erase(family, plan, "run")
    assert [(m["media_id"], m["superseded_by"]) for m in read_table(family, "media").to_pylist()] == [
        ("a", None),
        ("c", None),
    ]
    assert {(r["media_id"], r["group_id"]) for r in read_committed(family, "splits/default").to_pylist()} == {
        ("c", "c"),
        ("d", "c"),
    }


def test_a_place_that_another_media_holds_stays(family: Store) -> None:
    forget(family, "b")
    assert [(s["uri"], s["size_bytes"]) for s in read_table(family, "sources").to_pylist()] == [
        ("/v/x.mp4", 1),
        ("/v/c.mp4", 3),
    ]
    assert read_table(family, "failures").num_rows == 1
    forget(family, "a")
    assert files_with(family, ["/v/x.mp4"]) == set()
    assert read_table(family, "failures").num_rows == 0


def test_the_key_is_the_owners_and_the_stores(family: Store, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "other")
    assert not (family.path / KEY_FILE).exists()
    assert plan_erasure(family, ["b"]).media
    assert not (family.path / KEY_FILE).exists()
    forget(family, "b")
    assert stat.S_IMODE(os.stat(family.path / KEY_FILE).st_mode) == 0o600  # noqa: PTH116
    assert read_key(family) == read_key(family) != read_key(other)
    tombstones = read_tombstones(family)
    assert tombstones is not None
    assert tombstones.uri_hash("/v/x.mp4") in tombstones.uris
    assert if_forgotten(other, []).uri_hash("/v/x.mp4") not in tombstones.uris


def test_without_its_key_it_is_known_by_its_bytes(store: Store, videos: Path) -> None:
    media_id = media_id_of(videos)
    forget(store, media_id)
    (store.path / KEY_FILE).unlink()
    from features.store import tombstones

    tombstones._read.cache_clear()
    _, (done,) = ingest_here(store.root, config([videos / NAME]))
    assert done.rows["media"] == 0
    assert files_with(store, (media_id, "person_03")) == set()


def test_models_that_learned_are_named(store: Store) -> None:
    splits = {row["split"]: row for row in read_table(store, "splits/default").to_pylist()}
    for split, row in splits.items():
        found = models_that_learned(store, [row["media_id"]], [row["batch_id"]])
        assert [(str(m.key), scores) for m, scores in found] == (
            [] if split == "test" else [("moods@1", "scores/moods@1")]
        )
    assert models_that_learned(store, ["unknown"], sorted(store.batches("media"))) == ()
