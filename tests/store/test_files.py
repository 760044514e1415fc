"""Parquet files of a batch: fresh names, zero rows, errors inside, schemas."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import SchemaError, StoreError
from features.records import FeatureRow, Utterance, Word
from features.schema import data_schema_of
from features.store import Store, read_table, write_file
from features.store.files import BatchWriter
from features.store.rows import feature_rows, table_of, transcript_rows, utterances_of
from tests.store.making import frames, media, put, write

if TYPE_CHECKING:
    from pathlib import Path

TABLES = ("media", "frames", "audio", "transcripts", "features/any@1", "coverage/any@1", "scores/any@1", "failures")


def parquet_files(store: Store) -> list[Path]:
    return sorted(store.path.rglob("*.parquet"))


def test_a_batch_without_rows_counts_as_done(store: Store) -> None:
    commit = put(store, "frames", "b", [])
    assert (commit.batch_ids, commit.num_files, commit.num_rows) == (("b",), 1, 0)
    assert store.batches("frames") == {"b"}
    assert read_table(store, "frames").num_rows == 0


def test_the_same_rows_get_fresh_names(store: Store) -> None:
    first, second = (write(store, "frames", "b", frames("a", 2)) for _ in range(2))
    assert first.path != second.path
    assert first.checksum == second.checksum


@pytest.mark.parametrize("table", TABLES)
def test_a_record_tells_the_file(store: Store, table: str) -> None:
    record = write_file(store, table, "b", table_of(table, [{}, {}, {}]))
    content = (store.table_path(table) / record.path).read_bytes()
    assert record.size_bytes == len(content)
    assert record.checksum == hashlib.blake2b(content, digest_size=16).hexdigest()
    assert record.num_rows == 3
    assert pq.read_schema(store.table_path(table) / record.path).equals(data_schema_of(table))


def test_pictures_and_sound_are_not_compressed_twice(store: Store) -> None:
    record = write(store, "frames", "b", frames("a", 3))
    group = pq.read_metadata(store.table_path("frames") / record.path).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i).compression for i in range(group.num_columns)}
    assert columns.pop("jpeg") == "UNCOMPRESSED"
    assert set(columns.values()) == {"ZSTD"}


def test_an_error_inside_removes_the_file(store: Store) -> None:
    writer = BatchWriter(store, "frames", "b")

    def stop_half_way() -> None:
        with writer:
            writer.write(table_of("frames", frames("a", 1)))
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stop_half_way()
    assert writer.record is None
    assert not parquet_files(store)


def test_rows_of_another_table_are_refused_and_leave_no_file(store: Store) -> None:
    with pytest.raises(SchemaError, match=r"rows for table 'frames' .*not in it.*start_us.*missing.*t_us"):
        write_file(store, "frames", "b", table_of("audio", [{}]))
    narrow = table_of("frames", frames("a", 1)).set_column(1, "t_us", pa.array([1], pa.int32()))
    with pytest.raises(SchemaError, match="t_us: int32"):
        write_file(store, "frames", "b", narrow)
    assert not parquet_files(store)


def test_a_folder_that_may_not_be_written_is_named(store: Store) -> None:
    (store.path / "frames").write_text("in the way")
    with pytest.raises(StoreError, match=r"cannot write '.*frames.*'.*free space or rights"):
        write(store, "frames", "b", [])


def test_rows_come_back_in_order_over_many_row_groups(store: Store) -> None:
    put(store, "media", "b", [media("a"), media("c")])
    with BatchWriter(store, "frames", "b") as writer:
        for rows in (frames("a", 3), [], frames("c", 2)):
            writer.write(table_of("frames", rows))
    assert writer.record is not None
    table = pq.read_table(store.table_path("frames") / writer.record.path, partitioning=None)
    assert table.select(["media_id", "t_us"]).to_pylist() == [
        {"media_id": row["media_id"], "t_us": row["t_us"]} for row in (*frames("a", 3), *frames("c", 2))
    ]


TIMES = st.integers(0, 2**50)
WORDS = st.builds(Word, st.text(), TIMES, TIMES, st.none() | st.floats(0, 1, width=32))
UTTERANCES = st.builds(
    Utterance,
    TIMES,
    TIMES,
    st.text(),
    st.sampled_from(["subtitle", "sidecar", "asr:x"]),
    st.none() | st.text(),
    st.none() | st.text(),
    st.lists(WORDS, max_size=3).map(tuple),
)


@given(st.lists(UTTERANCES, max_size=4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_utterances_survive_the_store(store: Store, utterances: list[Utterance]) -> None:
    record = write_file(store, "transcripts", "b", transcript_rows("a", utterances))
    rows = pq.read_table(store.table_path("transcripts") / record.path, partitioning=None)
    assert utterances_of(rows) == tuple(utterances)


@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=5), max_size=4))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_vectors_survive_the_store_bit_for_bit(store: Store, vectors: list[list[float]]) -> None:
    given_rows = [FeatureRow(index, index + 1, np.array(values, np.float32)) for index, values in enumerate(vectors)]
    record = write_file(store, "features/any@1", "b", feature_rows("a", given_rows))
    rows = pq.read_table(store.table_path("features/any@1") / record.path, partitioning=None)
    assert rows["values"].to_pylist() == vectors


def test_vectors_are_split_by_byte_and_compressed_without_a_dictionary(store: Store) -> None:
    vectors = np.random.default_rng(0).normal(size=(200, 100)).astype(np.float32)
    given_rows = [FeatureRow(index, index + 1, values) for index, values in enumerate(vectors)]
    record = write_file(store, "features/any@1", "b", feature_rows("a", given_rows))
    metadata = pq.read_metadata(store.table_path("features/any@1") / record.path).row_group(0)
    columns = {metadata.column(i).path_in_schema: metadata.column(i) for i in range(metadata.num_columns)}
    assert columns["values.list.element"].encodings == ("RLE", "BYTE_STREAM_SPLIT")
    assert columns["values.list.element"].total_compressed_size < 0.95 * vectors.nbytes
    assert "RLE_DICTIONARY" in columns["media_id"].encodings


def test_row_groups_of_vectors_are_small_also_where_all_rows_come_at_once(store: Store) -> None:
    row = FeatureRow(0, 1, np.arange(1000, dtype=np.float32))
    record = write_file(store, "features/any@1", "b", feature_rows("a", [row] * 700))
    metadata = pq.read_metadata(store.table_path("features/any@1") / record.path)
    assert [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)] == [350, 350]
