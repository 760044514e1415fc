"""Importing vectors: placed, whole or not at all, the same twice, other vectors refused; failures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from features.errors import ConfigError
from features.spec import FeatureSpec
from features.store import Commit, Store, import_rows, read_table
from features.store.failures import open_letters
from features.store.feature_file import read_feature_file
from features.store.files import checksum_of
from features.store.import_spec import is_imported
from features.store.imports import Imported, import_features
from features.store.verify import verify_store
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


def test_what_a_version_says_of_a_media_stays(archive: Store, tmp_path: Path) -> None:
    spans = "media,start_seconds,end_seconds,x\n"
    take(archive, tmp_path / "f.csv", spans + "a,0,1,1\na,1,2,2\nb,0,1,3\n")
    with pytest.raises(ConfigError, match=r"holds vectors that the file lacks at 1 places .* media a at \[1000000, "):
        take(archive, tmp_path / "f.csv", spans + "a,0,1,1\n")
    with pytest.raises(ConfigError, match=r"holds fewer vectors at 1 places .* media b at \[2000000, "):
        take(archive, tmp_path / "f.csv", spans + "b,0,1,3\nb,2,3,3\n")
    assert take(archive, tmp_path / "f.csv", spans + "b,0,1,3\na,1,2,2\na,0,1,1\n").num_changed == 0


def test_the_spec_says_that_it_was_imported_and_from_what(archive: Store, tmp_path: Path) -> None:
    take(archive, tmp_path / "f.csv", "media,x,y\na,1,2\n")
    spec = archive.spec("features/units@1")
    assert spec is not None
    assert is_imported(spec)
    assert (spec.shape, spec.modality, spec.source) == ((2,), "video", "imported from f.csv")
    assert dict(spec.parameters) == {"columns": "x,y"}
    assert spec.weights_fingerprint == checksum_of(tmp_path / "f.csv")
    take(archive, tmp_path / "g.csv", "media,x,y\nb,1,2\n")
    assert archive.spec("features/units@1") == spec


def test_every_batch_is_covered_and_verifies(archive: Store, tmp_path: Path) -> None:
    for table in ("frames", "audio", "transcripts"):
        for batch_id in ("b1", "b2"):
            put(archive, table, batch_id, [])
    take(archive, tmp_path / "f.csv", "media,x\na,1\n")
    assert archive.batches("features/units@1") == archive.batches("coverage/units@1") == {"b1", "b2"}
    assert verify_store(archive).findings == ()
    for table in ("frames", "audio", "transcripts", "source_results"):
        put(archive, table, "b3", [])
    put(archive, "media", "b3", [media("late")])
    assert "late" not in coverage(archive)
    take(archive, tmp_path / "f.csv", "media,x\na,1\n")
    assert coverage(archive) == {"a": "ok", "b": "absent", "c": "absent", "d": "absent", "late": "absent"}
    assert verify_store(archive).findings == ()


def test_media_may_be_named_in_several_ways(archive: Store, tmp_path: Path) -> None:
    put(archive, "media", "b3", [media("b_old", name="b.mp4", superseded_by="b")])
    text = f"media,uri,x\na,,1\nb.mp4,,2\n,c.mp4,3\n,{tmp_path / 'd.mp4'},4\n"
    take(archive, tmp_path / "f.csv", text)
    assert [row[0] for row in rows(archive)] == ["a", "b", "c", "d"]
    with pytest.raises(
        ConfigError, match=r"rows 1 \('a'\) and 2 \('a\.mp4'\) of .* are of one media, a, and of one span"
    ):
        take(archive, tmp_path / "g.csv", "media,x\na,1\na.mp4,1\n", name="other")
    put(archive, "media", "b4", [media("a_twin", name="a.mp4")])
    with pytest.raises(ConfigError, match=r"'a\.mp4' \(the name of 2 media: write their ids\)"):
        take(archive, tmp_path / "g.csv", "media,x\na.mp4,1\n", name="other")


def test_media_that_may_not_be_used_are_left_out(archive: Store, tmp_path: Path) -> None:
    rows_of = [media("no", consent="refused"), media("face", consent="refused:biometric"), media("e")]
    put(archive, "media", "b3", rows_of)
    put(archive, "source_results", "b3", [result(None, str(tmp_path / "dead.mp4"), "failed")])
    text = "media,uri,x\nno,,1\nface,,2\ne,,3\n,dead.mp4,4\n"
    done = take(archive, tmp_path / "f.csv", text, modality="face")
    assert done.skipped == ("no: use refused", "face: consent refused for biometric", "dead.mp4: a dead letter")
    assert [row[0] for row in rows(archive)] == ["e"]
    assert {m: s for m, s in coverage(archive).items() if m in ("no", "face", "e")} == {
        "no": "skipped",
        "face": "skipped",
        "e": "ok",
    }


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
        ("media,order,x\na,0,1\na,0,2\n", r"the orders of media 'a' in .* are 0, 0; give 0, 1, 2 and so on, each once"),
        ("media,order,x\na,1,1\n", r"the orders of media 'a' in .* are 1; give"),
        ("media,order,x\na,0.5,1\n", r"row 1 of .* has order '0.5'; give 0, 1, 2"),
        ("media,order,x\na,,1\n", r"row 1 of .* has order ''; give 0, 1, 2"),
        ("media,order,start_us,x\na,0,1,1\n", r"has a column order and start_us too; keep the order or the spans"),
        ("media,start_us,x\na,soon,1\n", r"row 1 of .* has start_us 'soon', which is no number"),
        ("media,x\n,1\n", r"row 1 of .* names no media"),
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
        ({"name": "mfcc"}, r"'mfcc' is the name of an extractor; give the imported feature another, such as my_mfcc"),
    ],
)
def test_a_wrong_word(archive: Store, tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        take(archive, tmp_path / "f.csv", "media,x\na,1\n", **more)


def test_each_media_with_failures_has_one_open_letter(archive: Store, tmp_path: Path) -> None:
    bad = "media,order,x\na,0,1\na,1,nan\na,2,0\nb,0,inf\nc,0,1\n"
    take(archive, tmp_path / "f.csv", bad)
    letters = {letter.media_id: letter for letter in open_letters(archive)}
    assert sorted(filter(None, letters)) == ["a", "b"]
    assert letters["a"].message == "the vector of row 2 of 'f.csv' is not finite (and 1 more)"
    assert (letters["b"].stage, letters["b"].batch_id, letters["b"].attempts) == ("import:units@1", "b1", 1)
    version = archive.load("failures").version()
    take(archive, tmp_path / "f.csv", bad)
    assert archive.load("failures").version() == version
    take(archive, tmp_path / "f.csv", "media,order,x\na,0,1\na,1,2\na,2,0\nb,0,4\nc,0,1\n")
    assert [(letter.media_id, letter.attempts) for letter in open_letters(archive)] == [("a", 2)]
    assert [row[-1] for row in rows(archive)] == [[1], [2], [4], [1]]
    assert coverage(archive) == {"a": "partial", "b": "ok", "c": "ok", "d": "absent"}


def test_features_of_an_extractor_are_not_added_to(archive: Store, tmp_path: Path) -> None:
    spec = FeatureSpec("looks", 1, "video", "frames", shape=(1,), made_by="someones:looks")
    archive.ensure(spec.table, spec)
    with pytest.raises(ConfigError, match=r"features/looks@1 was made by the extractor 'someones:looks'; give .* name"):
        take(archive, tmp_path / "f.csv", "media,x\na,1\n", name="looks")


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("media,x,y\nb,1,2\n", {}, r"of so many numbers: 1, and the file's are of 2; .* --version 2"),
        ("media,z\nb,1\n", {}, r"of the columns x, and the file's are of z"),
        ("media,x\nb,1\n", {"modality": "face"}, r"of modality video, and the file's are of face; import it under"),
    ],
)
def test_another_kind_of_vector_is_another_feature(
    archive: Store, tmp_path: Path, text: str, more: dict[str, Any], message: str
) -> None:
    take(archive, tmp_path / "f.csv", "media,x\na,1\n")
    with pytest.raises(ConfigError, match=message):
        take(archive, tmp_path / "g.csv", text, **more)


def test_two_files_at_once_both_arrive(archive: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other file is imported while this one is about to be committed to the same batch."""
    real, others = import_rows.commit_files, iter([True])

    def after_a_rival(*given: Any, **more: Any) -> Commit:
        if next(others, False):
            take(archive, tmp_path / "g.csv", "media,x\nb,2\n")
        return real(*given, **more)

    monkeypatch.setattr(import_rows, "commit_files", after_a_rival)
    take(archive, tmp_path / "f.csv", "media,x\na,1\n")
    assert [(row[0], row[-1]) for row in rows(archive)] == [("a", [1]), ("b", [2])]
    assert coverage(archive) == {"a": "ok", "b": "ok", "c": "absent", "d": "absent"}
