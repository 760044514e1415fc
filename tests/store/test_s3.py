"""A store in a bucket: the same rows as on a disk, one winner of each race, and errors in words."""

from __future__ import annotations

import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from features.extractors.registry import get_extractor
from features.extractors.tokens import Tokens
from features.privacy.erasure import erase, plan_erasure
from features.store import Store, read_table
from features.store.drop import drop_extracted, find_extracted
from features.store.index import forget_index, keep_table, kept_table, media_index
from features.store.leases import Leases, live_leases
from features.store.maintain import maintain
from features.store.models import ModelRef, list_models, model_folder, next_version
from features.store.publish import is_unfinished, write_folder
from features.store.storage import list_folder, parquet_file, place_of, put_bytes, root_of, touch
from features.store.tombstones import read_key
from features.store.verify import verify_store
from features.tokenizer.folder import TokenizerRef, newest_maker, tokenizer_folder
from features.tokenizer.training import train_tokenizer
from tests.extractors.test_tokens import TEXTS, put_tokenizer
from tests.store.making import frames, media, put
from tests.store.test_drop import extract

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def store(place: str) -> Store:
    return Store.create(place)


def objects(store: Store) -> list[str]:
    return sorted(path.relative_to(store.path).as_posix() for path in store.path.rglob("*") if path.is_file())


def fill(store: Store) -> None:
    """Two batches of media with pictures, one of them done twice."""
    for batch_id in ("b1", "b2"):
        put(store, "frames", batch_id, frames(f"m{batch_id}", 3))
        put(store, "media", batch_id, [media(f"m{batch_id}", subject_ids=["ann"])])
    put(store, "frames", "b2", frames("mb2", 5), generation=2)


def test_a_store_in_a_bucket_has_the_rows_of_one_on_a_disk(store: Store, tmp_path: Path) -> None:
    disk = Store.create(tmp_path / "store")
    fill(disk)
    fill(store)
    assert store.tables() == disk.tables()
    for table in disk.tables():
        assert read_table(store, table).equals(read_table(disk, table))
        assert store.batches(table) == disk.batches(table)
    assert media_index(store).batches_of(["mb1", "mb2", "m3"]) == {"mb1": "b1", "mb2": "b2"}
    again = Store.open(f"{store.root}/")
    assert again == store


def test_a_batch_is_visible_once_whoever_commits_it(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: put(store, "media", "b1", [media("m1")]), range(4)))
    assert sum(commit.num_rows for commit in made) == 1
    assert read_table(store, "media").num_rows == 1


def test_what_is_created_is_created_by_one(store: Store) -> None:
    with ThreadPoolExecutor(4) as pool:
        keys = set(pool.map(lambda _: read_key(store), range(4)))
        stores = set(pool.map(lambda _: Store.create(store.root), range(4)))
    assert len(keys) == 1
    assert stores == {store}


def test_a_lease_is_held_by_one_and_given_back(store: Store) -> None:
    with Leases(store, "one") as one, Leases(store, "two") as two:
        assert one.take(["batch"]) is None
        other = two.take(["batch"])
        assert other is not None
        assert other.holder.run_id == "one"
        assert two.stands(other)
        assert [lease.holder.run_id for lease in live_leases(store)] == ["one"]
    assert live_leases(store) == []


def test_a_model_is_there_when_its_mark_is(store: Store) -> None:
    folder = model_folder(store, ModelRef("moods", 1))
    put_bytes(folder / ".claim", b"of one who died")
    assert list_models(store) == ()
    assert next_version(store, "moods") == 2
    with pytest.raises(FileExistsError):
        write_folder(folder, {"weights": b"w", "model.json": b"{}"})
    write_folder(model_folder(store, ModelRef("moods", 2)), {"weights": b"w", "model.json": b"{}"})
    assert list_models(store) == (ModelRef("moods", 2),)


def test_what_a_dead_publisher_claimed_is_swept_when_it_is_old(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [model_folder(store, ModelRef("moods", version)) for version in (1, 2, 3)]
    files = {"weights": b"w", "model.json": b"{}"}
    write_folder(folders[0], files)
    with monkeypatch.context() as patch:
        patch.setattr("features.store.publish.put_bytes", _dying_at("model.json"))
        with pytest.raises(KeyboardInterrupt):
            write_folder(folders[1], files)
    put_bytes(folders[2] / ".claim", b"of another program")
    assert maintain(store, "run").others == 0
    assert [is_unfinished(folder) for folder in folders] == [False, True, False]
    time.sleep(1)  # a bucket's times are whole seconds
    assert maintain(store, "run", retention_hours=0, force=True).others == 1
    assert [name for name in objects(store) if name.startswith("models/")] == [
        *(f"models/moods/1/{name}" for name in (".claim", "model.json", "weights")),
        "models/moods/3/.claim",
    ]


def _dying_at(name: str) -> Callable[..., None]:
    def put(path: Path, content: bytes, *, is_new: bool = False) -> None:
        if path.name == name:
            raise KeyboardInterrupt
        put_bytes(path, content, is_new=is_new)

    return put


def test_no_other_user_of_s3_is_touched(store: Store) -> None:
    import fsspec
    from s3fs import S3FileSystem
    from upath import UPath

    path = pickle.loads(pickle.dumps(store.path / "models" / "a b"))
    assert {type(one.fs).__name__ for one in (store.path, path, path.parent, *store.path.iterdir())} == {"Bucket"}
    assert path == store.path / "models" / "a b"
    assert fsspec.get_filesystem_class("s3") is S3FileSystem
    assert type(UPath("s3://bucket/a").fs) is S3FileSystem


def test_what_is_put_as_new_is_never_put_over_another(store: Store) -> None:
    path = store.path / "new"
    put_bytes(path, b"one", is_new=True)
    put_bytes(path, b"one", is_new=True)  # an answer that was lost
    with pytest.raises(FileExistsError):
        put_bytes(path, b"two", is_new=True)
    touch(path)
    assert path.read_bytes() == b"one"
    assert ("new", False) in list_folder(store.path)
    assert list_folder(store.path / "nothing") == []


def test_what_was_derived_is_kept(store: Store) -> None:
    rows = read_table(store, "media")
    path = store.path / ".index" / "some.arrow"
    keep_table(path, rows)
    assert kept_table(path).equals(rows)
    forget_index(store)
    assert not path.exists()


def test_upkeep_sweeps_and_finds_nothing_wrong(store: Store) -> None:
    fill(store)
    for stage in ("ingest", "extract:sizes@1"):
        put(store, "failures", "b1", [{"stage": stage, "media_id": "mb1", "uri": stage}], stage=stage)
    upkeep = maintain(store, "run", retention_hours=0, force=True)
    assert {table.table: table.merged for table in upkeep.tables if table.merged} == {"failures": 1}
    assert {table.table: table.swept for table in upkeep.tables if table.swept} == {"failures": 2, "frames": 1}
    assert read_table(store, "failures").num_rows == 2
    assert verify_store(store).findings == ()
    assert read_table(store, "frames").num_rows == 8


def test_a_dropped_extractor_leaves_nothing(store: Store) -> None:
    for batch_id in ("b1", "b2"):
        put(store, "media", batch_id, [media("m1"), media("m2")])
    assert extract(store, "b1", "b2") == 2
    drop_extracted(store, find_extracted(store, "sounds@1"), "run")
    assert not [name for name in objects(store) if "sounds@1" in name]
    assert extract(store, "b1", "b2") == 2


def test_forgetting_leaves_no_bytes_of_a_media(store: Store) -> None:
    fill(store)
    erase(store, plan_erasure(store, ["mb2"]), "run")
    assert read_table(store, "media")["media_id"].to_pylist() == ["mb1"]
    for name in objects(store):
        if not name.startswith("tombstones"):
            assert b"mb2" not in (store.path / name).read_bytes(), name
        if name.endswith(".parquet") and "media_id" in parquet_file(store.path / name).schema_arrow.names:
            with parquet_file(store.path / name) as file:
                forgotten = "mb2" in file.read(["media_id"])["media_id"].to_pylist()
            assert forgotten == name.startswith("tombstones"), name


def test_a_root_is_kept_without_a_slash_at_its_end() -> None:
    assert root_of("s3://bucket/a/") == "s3://bucket/a"
    assert str(place_of("s3://bucket/a") / "b") == "s3://bucket/a/b"


def test_a_tokenizer_of_a_bucket_makes_the_ids_of_one_on_a_disk(store: Store, tmp_path: Path) -> None:
    model = train_tokenizer(TEXTS, vocabulary=300)
    put_tokenizer(tokenizer_folder(store, TokenizerRef(3, "tokenizer")), model)
    there, here = get_extractor(newest_maker(store)), Tokens(str(put_tokenizer(tmp_path / "3", model)))
    assert there.spec.fingerprint == here.spec.fingerprint
    assert there.load("cpu")(TEXTS[:3]).tolist() == here.load("cpu")(TEXTS[:3]).tolist()
