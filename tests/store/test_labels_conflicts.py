"""Labels that contradict each other, and tasks of many labels: a row a class, which holds or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from features.errors import ConfigError
from features.store import Store, read_table
from features.store.labels import LoadedLabels, load_labels
from features.store.lineage import Lineage
from features.store.salvage import keep_statements
from features.store.verify import verify_store
from tests.store.making import media, put, result

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def archive(store: Store, tmp_path: Path) -> Store:
    """One batch of two media."""
    for table in ("frames", "audio", "transcripts"):
        put(store, table, "b1", [])
    put(store, "source_results", "b1", [result(m, str(tmp_path / f"{m}.mp4")) for m in "ac"])
    put(store, "media", "b1", [media(m, uri=str(tmp_path / f"{m}.mp4")) for m in "ac"])
    return store


def load(store: Store, folder: Path, text: str) -> LoadedLabels:
    (folder / "labels.csv").write_text(text)
    return load_labels(store, "mood", folder / "labels.csv", run_id="run")


def labels(store: Store, *columns: str) -> list[tuple[Any, ...]]:
    rows = read_table(store, "labels/mood").to_pylist()
    return sorted(tuple(row[name] for name in columns) for row in rows)


@pytest.mark.parametrize("names", [("a", "a.mp4"), ("a.mp4", "a")])
def test_two_names_of_one_media_may_not_say_two_things(archive: Store, tmp_path: Path, names: tuple[str, str]) -> None:
    before = archive.tables()
    message = rf"rows 1 \('{names[0]}'\) and 3 \('{names[1]}'\) of .* name the same media, a, and say 'good' and 'bad'"
    with pytest.raises(ConfigError, match=message):
        load(archive, tmp_path, f"media,class\n{names[0]},good\nc,good\n{names[1]},bad\n")
    assert archive.tables() == before


def test_a_media_and_its_uri_are_two_names(archive: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"rows 1 \('a'\) and 2 \('a\.mp4'\) of .* and say 0\.5 and 1\.0;"):
        load(archive, tmp_path, "media,uri,number\na,,0.5\n,a.mp4,1\n")


@pytest.mark.parametrize(
    "rows",
    ["a,good,,\na.mp4,good,,", "a,good,0,1\na.mp4,bad,1,2", "a,good,,\na,bad,,"],
    ids=["the same", "other spans", "one name: the later counts"],
)
def test_what_is_no_contradiction(archive: Store, tmp_path: Path, rows: str) -> None:
    load(archive, tmp_path, f"media,class,start_seconds,end_seconds\n{rows}\n")


def test_people_may_differ(archive: Store, tmp_path: Path) -> None:
    load(archive, tmp_path, "media,class,annotator\na,good,ann\na.mp4,bad,bob\n")
    assert labels(archive, "class", "annotator") == [("bad", "bob"), ("good", "ann")]


def test_a_media_stands_on_one_side(archive: Store, tmp_path: Path) -> None:
    before = archive.tables()
    text = "media,class,start_seconds,split\na,good,0,train\na,bad,5,test\n"
    with pytest.raises(ConfigError, match=r"rows 1 and 2 of .* put media 'a' into train and test; a media"):
        load(archive, tmp_path, text)
    assert archive.tables() == before
    load(archive, tmp_path, text.replace("test", "train").replace("5,train", "5,"))


MANY = "media,class,number\na,joy,1\na,fear,0\na,surprise,1\nc,joy,0\n"


def test_a_segment_may_have_many_classes(archive: Store, tmp_path: Path) -> None:
    load(archive, tmp_path, MANY)
    wanted = [("a", "fear", 0), ("a", "joy", 1), ("a", "surprise", 1), ("c", "joy", 0)]
    assert labels(archive, "media_id", "class", "number") == wanted
    assert load(archive, tmp_path, MANY).num_changed == 0
    load(archive, tmp_path, "media,class,number\na,fear,1\n")
    assert labels(archive, "media_id", "class", "number") == [("a", "fear", 1), *wanted[1:]]


def test_a_class_may_not_hold_under_one_name_and_not_under_another(archive: Store, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"and say 'joy' 1\.0 and 'joy' 0\.0; take one out"):
        load(archive, tmp_path, "media,class,number\na,joy,1\na.mp4,fear,0\na.mp4,joy,0\n")


def test_verify_and_repair_know_many_classes(archive: Store, tmp_path: Path) -> None:
    load(archive, tmp_path, MANY)
    assert verify_store(archive).findings == ()
    before = labels(archive, "media_id", "class", "number")
    assert keep_statements(archive, "labels/mood", "b1", (), Lineage("run", "repair")).num_rows == len(before)
    assert labels(archive, "media_id", "class", "number") == before


@pytest.mark.parametrize(
    ("span", "what"),
    [("0,10.000001", "[0, 10000001)"), ("10,11", "[10000000, 11000000)"), ("5,5", "[5000000, 5000000)")],
)
def test_a_span_ends_with_its_media(archive: Store, tmp_path: Path, span: str, what: str) -> None:
    with pytest.raises(ConfigError, match=r"row 1 of .* but the media lasts 10000000 µs; mend") as caught:
        load(archive, tmp_path, f"media,class,start_seconds,end_seconds\na,good,{span}\n")
    assert what in str(caught.value)


def test_of_two_media_of_one_name_the_one_that_stands_is_meant(archive: Store, tmp_path: Path) -> None:
    put(archive, "media", "b0", [media("old", name="a.mp4", superseded_by="a")])
    load(archive, tmp_path, "media,class\na.mp4,good\n")
    assert labels(archive, "media_id") == [("a",)]
