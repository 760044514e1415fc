"""Importing vectors: placed, whole or not at all, the same twice, other vectors refused; media that are not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError
from features.store import Store, read_table
from features.store.feature_file import read_feature_file
from features.store.import_spec import is_imported
from features.store.imports import Imported, import_features
from features.store.labels import load_labels
from tests.store.making import SECOND, media, put, result

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def archive(store: Store, tmp_path: Path) -> Store:
    """Two batches of two media, ten seconds each."""
    for batch_id, ids in (("b1", ("a", "b")), ("b2", ("c", "d"))):
        rows = [media(m, uri=str(tmp_path / f"{m}.mp4"), duration_us=10 * SECOND) for m in ids]
        put(store, "media", batch_id, rows)
        put(store, "source_results", batch_id, [result(m, str(tmp_path / f"{m}.mp4")) for m in ids])
    return store


def take(store: Store, path: Path, text: str, **more: Any) -> Imported:
    path.write_text(text)
    return import_features(store, read_feature_file(path), **{"modality": "video", "name": "units", **more})


def rows(store: Store, key: str = "units@1") -> list[tuple[Any, ...]]:
    found = read_table(store, f"features/{key}").to_pylist()
    return sorted((row["media_id"], row["start_us"], row["end_us"], row["values"]) for row in found)


def coverage(store: Store) -> dict[str, str]:
    return {row["media_id"]: row["status"] for row in read_table(store, "coverage/units@1").to_pylist()}


def test_vectors_stand_on_the_timeline_of_their_media(archive: Store, tmp_path: Path) -> None:
    done = take(archive, tmp_path / "f.csv", "media,start_seconds,end_seconds,x,y\na,1,2.5,1,2\na,3,4,3,4\nc,,,5,6\n")
    assert (done.num_rows, done.num_media, done.num_changed) == (3, 2, 3)
    assert rows(archive) == [
        ("a", SECOND, 2_500_000, [1, 2]),
        ("a", 3 * SECOND, 4 * SECOND, [3, 4]),
        ("c", 0, 10 * SECOND, [5, 6]),
    ]
    assert coverage(archive) == {"a": "ok", "b": "absent", "c": "ok", "d": "absent"}
    spec = archive.spec("features/units@1")
    assert spec is not None
    assert (spec.shape, spec.modality, is_imported(spec)) == ((2,), "video", True)


def test_an_order_shares_the_media_evenly(archive: Store, tmp_path: Path) -> None:
    take(archive, tmp_path / "f.csv", "media,order,x\na,1,2\na,0,1\na,2,3\n")
    ends = [0, 3_333_333, 6_666_666, 10 * SECOND]
    assert rows(archive) == [("a", ends[n], ends[n + 1], [n + 1]) for n in range(3)]
    with pytest.raises(ConfigError, match=r"the orders of media 'b' in .* are 0, 2; give 0, 1, 2"):
        take(archive, tmp_path / "g.csv", "media,order,x\nb,0,1\nb,2,1\n")


def test_the_same_file_twice_changes_nothing_and_another_adds(archive: Store, tmp_path: Path) -> None:
    take(archive, tmp_path / "f.csv", "media,x\na,1\n")
    versions = {table: archive.load(table).version() for table in ("features/units@1", "coverage/units@1")}
    assert take(archive, tmp_path / "f.csv", "media,x\na,1\n").num_changed == 0
    assert {table: archive.load(table).version() for table in versions} == versions
    take(archive, tmp_path / "g.csv", "media,x\nd,4\n")
    assert rows(archive) == [("a", 0, 10 * SECOND, [1]), ("d", 0, 10 * SECOND, [4])]
    assert coverage(archive) == {"a": "ok", "b": "absent", "c": "absent", "d": "ok"}


def test_other_vectors_are_another_version(archive: Store, tmp_path: Path) -> None:
    take(archive, tmp_path / "f.csv", "media,x\na,1\n")
    with pytest.raises(ConfigError, match=r"holds other vectors at 1 places .*such as media a at.*--version 2"):
        take(archive, tmp_path / "f.csv", "media,x\na,2\n")
    assert rows(archive) == [("a", 0, 10 * SECOND, [1])]
    take(archive, tmp_path / "f.csv", "media,x\na,2\n", version=2)
    assert rows(archive, "units@2") == [("a", 0, 10 * SECOND, [2])]


def test_csv_parquet_and_numpy_say_the_same(archive: Store, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    names = list("abcd")
    lines = [f"{name},{','.join(map(repr, map(float, row)))}" for name, row in zip(names, values, strict=True)]
    take(archive, tmp_path / "f.csv", "media,x,y,z\n" + "\n".join(lines), name="one")
    pq.write_table(pa.table({"media": names, "values": values.tolist()}), tmp_path / "f.parquet")
    import_features(archive, read_feature_file(tmp_path / "f.parquet"), modality="video", name="two")
    np.save(tmp_path / "f.npy", values)
    (tmp_path / "index.csv").write_text("media\n" + "\n".join(names))
    file = read_feature_file(tmp_path / "f.npy", tmp_path / "index.csv")
    import_features(archive, file, modality="video", name="three")
    assert rows(archive, "one@1") == rows(archive, "two@1") == rows(archive, "three@1")
    assert [row[3] for row in rows(archive, "one@1")] == values.tolist()


def test_a_vector_that_is_none_costs_itself(archive: Store, tmp_path: Path) -> None:
    text = "media,start_us,end_us,x,y\na,0,5,1,2\na,5,9,nan,2\nb,0,5,0,0\nc,0,5,1,inf\nd,0,5,1,1\n"
    done = take(archive, tmp_path / "f.csv", text)
    assert [row[0] for row in rows(archive)] == ["a", "d"]
    assert coverage(archive) == {"a": "partial", "b": "failed", "c": "failed", "d": "ok"}
    assert done.failed == (
        "the vector of row 2 of 'f.csv' is not finite",
        "the vector of row 3 of 'f.csv' is all zeros",
        "the vector of row 4 of 'f.csv' is not finite",
    )
    with pytest.raises(ConfigError, match=r"none of the 1 vectors of .* can be used: 1 are not finite"):
        take(archive, tmp_path / "g.csv", "media,x\na,inf\n", name="other")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("media,x\nz,1\n", r"names media that the store does not know: 'z'"),
        ("media,start_us,end_us,x\na,0,20000000,1\n", r"row 1 of .* but the media lasts 10000000 µs"),
        ("media,start_us,end_us,x\na,5,2,1\n", r"row 1 of .* spans \[5, 2\)"),
        ("media,x\na,1\na,2\n", r"rows 1 \('a'\) and 2 \('a'\) of .* are of one media, a, and of one span"),
        (
            "media,x,who\na,1,me\n",
            r"columns that are no numbers: who \('me' in row 1\); mend them, or choose .* --columns",
        ),
        ("name,x\na,1\n", r"has neither a column media nor uri \(it has: name, x\)"),
        ("media\na\n", r"has no column of numbers \(it has: media\)"),
        ("media,x\n", r"has no rows"),
    ],
)
def test_a_wrong_file_changes_nothing(archive: Store, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        take(archive, tmp_path / "f.csv", text)
    assert not archive.has("features/units@1") or not archive.batches("features/units@1")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"modality": "vido"}, r"there is no modality 'vido'; did you mean 'video'\?"),
        ({"name": "Action Units"}, r"cannot be called 'Action Units'; use a to z"),
        ({"version": 0}, r"version cannot be 0"),
    ],
)
def test_a_wrong_word(archive: Store, tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        take(archive, tmp_path / "f.csv", "media,x\na,1\n", **more)


def test_vectors_of_another_size_are_another_feature(archive: Store, tmp_path: Path) -> None:
    take(archive, tmp_path / "f.csv", "media,x\na,1\n")
    with pytest.raises(
        Exception,
        match=r"of so many numbers: 1, and the file's are of 2; .* --version 2",
    ):
        take(archive, tmp_path / "g.csv", "media,x,y\nb,1,2\n")


def test_media_that_are_not_there_come_with_their_vectors(archive: Store, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("media,order,x\nnew,0,1\nnew,1,2\na,0,3\n")
    file = read_feature_file(tmp_path / "f.csv")
    assert import_features(archive, file, modality="text", name="words", new_media=True).num_new_media == 1
    assert import_features(archive, file, modality="text", name="words", new_media=True).num_new_media == 0
    found = {row["name"]: row for row in read_table(archive, "media").to_pylist()}
    assert found["new"]["duration_us"] == 2 * SECOND
    assert (found["new"]["container"], found["new"]["has_video"]) == ("imported", False)
    own = [row[1:] for row in rows(archive, "words@1") if row[0] == found["new"]["media_id"]]
    assert own == [(0, SECOND, [1]), (SECOND, 2 * SECOND, [2])]
    (tmp_path / "l.csv").write_text("media,start_seconds,end_seconds,class\nnew,0,1,x\n")
    assert load_labels(archive, "mood", tmp_path / "l.csv", run_id="run").num_labels == 1
