"""NumPy, WebDataset and datasets, read back by NumPy, tarfile and pyarrow: the same rows as `read_table` gives."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml

from features.errors import ConfigError
from features.export.to_webdataset import tar_member
from tests.export.conftest import SPLITS
from tests.export.test_tables import expected, exported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from features.store import Store


def samples_of(data: Path) -> dict[str, dict[str, bytes]]:
    """Members by their endings, by the samples' keys, of all shards; members of a sample stand together."""
    samples: dict[str, dict[str, bytes]] = {}
    last = ""
    for path in sorted(data.glob("*.tar")):
        with tarfile.open(path) as shard:
            for info in shard:
                assert (info.mtime, info.uid, info.gid, info.uname, info.mode) == (0, 0, 0, "", 0o644)
                key, _, ending = info.name.partition(".")
                assert key == last or key not in samples
                last = key
                samples.setdefault(key, {})[ending] = shard.extractfile(info).read()
    return samples


def array_of(content: bytes) -> np.ndarray[Any, Any]:
    return np.load(io.BytesIO(content), allow_pickle=False)


def test_numpy_arrays_are_mapped_and_have_a_row_each(store: Store, tmp_path: Path) -> None:
    data = exported(store, tmp_path / "out", "looks", format="numpy")
    right = expected(store, "features/looks@1")
    assert sorted(path.name for path in data.iterdir()) == ["end_us.npy", "ids.csv", "start_us.npy", "values.npy"]
    values = np.load(data / "values.npy", mmap_mode="r", allow_pickle=False)
    assert isinstance(values, np.memmap)
    assert (values.shape, values.dtype) == ((right.num_rows, 4), np.float32)
    np.testing.assert_array_equal(values, np.stack(right["values"].to_pylist()).astype(np.float32))
    for name in ("start_us", "end_us"):
        np.testing.assert_array_equal(np.load(data / f"{name}.npy"), right[name].to_numpy())
    with (data / "ids.csv").open(encoding="utf-8", newline="") as file:
        ids = list(csv.DictReader(file))
    assert ids == right.select(["batch_id", "media_id"]).to_pylist()


def test_numpy_tells_null_from_zero(store: Store, tmp_path: Path) -> None:
    data = exported(store, tmp_path / "out", "frames", format="numpy")
    right = expected(store, "frames")
    assert np.isnan(np.load(data / "change.npy")).all()
    assert not np.load(data / "height.valid.npy").any()
    assert not (data / "width.valid.npy").exists()
    np.testing.assert_array_equal(np.load(data / "width.npy"), right["width"].to_numpy())
    recorded = np.load(exported(store, tmp_path / "media", "media", format="numpy") / "recorded_at.npy")
    assert recorded.dtype == np.dtype("datetime64[us]")
    assert np.isnat(recorded).all()


def test_webdataset_of_pictures_sound_and_vectors(store: Store, tmp_path: Path) -> None:
    for table, column, ending, start in (
        ("frames", "jpeg", "jpg", "t_us"),
        ("audio", "flac", "flac", "start_us"),
        ("features/looks@1", "values", "npy", "start_us"),
    ):
        samples = samples_of(exported(store, tmp_path / table, table, format="webdataset"))
        rows = expected(store, table).to_pylist()
        assert list(samples) == [f"{row['media_id']}_{row[start]}" for row in rows]
        for sample, row in zip(samples.values(), rows, strict=True):
            content = row.pop(column)
            found = array_of(sample[ending]).tolist() if ending == "npy" else sample[ending]
            assert found == content
            assert {ending, "json"} == set(sample)
            assert json.loads(sample["json"]) == row


def test_webdataset_of_texts_numbers_rows_of_one_time(store: Store, tmp_path: Path) -> None:
    samples = samples_of(exported(store, tmp_path / "out", "transcripts", format="webdataset"))
    rows = expected(store, "transcripts").to_pylist()
    assert list(samples)[:4] == ["a_0", "a_0-1", "a_0-2", "b_0"]
    texts = [sample["txt"].decode() if "txt" in sample else None for sample in samples.values()]
    assert texts == [row["text"] for row in rows]
    assert [json.loads(sample["json"])["words"] for sample in samples.values()] == [row["words"] for row in rows]


def test_webdataset_of_segments_has_no_member_for_what_is_absent(store: Store, tmp_path: Path) -> None:
    names = ("looks", "sounds")
    data = exported(store, tmp_path / "out", *names, format="webdataset", segmentation="whole", pool=("sounds=pad:3",))
    samples = samples_of(data)
    assert list(samples) == ["a_0", "b_0", "c_0", "e_0", "f_0"]
    assert [sorted(sample) for sample in samples.values() if "sounds.npy" not in sample] == [["json", "looks.npy"]]
    assert json.loads(samples["e_0"]["json"])["sounds:status"] == "absent"
    assert array_of(samples["a_0"]["sounds.npy"]).shape == (3, 3)


def test_webdataset_needs_the_media(store: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="add media_id"):
        exported(store, tmp_path / "out", "frames", format="webdataset", columns=("jpeg",))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.json", "x" * 100, "x" * 101, "é" * 50, "é" * 51])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 100_000])
def test_a_member_is_what_tarfile_writes(name: str, size: int) -> None:
    content = bytes(size)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.GNU_FORMAT) as made:
        info = tarfile.TarInfo(name)
        info.size = size
        made.addfile(info, io.BytesIO(content))
    ours = tar_member(name, content)
    assert archive.getvalue()[: len(ours)] == ours


def test_datasets_has_a_file_a_split_and_a_card(store: Store, tmp_path: Path) -> None:
    data = exported(store, tmp_path / "out", "looks", format="datasets", split="even")
    card = card_of(tmp_path / "out")
    right = expected(store, "features/looks@1")
    splits = pa.array([SPLITS.get(own, "unassigned") for own in right["media_id"].to_pylist()])
    counts = {one["name"]: one["num_examples"] for one in card["dataset_info"]["splits"]}
    assert set(counts) == {"train", "dev", "test", "unassigned"}
    for files in card["configs"][0]["data_files"]:
        rows = pq.read_table(sorted((tmp_path / "out").glob(files["path"])))
        assert rows.equals(right.filter(pc.equal(splits, files["split"])))
        assert rows.num_rows == counts[files["split"]]
    assert sorted(path.name for path in data.iterdir()) == [f"{name}-00000-of-00001.parquet" for name in sorted(counts)]
    assert [column["name"] for column in card["dataset_info"]["features"]] == right.column_names
    assert card["dataset_info"]["features"][-1] == {"name": "values", "list": "float32"}


def test_a_card_states_pictures_sound_and_structures(store: Store, tmp_path: Path) -> None:
    kinds: dict[str, Any] = {}
    for table in ("frames", "audio", "transcripts", "media"):
        exported(store, tmp_path / table, table, format="datasets")
        for feature in card_of(tmp_path / table)["dataset_info"]["features"]:
            kinds[feature.pop("name")] = feature
    assert kinds["jpeg"] == {"dtype": "image"}
    assert kinds["flac"] == {"dtype": "audio"}
    assert kinds["frame_rate"] == {"dtype": "float64"}
    assert kinds["recorded_at"] == {"dtype": "timestamp[us, tz=UTC]"}
    assert kinds["subject_ids"] == {"list": "string"}
    assert kinds["words"]["list"][-1] == {"name": "confidence", "dtype": "float32"}


def test_a_dataset_without_rows_is_a_split_without_rows(store: Store, tmp_path: Path) -> None:
    data = exported(store, tmp_path / "out", "looks", format="datasets", batch=("b3",), split="even")
    assert [path.name for path in data.iterdir()] == ["train-00000-of-00001.parquet"]
    assert card_of(tmp_path / "out")["dataset_info"]["splits"][0]["num_examples"] == 0


def card_of(out: Path) -> Mapping[str, Any]:
    """The front matter of the card."""
    _, front, _ = (out / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    found: Mapping[str, Any] = yaml.safe_load(front)
    return found
