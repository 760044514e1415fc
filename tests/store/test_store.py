"""Opening, making, and what a store refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from features.errors import SchemaError, StoreError
from features.schema import SCHEMA_VERSION
from features.spec import FeatureSpec
from features.store import Store, read_table
from features.store.store import MARKER
from tests.store.making import media, put

if TYPE_CHECKING:
    from pathlib import Path

SPEC = FeatureSpec("tone", 1, "audio", "audio", shape=(2,), weights_fingerprint="a")


def test_a_store_opens_again(tmp_path: Path) -> None:
    made = Store.create(tmp_path / "deep" / "store")
    assert Store.open(tmp_path / "deep" / "store") == Store.create(made.root) == made


def test_a_missing_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store at '.*nowhere'; make one"):
        Store.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_another_folder_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="is not a store"):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match="not a store and not empty; name an empty or a new folder"):
        Store.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_is_no_store(tmp_path: Path) -> None:
    place = tmp_path / "file"
    place.write_text("mine")
    with pytest.raises(StoreError, match="not a store and not empty"):
        Store.create(place)
    with pytest.raises(StoreError, match=r"cannot make a store at '.*inside'"):
        Store.create(place / "inside")


def test_a_store_that_is_just_being_made_is_not_foreign(tmp_path: Path) -> None:
    """A rival's marker under its temporary name, or one that a kill left, is no one's data."""
    (tmp_path / f".{MARKER}.123").write_text("{}")
    assert Store.create(tmp_path).path == tmp_path


def test_a_store_of_a_newer_program_is_refused(store: Store) -> None:
    (store.path / MARKER).write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))
    for opening in (Store.open, Store.create):
        with pytest.raises(StoreError, match=f"schema version {SCHEMA_VERSION + 1}.*install a newer triptych"):
            opening(store.root)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema_version": "new"}', "\xff"])
def test_a_damaged_marker_is_named(store: Store, text: str) -> None:
    (store.path / MARKER).write_text(text, encoding="latin-1")
    with pytest.raises(StoreError, match=f"cannot read '.*{MARKER}'"):
        Store.open(store.root)


def test_a_table_that_was_not_made_is_named(store: Store) -> None:
    put(store, "media", "b", [media("a")])
    with pytest.raises(StoreError, match="no table 'frames' yet; tables: media"):
        store.load("frames")
    with pytest.raises(SchemaError, match="no table 'frame'"):
        store.load("frame")


def test_tables_are_those_that_were_made(store: Store) -> None:
    for name in ("features/tone@1", "media", "labels/mood"):
        store.ensure(name)
    (store.path / "models" / "mood" / "1").mkdir(parents=True)
    (store.path / "frames" / "_delta_log").mkdir(parents=True)  # a run that died as it made the table
    assert store.tables() == ("features/tone@1", "labels/mood", "media")


def test_a_table_whose_making_died_is_made_again(store: Store) -> None:
    (store.path / "media" / "_delta_log").mkdir(parents=True)
    assert not store.has("media")
    assert read_table(store, "media").num_rows == 0
    put(store, "media", "b", [media("a")])
    assert read_table(store, "media")["media_id"].to_pylist() == ["a"]


def test_a_damaged_log_is_named(store: Store) -> None:
    put(store, "media", "b", [media("a")])
    for entry in (store.path / "media" / "_delta_log").iterdir():
        entry.write_text("no json")
    with pytest.raises(StoreError, match=r"cannot read the log of table 'media'.*restore its _delta_log"):
        read_table(store, "media")


def test_a_spec_is_kept_in_the_table(store: Store) -> None:
    store.ensure(SPEC.table, SPEC)
    assert store.spec(SPEC.table) == SPEC
    store.ensure("media")
    assert store.spec("media") is None


def test_features_of_other_weights_are_refused(store: Store) -> None:
    store.ensure(SPEC.table, SPEC)
    other = replace(SPEC, weights_fingerprint="b")
    with pytest.raises(StoreError, match=rf"'{SPEC.table}' was made by another 'tone'.*give .* a new version"):
        store.ensure(SPEC.table, other)
    store.ensure(replace(other, version=2).table, replace(other, version=2))
    assert store.spec(SPEC.table) == SPEC
