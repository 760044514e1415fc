"""Rows as they are stored, in Parquet and CSV: the same as `read_table` gives, but for who may not leave."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from features.export.options import ExportOptions
from features.export.run import export
from features.store import Store, read_table
from tests.export.conftest import REFUSED, SHOWN, SPLITS, WIDTHS

if TYPE_CHECKING:
    from pathlib import Path

TABLES = ("media", "frames", "audio", "transcripts", "features/looks@1", "coverage/looks@1", "labels/mood")


def expected(store: Store, table: str) -> pa.Table:
    rows = read_table(store, table)
    return rows.filter(pc.not_equal(rows["media_id"], REFUSED))


def exported(store: Store, out: Path, *names: str, **more: Any) -> Path:
    """The folder of the rows."""
    export(store, ExportOptions(names=names, out=str(out), **more))
    return out / "data"


@pytest.mark.parametrize("table", TABLES)
def test_parquet_has_the_rows_of_the_table(store: Store, tmp_path: Path, table: str) -> None:
    rows = pq.read_table(exported(store, tmp_path / "out", table))
    assert rows.equals(expected(store, table))
    assert set(rows["media_id"].to_pylist()) == set(SHOWN)


def test_a_feature_is_named_with_or_without_its_version(store: Store, tmp_path: Path) -> None:
    for place, name in enumerate(("looks", "looks@1", "features/looks", "features/looks@1")):
        assert pq.read_table(exported(store, tmp_path / str(place), name)).equals(expected(store, "features/looks@1"))


@pytest.mark.parametrize("table", TABLES)
def test_csv_has_the_rows_of_the_table(store: Store, tmp_path: Path, table: str) -> None:
    path = exported(store, tmp_path / "out", table, format="csv") / "part-00000.csv"
    right = expected(store, table)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == right.num_rows
    for name in ("media_id", "start_us", "t_us", "num_rows", "has_video"):
        if name in right.column_names:
            wanted = ["" if v is None else str(v).lower() for v in right[name].to_pylist()]
            assert [row[name] for row in rows] == wanted
    if "values" in right.column_names:
        width = WIDTHS["looks"]
        got = pd.read_csv(path)[[f"values_{place}" for place in range(width)]].to_numpy(np.float32)
        np.testing.assert_array_equal(got, np.stack(right["values"].to_pylist()).astype(np.float32))
    if "words" in right.column_names:
        assert [json.loads(row["words"]) for row in rows] == right["words"].to_pylist()


def test_csv_tells_an_empty_text_from_none(store: Store, tmp_path: Path) -> None:
    path = exported(store, tmp_path / "out", "transcripts", format="csv") / "part-00000.csv"
    right = expected(store, "transcripts")["text"].to_pylist()
    texts = pa.csv.read_csv(
        path,
        parse_options=pa.csv.ParseOptions(newlines_in_values=True),
        convert_options=pa.csv.ConvertOptions(
            include_columns=["text"], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )["text"]
    assert texts.to_pylist() == right
    assert {"", None} < set(right)


def test_columns_in_the_order_wanted(store: Store, tmp_path: Path) -> None:
    rows = pq.read_table(exported(store, tmp_path / "out", "frames", columns=("jpeg", "t_us"), split="even"))
    right = expected(store, "frames")
    assert rows.column_names == ["jpeg", "t_us", "split"]
    assert rows.select(["jpeg", "t_us"]).equals(right.select(["jpeg", "t_us"]))
    assert rows["split"].to_pylist() == [SPLITS.get(own) for own in right["media_id"].to_pylist()]


def test_some_batches_media_and_rows(store: Store, tmp_path: Path) -> None:
    right = expected(store, "features/sounds@1")
    of_batch = pq.read_table(exported(store, tmp_path / "1", "sounds", batch=("b4", "b1")))
    assert of_batch.equals(right.filter(pc.is_in(right["batch_id"], pa.array(["b1", "b4"]))))
    of_media = pq.read_table(exported(store, tmp_path / "2", "sounds", media=("c", "f", REFUSED)))
    assert of_media.equals(right.filter(pc.is_in(right["media_id"], pa.array(["c", "f"]))))
    for limit in (1, 24, 25, 10_000):
        assert pq.read_table(exported(store, tmp_path / f"l{limit}", "sounds", limit=limit)).equals(right[:limit])


def test_a_table_without_rows_is_a_file_without_rows(store: Store, tmp_path: Path) -> None:
    data = exported(store, tmp_path / "1", "frames", batch=("b3",))
    assert [path.name for path in data.iterdir()] == ["part-00000.parquet"]
    assert pq.read_table(data).equals(expected(store, "frames")[:0])
    path = exported(store, tmp_path / "2", "sounds", batch=("b3",), format="csv") / "part-00000.csv"
    assert path.read_text() == '"batch_id","media_id","start_us","end_us","values_0","values_1","values_2"\n'
