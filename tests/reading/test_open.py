"""Opened readers: the same rows as reading everything and pooling it, only whole batches, masks that say why."""

from __future__ import annotations

import json
import pickle
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError, StoreError
from features.fusion.alignment import POOLS, pad_by_overlap, pool_by_overlap
from features.fusion.segments import segments_of
from features.reading import FeatureReader, Padded, open_features
from features.reading.snapshot import version_at
from features.store import Store, read_table
from tests.reading.conftest import BATCHES, WIDTHS, put_feature, utterance
from tests.store.making import SECOND, media, put

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("pictures", "words")


def table_of(reader: FeatureReader) -> pa.Table:
    return pa.Table.from_batches(iter(reader), reader.schema)


@pytest.mark.parametrize("how", POOLS)
@pytest.mark.parametrize("segmentation", ["window:3s", "whole", "utterances", "labels:mood"])
def test_equals_reading_everything_and_pooling_it(store: Store, segmentation: str, how: str) -> None:
    got = table_of(open_features(store, NAMES, segmentation, pool=how))
    media_rows = read_table(store, "media")
    text = [utterance("a", 5, 6, ""), utterance("c", 1, 4, ""), utterance("d", 5, 6, "")]
    text += [utterance(own, 1, 4, "") for own in "ef"]
    segments = segments_of(
        segmentation, media_rows, read_table(store, "labels/mood"), pa.Table.from_pylist(text) if text else None
    )
    assert got.select(segments.column_names).equals(segments)
    for name in NAMES:
        right = pool_by_overlap(segments, read_table(store, f"features/{name}@1"), (WIDTHS[name],), how)
        present = right.present.tolist()
        assert got[f"{name}:present"].to_pylist() == present
        assert got[f"{name}:nearest"].to_pylist() == right.nearest.tolist()
        wanted = [row.tolist() if there else None for row, there in zip(right.values, present, strict=True)]
        assert got[name].to_pylist() == wanted
        assert any(present)


def test_a_mask_says_why(store: Store) -> None:
    rows = table_of(open_features(store, NAMES, "window:1000s")).to_pylist()
    told = {row["media_id"]: (row["pictures:status"], row["words:status"], row["words:present"]) for row in rows}
    assert told == {
        "a": ("ok", "ok", True),
        "c": ("ok", "ok", True),
        "d": ("failed", None, False),
        "f": ("ok", None, False),
    }
    assert [row["pictures"] is None for row in rows] == [False, False, True, False]


def test_rows_of_a_media_whose_extraction_failed_do_not_count(store: Store) -> None:
    put(store, "coverage/words@1", "b1", [{"media_id": "a", "status": "failed"}], stage="again")
    put(store, "coverage/words@1", "b1", [{"media_id": "a", "status": "failed"}], stage="again", generation=2)
    rows = table_of(open_features(store, ["words"], "whole", batch_ids=["b1"])).to_pylist()
    assert [(row["words"], row["words:present"], row["words:nearest"]) for row in rows] == [(None, False, False)] * 2


def test_padded_sequences_have_lengths(store: Store) -> None:
    reader = open_features(store, NAMES, "window:3s", pool={"pictures": Padded(5), "words": "max"})
    got = table_of(reader)
    segments = got.select(["media_id", "start_us", "end_us"])
    right = pad_by_overlap(segments, read_table(store, "features/pictures@1"), (4,), 5)
    assert reader.schema.field("pictures").type == pa.list_(pa.list_(pa.float32(), 4), 5)
    assert got["pictures:length"].to_pylist() == right.length.tolist()
    blocks = got["pictures"].to_pylist()
    assert [b for b in blocks if b] == [
        b.tolist() for b, there in zip(right.values, right.present, strict=True) if there
    ]
    assert reader.schema.field("words").type == pa.list_(pa.float32(), 3)


def test_only_whole_batches_and_what_media_lists(store: Store) -> None:
    reader = open_features(store, ["pictures"])
    assert reader.batch_ids == tuple(BATCHES)
    put(store, "media", "b4", [media("c")])  # the bytes of `a` stand in another batch
    rows = open_features(store, ["pictures"], "whole", batch_ids=["b4"]).read("b4").to_pylist()
    assert [row["media_id"] for row in rows] == ["c"]
    with pytest.raises(ConfigError, match=r"batch 'b9' is not whole"):
        open_features(store, ["pictures"], batch_ids=["b9"])


def test_a_batch_is_a_record_batch_also_where_it_is_empty(store: Store) -> None:
    reader = open_features(store, NAMES)
    assert [batch.num_rows for batch in reader] == [4, 5, 0]
    assert all(batch.schema == reader.schema for batch in reader)
    assert pa.Table.from_batches(reader.to_arrow()).equals(table_of(reader))


def test_what_rivals_commit_after_opening_does_not_show(store: Store) -> None:
    reader = open_features(store, NAMES, "window:2s")
    before = table_of(reader)
    put_feature(store, "words", "b2", BATCHES["b2"])
    put(store, "media", "b5", [media("g")])
    put(store, "media", "b1", [media("a")], stage="x", generation=2)
    assert table_of(reader).equals(before)
    assert table_of(open_features(store, NAMES, "window:2s", as_of=reader.versions)).equals(before)
    newest = open_features(store, NAMES, "window:2s")
    assert newest.batch_ids == ("b1", "b2", "b3", "b5")
    assert not table_of(newest).equals(before)


def test_as_of_a_time(store: Store) -> None:
    before = table_of(open_features(store, NAMES))
    backdate(store, datetime(2020, 1, 1, tzinfo=UTC))
    put_feature(store, "words", "b2", BATCHES["b2"])
    put_feature(store, "words", "b1", ("a",), version=2)
    when = datetime(2021, 1, 1, tzinfo=UTC)
    reader = open_features(store, NAMES, as_of=when)
    assert reader.features[1].key == "words@1"
    assert table_of(reader).equals(before)
    assert open_features(store, NAMES).features[1].key == "words@2"
    with pytest.raises(ConfigError, match="there is no feature 'words' at 2019"):
        open_features(store, ["words"], as_of=when - timedelta(days=700))
    with pytest.raises(ConfigError, match="without a time zone"):
        open_features(store, NAMES, as_of=when.replace(tzinfo=None))


def backdate(store: Store, when: datetime) -> None:
    """Make all commits so far state this time."""
    for entry in store.path.rglob("_delta_log/*.json"):
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            if "commitInfo" in action:
                action["commitInfo"]["timestamp"] = int(when.timestamp() * 1000)
        entry.write_text("\n".join(map(json.dumps, actions)))


def test_a_log_that_no_longer_reaches_back_says_so(store: Store) -> None:
    store.load("features/words@1").create_checkpoint()
    log = store.table_path("features/words@1") / "_delta_log"
    newest = max(log.glob("*.json"))
    for entry in log.glob("*.json"):
        if entry != newest:
            entry.unlink()
    assert open_features(store, ["words"]).versions["features/words@1"] == int(newest.stem)
    assert version_at(store, "features/words@1", datetime.now(UTC)) == int(newest.stem)
    with pytest.raises(StoreError, match=r"no longer reaches back to 2001.*name a later time"):
        open_features(store, ["words"], as_of=datetime(2001, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["picture"], {}, r"no feature 'picture'; did you mean 'pictures"),
        (["pictures@7"], {}, r"no feature 'pictures@7'; did you mean 'pictures@1'"),
        ([], {}, r"name at least one"),
        (["words", "words"], {}, r"each once"),
        (["words"], {"pool": "meen"}, r"cannot be pooled by 'meen'; did you mean 'mean'"),
        (["words"], {"pool": {"word": "max"}}, r"pool names 'word'.*did you mean 'words'"),
        (["words"], {"pool": Padded(0)}, r"at least 1"),
        (["words"], {"columns": ["words:presnt"]}, r"did you mean 'words:present'"),
        (["words"], {"media_columns": ["nam"]}, r"no column 'nam' in media; did you mean 'name'"),
        (["words"], {"as_of": {"feature/words@1": 1}}, r"did you mean 'features/words@1'"),
        (["words"], {"segmentation": "labels:moot"}, r"no label set 'moot'"),
        (["words"], {"segmentation": "windows"}, r"no segmentation 'windows'"),
    ],
)
def test_wrong_use_is_refused_with_a_hint(
    store: Store, names: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_features(store, names, **options)


def test_columns_that_are_not_wanted_are_not_read(store: Store) -> None:
    shutil.rmtree(store.table_path("features/words@1") / "batch_id=b1")
    reader = open_features(
        store, NAMES, "whole", columns=["media_id", "name", "words:status", "pictures"], media_columns=["name"]
    )
    rows = table_of(reader)
    assert rows.column_names == ["media_id", "name", "words:status", "pictures"]
    assert rows["name"].to_pylist() == [f"{own}.mp4" for own in rows["media_id"].to_pylist()]
    with pytest.raises(StoreError, match=r"cannot read .*words@1.*open the features again"):
        table_of(open_features(store, NAMES))


@pytest.mark.parametrize("segmentation", ["window:2s", "utterances", "labels:mood"])
def test_one_media_opens_its_own_batch_only(store: Store, segmentation: str) -> None:
    reader = open_features(store, NAMES, segmentation, pool={"pictures": Padded(3), "words": "std"})
    every = table_of(reader)
    reader.media("f")  # loads the index while all files are there
    for path in store.path.rglob("batch_id=b2"):
        shutil.rmtree(path)
    for media_id in "ac":
        mine = pa.compute.equal(every["media_id"], media_id)
        assert pa.Table.from_batches([reader.media(media_id)]).equals(every.filter(mine).combine_chunks())


def test_one_media_of_many_row_groups(store: Store, tmp_path: Path) -> None:
    del tmp_path
    reader = open_features(store, ["pictures"], "window:1s")
    whole = table_of(reader)
    (path,) = reader.snapshot.paths("features/pictures@1", "b1")
    pq.write_table(pq.read_table(path, partitioning=None), path, row_group_size=3)
    for media_id in "ac":
        mine = pa.compute.equal(whole["media_id"], media_id)
        assert pa.Table.from_batches([reader.media(media_id)]).equals(whole.filter(mine).combine_chunks())


def test_an_unknown_media_is_named(store: Store) -> None:
    with pytest.raises(StoreError, match=r"media 'zz' is not in"):
        open_features(store, NAMES).media("zz")
    with pytest.raises(StoreError, match=r"media 'f' is of batch 'b2', which was not opened"):
        open_features(store, NAMES, batch_ids=["b1"]).media("f")


def test_a_reader_can_be_sent_to_another_process(store: Store) -> None:
    reader = open_features(store, NAMES)
    reader.media("a")
    assert table_of(pickle.loads(pickle.dumps(reader))).equals(table_of(reader))
    assert reader.specs["words"].shape == (3,)


def test_a_table_without_a_spec_has_the_width_of_its_rows(store: Store) -> None:
    row = {"media_id": "a", "start_us": 0, "end_us": SECOND, "values": np.ones(7, np.float32)}
    put(store, "features/own@1", "b1", [row])
    put(store, "features/none@1", "b1", [])
    schema = open_features(store, ["own", "none"]).schema
    assert schema.field("own").type.list_size == 7
    assert schema.field("none").type.list_size == 1


def test_stopping_early_and_one_thread(store: Store) -> None:
    reader = open_features(store, NAMES, num_threads=1)
    assert next(iter(reader)).num_rows == 4
    assert table_of(reader).equals(table_of(open_features(store, NAMES, num_threads=3)))
