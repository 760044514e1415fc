"""Reading shows whole batches only, in order, whatever else lies in the folders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import StoreError
from features.schema import data_schema_of, schema_of
from features.store import commit_files, read_table
from features.store.files import FileRecord
from features.store.read import read_committed
from tests.store.making import frames, media, put, write

if TYPE_CHECKING:
    from features.store import Store


def test_a_missing_table_is_empty(store: Store) -> None:
    for table in ("media", "frames", "features/none@1"):
        assert read_table(store, table).equals(schema_of(table).empty_table())
    assert read_table(store, "frames", columns=["t_us"]).column_names == ["batch_id", "t_us"]


def test_a_made_table_without_files_is_empty(store: Store) -> None:
    store.ensure("frames")
    assert read_table(store, "frames").equals(schema_of("frames").empty_table())
    assert store.batches("frames") == frozenset()


def test_only_whole_batches_are_shown(store: Store) -> None:
    put(store, "frames", "b1", frames("a", 2))
    put(store, "frames", "b2", frames("c", 2))
    assert read_table(store, "frames").num_rows == 0
    put(store, "media", "b2", [media("c")])
    assert set(read_table(store, "frames")["batch_id"].to_pylist()) == {"b2"}
    assert read_committed(store, "frames").num_rows == 4


def test_rows_of_a_media_that_another_batch_won_are_not_shown(store: Store) -> None:
    """The same bytes in two batches: both hold frames, `media` lists one of them."""
    put(store, "frames", "b1", frames("a", 2))
    put(store, "frames", "b2", [*frames("a", 2), *frames("c", 1)])
    put(store, "media", "b1", [media("a")])
    put(store, "media", "b2", [media("c")])
    rows = read_table(store, "frames", columns=["media_id"]).to_pylist()
    assert [(row["batch_id"], row["media_id"]) for row in rows] == [("b1", "a"), ("b1", "a"), ("b2", "c")]


def test_files_that_the_log_does_not_list_are_not_shown(store: Store) -> None:
    put(store, "media", "b", [media("a")])
    put(store, "frames", "b", frames("a", 1))
    write(store, "frames", "b", frames("a", 5))
    assert read_table(store, "frames").num_rows == 1


def test_batches_and_columns_are_chosen(store: Store) -> None:
    for batch_id, media_id in (("b1", "a"), ("b2", "c"), ("b3", "e")):
        put(store, "frames", batch_id, frames(media_id, 1))
        put(store, "media", batch_id, [media(media_id)])
    rows = read_table(store, "frames", batch_ids=["b3", "b1", "unknown"], columns=["t_us", "media_id"])
    assert rows.column_names == ["batch_id", "t_us", "media_id"]
    assert rows["media_id"].to_pylist() == ["a", "e"]
    assert read_table(store, "frames", batch_ids=[]).num_rows == 0


def test_a_column_that_came_later_is_null_in_old_files(store: Store) -> None:
    """A file that an earlier program wrote, without `words` and `speaker`."""
    put(store, "media", "b", [media("a")])
    schema = data_schema_of("transcripts")
    old = pa.schema([field for field in schema if field.name not in ("words", "speaker")])
    path = store.table_path("transcripts") / "batch_id=b" / "old.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([{"media_id": "a", "text": "hello"}], schema=old), path)
    record = FileRecord("transcripts", "b", "batch_id=b/old.parquet", path.stat().st_size, 1, "0")
    commit_files(store, "transcripts", [record], stage="test")
    rows = read_table(store, "transcripts")
    assert rows.schema.equals(schema_of("transcripts"))
    assert (rows["text"][0].as_py(), rows["words"][0].as_py(), rows["speaker"][0].as_py()) == ("hello", None, None)


def test_many_files_are_read_as_few_are(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for batch_id in ("b3", "b1", "b2"):
        put(store, "media", batch_id, [media(f"{batch_id}-{index}") for index in range(2)])
        put(store, "transcripts", batch_id, [{"media_id": f"{batch_id}-1", "text": batch_id}])
    few = read_table(store, "transcripts"), read_table(store, "media", columns=["name"])
    monkeypatch.setattr("features.store.read._MANY_FILES", 0)
    monkeypatch.setattr("features.store.read._FILES_A_DATASET", 2)
    many = read_table(store, "transcripts"), read_table(store, "media", columns=["name"])
    assert [rows.schema for rows in few] == [rows.schema for rows in many]
    assert [rows.to_pylist() for rows in few] == [rows.to_pylist() for rows in many]


@pytest.mark.parametrize("many", [0, 64])
@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_a_lost_file_is_named(store: Store, how: str, many: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("features.store.read._MANY_FILES", many)
    put(store, "media", "b", [media("a")])
    (path,) = (store.path / "media").rglob("*.parquet")
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(b"PAR1 no more")
    with pytest.raises(StoreError, match=rf"cannot read '.*{path.name}' of table 'media'.*triptych verify"):
        read_table(store, "media")
