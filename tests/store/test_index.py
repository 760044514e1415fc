"""The media index: where each media is, by any version of `media`, without reading the table again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import StoreError
from features.store import Store, commit_files
from features.store.index import forget_index, media_index
from tests.store.making import media, put, write

if TYPE_CHECKING:
    from pathlib import Path

MANY = 70
"""Files that are enough for the index to be stored."""


def commit_many(store: Store, first: int = 0) -> dict[str, str]:
    """A batch a media; where each is."""
    where = {f"m{index}": f"b{index:04}" for index in range(first, first + MANY)}
    files = [write(store, "media", batch_id, [media(media_id)]) for media_id, batch_id in where.items()]
    commit_files(store, "media", files, stage="test")
    return where


def stored(store: Store) -> Path:
    return store.path / ".index" / "media.arrow"


def test_no_media_no_entry(store: Store) -> None:
    index = media_index(store)
    assert index.batch_of("a") is None
    assert index.batches_of_uris(["/videos/a.mp4"]) == frozenset()


def test_the_stored_index_is_read_instead_of_the_files(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    where = commit_many(store)
    assert media_index(store).batches_of(where) == where
    assert stored(store).is_file()
    monkeypatch.setattr("features.store.index._read", lambda *_: pytest.fail("it read the files again"))
    assert media_index(store).batches_of([*where, "nobody"]) == where
    assert media_index(store).batches_of_uris(["/videos/m7.mp4", "/videos/none.mp4"]) == {"b0007"}


def test_what_is_new_joins_what_is_stored(store: Store) -> None:
    where = commit_many(store)
    media_index(store)
    put(store, "media", "late", [media("z")])
    assert media_index(store).batch_of("z") == "late"
    where |= commit_many(store, MANY)
    assert media_index(store).batches_of(where) == where


def test_replaced_files_count_no_more(store: Store) -> None:
    put(store, "media", "b1", [media("a"), media("c")])
    old = store.load("media")
    put(store, "media", "b1", [media("c")], generation=2)
    assert media_index(store).batches_of(["a", "c"]) == {"c": "b1"}
    assert media_index(store, old).batches_of(["a", "c"]) == {"a": "b1", "c": "b1"}


def test_entries_of_dead_files_are_dropped(store: Store) -> None:
    where = commit_many(store)
    for generation in (2, 3):
        files = [write(store, "media", batch_id, [media(media_id)]) for media_id, batch_id in where.items()]
        commit_files(store, "media", files, stage="test", generation=generation)
        assert media_index(store).batches_of(where) == where
    assert len(media_index(store).files) <= 2 * MANY + 64


def test_a_damaged_or_missing_index_is_made_again(store: Store) -> None:
    where = commit_many(store)
    media_index(store)
    stored(store).write_bytes(b"torn")
    assert media_index(store).batches_of(where) == where
    forget_index(store)
    assert not stored(store).exists()
    assert media_index(store).batches_of(where) == where


def test_a_lost_file_of_media_is_named(store: Store) -> None:
    put(store, "media", "b1", [media("a")])
    (path,) = store.files("media")["path"].to_pylist()
    (store.table_path("media") / path).unlink()
    with pytest.raises(StoreError, match="table 'media'"):
        media_index(store)


def test_the_index_holds_no_names(store: Store) -> None:
    commit_many(store)
    media_index(store)
    content = stored(store).read_bytes()
    assert b"m7" not in content
    assert b"/videos" not in content
    (path, *_) = store.files("media")["path"].to_pylist()
    assert pq.read_table(store.table_path("media") / path)["uri"][0].as_py().startswith("/videos"), "they are there"


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(st.text(min_size=1, max_size=40), min_size=1, max_size=30))
def test_any_name_is_found_and_no_other(store: Store, names: set[str]) -> None:
    known = sorted(names)
    put(store, "media", "first", [media(name) for name in known], generation=store_generation(store))
    index = media_index(store)
    assert index.batches_of(known) == dict.fromkeys(known, "first")
    assert index.batch_of("".join(known) + "?") is None


def store_generation(store: Store) -> int:
    """A number that grows with each use of the store."""
    return store.load("media").version() + 2 if store.has("media") else 1
