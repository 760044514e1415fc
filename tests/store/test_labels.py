"""Loading labels: spans, unknown media, dead letters, repeats, replacements; upserts under rivals."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError
from features.store import Store, read_table
from features.store.index import media_index
from features.store.labels import LoadedLabels, load_labels
from features.store.lineage import Lineage
from features.store.upsert import upsert
from tests.store import rivals
from tests.store.making import SECOND, media, put, result

if TYPE_CHECKING:
    from pathlib import Path

_SET = "labels/mood"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Folder of the sources; none of them needs to exist."""
    return tmp_path / "videos"


@pytest.fixture
def archive(store: Store, videos: Path) -> Store:
    """Two batches: a and c, e and a refused one; one source is a dead letter."""

    def row(media_id: str, **more: Any) -> dict[str, Any]:
        return media(media_id, uri=str(videos / f"{media_id}.mp4"), **more)

    put(store, "media", "b1", [row("a"), row("c")])
    put(store, "media", "b2", [row("e"), row("no", consent="refused", duration_us=None)])
    for batch_id, media_ids in (("b1", ("a", "c")), ("b2", ("e", "no"))):
        put(store, "source_results", batch_id, [result(m, str(videos / f"{m}.mp4")) for m in media_ids])
    dead = [result(None, str(videos / "gone.mp4"), "failed"), result("x", str(videos / "bad.mp4"), "failed")]
    put(store, "source_results", "b3", dead)
    put(store, "media", "b3", [])
    return store


def load(store: Store, videos: Path, text: str, run_id: str = "run", name: str = "labels.csv") -> LoadedLabels:
    videos.mkdir(exist_ok=True)
    (videos / name).write_text(text)
    return load_labels(store, "mood", videos / name, run_id=run_id)


def labels(store: Store, *columns: str) -> list[tuple[Any, ...]]:
    rows = read_table(store, _SET).to_pylist()
    return sorted(tuple(row[name] for name in ("batch_id", "media_id", *columns)) for row in rows)


def test_a_label_of_a_whole_media_spans_it(archive: Store, videos: Path) -> None:
    loaded = load(archive, videos, "uri,class\na.mp4,good\ne.mp4,bad\n")
    assert (loaded.num_labels, loaded.skipped) == (2, ())
    assert labels(archive, "start_us", "end_us", "task", "class", "number", "weight") == [
        ("b1", "a", 0, 10 * SECOND, "mood", "good", None, 1.0),
        ("b2", "e", 0, 10 * SECOND, "mood", "bad", None, 1.0),
    ]


def test_spans_numbers_weights_and_tasks(archive: Store, videos: Path) -> None:
    text = (
        "media,task,number,start_seconds,end_seconds,start_us,weight,annotator\n"
        "a,joy,0.5,1.5,2,,,ann\n"
        "a.mp4,joy,-1,,3,2000000,0,bob\n"
        "c,,7,9,,,2.5,\n"
    )
    load(archive, videos, text)
    assert labels(archive, "start_us", "end_us", "task", "number", "weight", "annotator") == [
        ("b1", "a", 1_500_000, 2_000_000, "joy", 0.5, 1.0, "ann"),
        ("b1", "a", 2_000_000, 3_000_000, "joy", -1.0, 0.0, "bob"),
        ("b1", "c", 9_000_000, 10_000_000, "mood", 7.0, 2.5, None),
    ]


def test_a_uri_may_be_absolute_or_relative_to_the_file(archive: Store, videos: Path) -> None:
    (videos / "lists").mkdir(parents=True)
    text = f"uri,class\n../a.mp4,good\n{videos / 'c.mp4'},bad\n"
    assert load(archive, videos, text, name="lists/labels.csv").num_labels == 2


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_formats_agree(archive: Store, videos: Path, suffix: str) -> None:
    rows = [{"uri": "a.mp4", "class": "good"}, {"uri": "e.mp4", "class": "bad"}]
    path = videos / f"labels.{suffix}"
    videos.mkdir()
    if suffix == "csv":
        path.write_text("uri,class\n" + "".join(f"{row['uri']},{row['class']}\n" for row in rows))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    load_labels(archive, "mood", path, run_id="run")
    assert labels(archive, "class") == [("b1", "a", "good"), ("b2", "e", "bad")]


def test_unknown_media_are_named_and_nothing_is_written(archive: Store, videos: Path) -> None:
    before = archive.tables()
    with pytest.raises(ConfigError, match=r"names media that the store does not know: 'z\.mp4', 'y\.mp4'; ingest"):
        load(archive, videos, "uri,class\na.mp4,good\nz.mp4,bad\ny.mp4,bad\n")
    many = "".join(f"{index}.mp4,bad\n" for index in range(8))
    with pytest.raises(ConfigError, match=r"'4\.mp4' and 3 more"):
        load(archive, videos, f"uri,class\n{many}")
    assert archive.tables() == before


def test_dead_letters_and_refused_media_are_left_out(archive: Store, videos: Path) -> None:
    loaded = load(archive, videos, "uri,class\ngone.mp4,good\nbad.mp4,good\nno.mp4,good\na.mp4,good\n")
    assert loaded.num_labels == 1
    assert loaded.skipped == ("gone.mp4: a dead letter", "bad.mp4: a dead letter", "no.mp4: use refused")
    assert labels(archive) == [("b1", "a")]


def test_a_name_that_several_media_have_is_not_guessed(archive: Store, videos: Path) -> None:
    put(archive, "media", "b4", [media("g", name="a.mp4", uri="/elsewhere/a.mp4")])
    with pytest.raises(ConfigError, match=r"'a\.mp4'"):
        load(archive, videos, "media,class\na.mp4,good\n")


def test_loading_again_changes_nothing(archive: Store, videos: Path) -> None:
    text = "uri,class,split\na.mp4,good,train\ne.mp4,bad,test\n"
    load(archive, videos, text)
    versions = [archive.load(table).version() for table in (_SET, "splits/mood")]
    again = load(archive, videos, text, run_id="another")
    assert (again.num_labels, again.num_changed) == (2, 0)
    assert [archive.load(table).version() for table in (_SET, "splits/mood")] == versions


def test_a_later_label_replaces_the_earlier(archive: Store, videos: Path) -> None:
    load(archive, videos, "uri,class,annotator\na.mp4,good,ann\na.mp4,fair,bob\nc.mp4,good,ann\n")
    load(archive, videos, "uri,class,annotator\na.mp4,bad,ann\na.mp4,worse,ann\n", run_id="another")
    assert labels(archive, "class", "annotator") == [
        ("b1", "a", "fair", "bob"),
        ("b1", "a", "worse", "ann"),
        ("b1", "c", "good", "ann"),
    ]


def test_words_that_others_take_for_nothing_are_classes(archive: Store, videos: Path) -> None:
    load(archive, videos, "uri,class\na.mp4,NA\nc.mp4,null\n")
    assert labels(archive, "class") == [("b1", "a", "NA"), ("b1", "c", "null")]


def test_splits_are_loaded_with_the_labels(archive: Store, videos: Path) -> None:
    load(archive, videos, "uri,class,split\na.mp4,good,train\nc.mp4,bad,\ne.mp4,bad,test\n")
    rows = read_table(archive, "splits/mood").to_pylist()
    assert sorted((row["media_id"], row["split"]) for row in rows) == [("a", "train"), ("e", "test")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("uri\na.mp4\n", "neither a column class nor number"),
        ("class\ngood\n", "neither a column uri nor media"),
        ("uri,class\na.mp4,good,more\n", "cannot read the label file"),
        ("", "cannot read the label file"),
        ("uri,class\n,good\n", "row 1 .* names no media"),
        ("uri,class\na.mp4,\n", "row 1 .* has neither a class nor a number"),
        ("uri,number\na.mp4,high\n", "row 1 .* has number 'high', which is no number"),
        ("uri,number\na.mp4,nan\n", "has number 'nan'"),
        ("uri,class,start_seconds\na.mp4,good,11\n", r"spans \[11000000, 10000000\) µs, but the media lasts 10000000"),
        ("uri,class,start_seconds\na.mp4,good,-1\n", r"spans \[-1000000, 10000000\)"),
        ("uri,class,end_seconds\na.mp4,good,10.5\n", r"spans \[0, 10500000\)"),
        ("uri,class,split\na.mp4,good,training\n", "split 'training'; give train, dev or test"),
    ],
)
def test_wrong_files_are_explained_and_nothing_is_written(
    archive: Store, videos: Path, text: str, message: str
) -> None:
    before = archive.tables()
    with pytest.raises(ConfigError, match=message) as caught:
        load(archive, videos, text)
    assert str(videos / "labels.csv") in str(caught.value)
    assert archive.tables() == before


def test_a_missing_file_is_named(archive: Store, videos: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no label file '.*none\.csv'"):
        load_labels(archive, "mood", videos / "none.csv", run_id="run")


def test_rows_stand_in_their_medias_batch(archive: Store) -> None:
    assert media_index(archive).batches_of(["a", "c", "e", "no"]) == {"a": "b1", "c": "b1", "e": "b2", "no": "b2"}
    rows = [{"media_id": "e", "task": "t", "class": "x"}]
    assert upsert(archive, _SET, rows, key=("media_id",), lineage=Lineage("run", "first")).batch_ids == ("b2",)
    assert upsert(archive, _SET, rows, key=("media_id",), lineage=Lineage("run", "second")) == ((), 0)
    assert archive.batches(_SET) == {"b2"}


@pytest.mark.slow
def test_racing_label_files_all_arrive(archive: Store, videos: Path) -> None:
    """Each states other labels of the same batches; none is lost to another's rewrite."""
    videos.mkdir()
    arguments = []
    for index in range(4):
        path = videos / f"labels{index}.csv"
        path.write_text(f"uri,class,annotator\na.mp4,good,{index}\ne.mp4,bad,{index}\n")
        arguments.append((archive.root, path, f"run{index}"))
    assert rivals.race(rivals.label, arguments) == [2, 2, 2, 2]
    expected = [(batch, media_id, str(index)) for batch, media_id in (("b1", "a"), ("b2", "e")) for index in range(4)]
    assert labels(archive, "annotator") == expected
