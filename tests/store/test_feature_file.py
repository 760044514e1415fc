"""Files of vectors: CSV, Parquet and NumPy say the same; what is no vector is named by its row and column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError
from features.store.feature_file import read_feature_file

if TYPE_CHECKING:
    from pathlib import Path

    from features.store.feature_file import FeatureFile


def read(folder: Path, text: str, name: str = "f.csv", **more: Any) -> FeatureFile:
    (folder / name).write_text(text)
    return read_feature_file(folder / name, **more)


def test_all_that_is_left_is_the_vector_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = read(tmp_path, "b, media ,start_us, a\n1,0017,5,-2e-3\n3,x,,4\n")
    assert file.columns == ("b", "a")
    assert file.values.tolist() == [[1, pytest.approx(-0.002)], [3, 4]]
    assert [(row["media"], row["start_us"]) for row in file.places] == [("0017", "5"), ("x", "")]


def test_a_cell_without_a_number_is_nan_and_a_number_too_large_is_infinite(tmp_path: Path) -> None:
    values = read(tmp_path, "media,x,y,z\na,,NaN,n/a\na,1e50,-1e50,0\n").values
    assert np.isnan(values[0]).all()
    assert values[1].tolist() == [np.inf, -np.inf, 0]


def test_whole_numbers_may_turn_into_others_after_a_megabyte(tmp_path: Path) -> None:
    count = 200_000
    text = "media,x\n" + "".join(f"a{index},1\n" for index in range(count)) + "b,0.5\n"
    assert read(tmp_path, text).values[[0, -1], 0].tolist() == [1, 0.5]


@pytest.mark.parametrize(("columns", "names"), [("AU*", ("AU1", "AU2")), ("AU2, pose_?", ("AU2", "pose_x"))])
def test_globs_choose_columns(tmp_path: Path, columns: str, names: tuple[str, ...]) -> None:
    file = read(tmp_path, "media,AU1,AU2,pose_x,who\na,1,2,3,me\n", columns=columns)
    assert file.columns == names


@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.int32(), 2), pa.large_list(pa.float32())])
def test_lists_of_any_kind(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table({"media": [1, 2], "values": pa.array([[1, 2], [3, 4]], kind), "more": ["x", "y"]})
    pq.write_table(table, tmp_path / "f.parquet")
    file = read_feature_file(tmp_path / "f.parquet")
    assert file.values.tolist() == [[1, 2], [3, 4]]
    assert [row["media"] for row in file.places] == ["1", "2"]


def test_lists_in_a_text_file_are_json(tmp_path: Path) -> None:
    values = read(tmp_path, 'media,values\na,"[1, 2.5]"\nb,"[3, null]"\n').values
    np.testing.assert_array_equal(values, np.array([[1, 2.5], [3, np.nan]], np.float32))


def test_an_array_stands_beside_its_index(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float64).reshape(2, 3)
    np.save(tmp_path / "f.npy", values)
    np.savez(tmp_path / "f.npz", values=values, other=np.zeros(3))
    (tmp_path / "index.csv").write_text("media,order\na,0\na,1\n")
    files = [read_feature_file(tmp_path / name, tmp_path / "index.csv") for name in ("f.npy", "f.npz")]
    for file in files:
        np.testing.assert_array_equal(file.values, values.astype(np.float32))
        assert [row["order"] for row in file.places] == ["0", "1"]
    assert files[0].checksum != files[1].checksum
    (tmp_path / "index.csv").write_text("media,order\nb,0\nb,1\n")
    assert read_feature_file(tmp_path / "f.npy", tmp_path / "index.csv").checksum != files[0].checksum


def test_tabs_part_the_columns_of_a_tsv(tmp_path: Path) -> None:
    assert read(tmp_path, "media\tx\na\t1\n", "f.tsv").columns == ("x",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"cannot read '.*f\.csv' \(Empty CSV file\)"),
        ("media,x\n", "has no rows; give a file with a vector a row"),
        ("x,y\n1,2\n", r"neither a column media nor uri \(it has: x, y\)"),
        ("media,start_us\na,0\n", r"has no column of numbers \(it has: media, start_us\)"),
        ("media,x\na,1,2\n", "cannot read"),
        ("media,x,x\na,1,2\n", "more than one column 'x'; rename"),
        ("media,x,who,sex\na,1,me,f\n", r"no numbers: who \('me' in row 1\), sex \('f' in row 1\); .*--columns 'GLOB'"),
        ("media,x\na,1\nb,O.5\n", r"no numbers: x \('O\.5' in row 2\)"),
        ('media,values\na,"[1,2]"\nb,"[1]"\n', "row 2 of .* has a vector of 1 numbers, row 1 .* 2; give all the same"),
        ("media,values\na,1 2\n", r"row 1 of .* has values '1 2', which are no list of numbers; write \[0\.5, 1\]"),
    ],
)
def test_a_wrong_file_is_explained(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert str(tmp_path / "f.csv") in str(caught.value)


def test_a_glob_that_fits_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no column that matches 'AU\*' \(it has: media, x\)"):
        read(tmp_path, "media,x\na,1\n", columns="AU*")


def test_parquet_of_other_things(tmp_path: Path) -> None:
    for name, column in (("bool", [True]), ("day", ["x"])):
        pq.write_table(pa.table({"media": ["a"], name: column}), tmp_path / "f.parquet")
        with pytest.raises(ConfigError, match=f"no numbers: {name}"):
            read_feature_file(tmp_path / "f.parquet")
    pq.write_table(pa.table({"media": ["a"], "values": [[[1.0]]]}), tmp_path / "f.parquet")
    with pytest.raises(ConfigError, match=r"the column values of .* holds list<.*; give lists of numbers"):
        read_feature_file(tmp_path / "f.parquet")
    (tmp_path / "f.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match="cannot read"):
        read_feature_file(tmp_path / "f.parquet")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(3), r"holds float64 of shape \[3\]; give numbers \[n, width\]"),
        (np.zeros((2, 0)), r"shape \[2, 0\]"),
        (np.array([["a", "b"]]), "holds <U1"),
        (np.ones((3, 1)), "has 3 vectors, and '.*index.csv' 2 rows"),
    ],
)
def test_wrong_arrays(tmp_path: Path, values: Any, message: str) -> None:
    np.save(tmp_path / "f.npy", values)
    (tmp_path / "index.csv").write_text("media\na\nb\n")
    with pytest.raises(ConfigError, match=message):
        read_feature_file(tmp_path / "f.npy", tmp_path / "index.csv")


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("media\na\n")
    np.save(tmp_path / "f.npy", np.array([{"x": 1}], object), allow_pickle=True)
    np.savez(tmp_path / "f.npz", values=np.array([{"x": 1}], object))
    for name in ("f.npy", "f.npz"):
        with pytest.raises(ConfigError, match=r"cannot read the array .*; give one of numbers"):
            read_feature_file(tmp_path / name, tmp_path / "index.csv")


@pytest.mark.parametrize("name", ["f.npy", "f.npz", "f.csv"])
def test_what_is_not_there_or_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / "index.csv").write_text("media\na\n")
    with pytest.raises(ConfigError, match=f"there is no file '.*{name}'"):
        read_feature_file(tmp_path / name, tmp_path / "index.csv")
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot read"):
        read_feature_file(tmp_path / name, tmp_path / "index.csv")


def test_arrays_without_an_index_or_a_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", a=np.ones((1, 1)), b=np.ones((1, 1)))
    with pytest.raises(ConfigError, match="does not say of which media its vectors are; give --index"):
        read_feature_file(tmp_path / "f.npz")
    (tmp_path / "index.csv").write_text("media\na\n")
    with pytest.raises(ConfigError, match=r"holds 2 arrays \(a, b\); call one 'values'"):
        read_feature_file(tmp_path / "f.npz", tmp_path / "index.csv")
