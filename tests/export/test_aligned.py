"""Features side by side: the same rows as `open_features` gives, with labels and splits beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.export import source
from features.export.labels import labels_beside, task_columns
from features.export.to_numpy import array_columns
from features.export.to_parquet import lists_of
from features.fusion.segments import SEGMENTS
from features.reading import Padded, open_features
from features.store.rows import table_of
from tests.export.conftest import REFUSED, SPLITS
from tests.export.test_tables import exported
from tests.store.making import media

if TYPE_CHECKING:
    from pathlib import Path

    from features.store import Store

NAMES = ("looks", "sounds")


def aligned(store: Store, segmentation: str, **more: Any) -> pa.Table:
    rows = open_features(store, NAMES, segmentation, purpose="publish", **more).to_arrow().read_all()
    return rows.filter(pc.not_equal(rows["media_id"], REFUSED))


@pytest.mark.parametrize("segmentation", ["window:5s", "whole", "utterances", "labels:mood"])
def test_the_rows_of_open_features(store: Store, tmp_path: Path, segmentation: str) -> None:
    rows = pq.read_table(exported(store, tmp_path / "out", *NAMES, segmentation=segmentation))
    right = aligned(store, segmentation)
    assert rows.drop_columns(["batch_id"]).equals(right.cast(lists_of(right.schema)))
    assert rows.num_rows > 0


def test_pools_and_columns(store: Store, tmp_path: Path) -> None:
    columns = ("name", "sounds", "start_us", "sounds:length", "looks", "label:mood", "split")
    more = {"pool": ("max", "sounds=pad:5"), "columns": columns, "labels": "mood", "split": "even"}
    rows = pq.read_table(exported(store, tmp_path / "out", *NAMES, segmentation="window:5s", **more))
    right = aligned(store, "window:5s", pool={"looks": "max", "sounds": Padded(5)}, media_columns=["name"])
    assert rows.column_names == list(columns)
    wanted = right.cast(lists_of(right.schema)).select(columns[:5])
    assert rows.select(columns[:5]).equals(wanted)
    assert rows["split"].to_pylist() == [SPLITS.get(own) for own in right["media_id"].to_pylist()]


@pytest.mark.parametrize("form", ["parquet", "csv", "numpy", "webdataset", "datasets"])
def test_pieces_of_any_size_make_the_same_rows(
    made_store: Store, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"segmentation": "window:5s", "format": form, "pool": ("mean", "sounds=pad:2"), "split": "even"}
    data = exported(made_store, tmp_path / "out", *NAMES, **more)
    monkeypatch.setattr(source, "PIECE_BYTES", 200)
    assert len(list(source.cut("b", pa.table({"x": range(100)})))) == 4
    small = exported(made_store, tmp_path / "small", *NAMES, **more)
    for path in data.iterdir():
        assert path.read_bytes() == (small / path.name).read_bytes()


def test_arrays_of_slices_and_of_what_is_null() -> None:
    kind = pa.list_(pa.list_(pa.float32(), 3), 2)
    lists = [None if place == 3 else [[place, 1, 2], [3, 4, place]] for place in range(6)]
    (column,) = array_columns(pa.schema([("x", kind)]))
    for start in range(6):
        values, valid = column.values(pa.array(lists, kind).slice(start))
        assert valid.tolist() == [one is not None for one in lists[start:]]
        assert values[valid].tolist() == [one for one in lists[start:] if one is not None]
        assert np.isnan(values[~valid]).all()


@pytest.mark.parametrize("form", ["csv", "numpy"])
def test_vectors_that_are_absent_are_not_zeros(store: Store, tmp_path: Path, form: str) -> None:
    data = exported(store, tmp_path / "out", *NAMES, segmentation="window:5s", format=form)
    right = aligned(store, "window:5s")
    if form == "csv":
        rows = pd.read_csv(data / "part-00000.csv")
        values = rows[[f"sounds_{place}" for place in range(3)]].to_numpy(np.float32)
        present = rows["sounds:present"].to_numpy()
    else:
        values, present = np.load(data / "sounds.npy"), np.load(data / "sounds.present.npy")
    wanted = np.array([row or [np.nan] * 3 for row in right["sounds"].to_pylist()], np.float32)
    np.testing.assert_array_equal(values, wanted)
    np.testing.assert_array_equal(present, right["sounds:present"].to_numpy())
    assert 0 < np.isnan(values).all(axis=1).sum() < len(values)


def test_labels_beside_segments(store: Store, tmp_path: Path) -> None:
    more = {"labels": "mood", "columns": ("media_id", "start_us", "label:mood", "label:pace")}
    rows = pq.read_table(exported(store, tmp_path / "out", "looks", segmentation="window:6s", **more)).to_pylist()
    assert {(row["media_id"], row["label:mood"]) for row in rows} == {
        *(("a", "glad"), ("b", "glad"), ("c", "sad"), ("e", "sad"), ("f", "sad")),
    }
    assert [row["label:pace"] for row in rows] == [2.5 if row["start_us"] == 0 else None for row in rows]
    exact = pq.read_table(exported(store, tmp_path / "exact", "looks", segmentation="labels:mood", **more)).to_pylist()
    ends = [(row["start_us"], row["label:pace"], row["label:mood"]) for row in exact if row["media_id"] == "a"]
    assert ends == [(0, None, "glad"), (0, 2.5, None), (0, None, "glad")]


def test_what_most_weight_speaks_for() -> None:
    names = ("start_us", "end_us", "class", "number", "weight")
    spans = [(0, 2, "x", None, 1.0), (2, 10, "y", None, 0.2), (0, 10, "z", 0.0, 9.0), (4, 6, None, None, 1.0)]
    rows = [{"media_id": "m", "task": "t", **dict(zip(names, span, strict=True))} for span in spans]
    labels = table_of("labels/any", rows)
    segments = [("m", 0, 10), ("m", 1, 10), ("m", 2, 4), ("n", 0, 1), ("m", 9, 20)]
    cut = pa.table([list(column) for column in zip(*segments, strict=True)], schema=SEGMENTS)
    (task,) = task_columns(labels)
    found = labels_beside(cut, labels, table_of("media", [media("m")]), [task], exact=False)
    assert found["label:t"].to_pylist() == ["x", "y", "y", None, "y"]  # 2.0 to 1.6; 1.0 to 1.6; y alone; none; y alone
