"""Media that there are only vectors of: whole like others, after a kill, beside a rival, and forgotten for good."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from features.errors import ConfigError
from features.privacy.erasure import erase, plan_erasure, rows_of_forgotten
from features.store import Store, commit, imports, pending_batches, read_table
from features.store.feature_file import read_feature_file
from features.store.imports import Imported, import_features
from features.store.labels import load_labels
from features.store.named_media import imported_id
from features.store.plan import unfinished_batches
from features.store.verify import verify_store
from tests.store.making import SECOND, media, put, result

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "media,order,x\nann,0,1\nann,1,2\nbob,0,3\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "f.csv"
    path.write_text(TEXT)
    return path


def take(store: Store, path: Path, text: str = "", **more: Any) -> Imported:
    if text:
        path.write_text(text)
    how: dict[str, Any] = {"modality": "text", "name": "words", "new_media": True, **more}
    return import_features(store, read_feature_file(path), **how)


def vectors(store: Store, key: str = "words@1") -> list[tuple[str, int, int, float]]:
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    rows = read_table(store, f"features/{key}").to_pylist()
    return sorted((names[row["media_id"]], row["start_us"], row["end_us"], *row["values"]) for row in rows)


WHOLE = [("ann", 0, SECOND, 1), ("ann", SECOND, 2 * SECOND, 2), ("bob", 0, SECOND, 3)]


def test_they_are_whole_media_of_a_batch_of_their_own(store: Store, path: Path) -> None:
    put(store, "media", "20200101T000000-0", [media("old")])
    done = take(store, path)
    assert (done.num_rows, done.num_media, done.num_new_media, done.num_changed) == (3, 2, 2, 3)
    assert vectors(store) == WHOLE
    rows = {row["name"]: row for row in read_table(store, "media").to_pylist()}
    ann = rows["ann"]
    assert (ann["media_id"], ann["container"], ann["duration_us"]) == (imported_id("ann"), "imported", 2 * SECOND)
    assert not any(ann[name] for name in ("has_video", "has_audio", "has_text"))
    assert ann["batch_id"] == rows["bob"]["batch_id"] > rows["old.mp4"]["batch_id"]
    statuses = {row["media_id"]: row["status"] for row in read_table(store, "coverage/words@1").to_pylist()}
    assert statuses == {imported_id("ann"): "ok", imported_id("bob"): "ok", "old": "absent"}


def test_a_store_of_them_verifies_and_owes_ingest_nothing(store: Store, path: Path) -> None:
    take(store, path)
    take(store, path, "media,order,y\nann,0,1\nann,1,2\ncat,0,3\n", name="sounds", modality="audio")
    assert verify_store(store).findings == ()
    assert unfinished_batches(store) == ()
    assert len(pending_batches(store, "coverage/mfcc@1")) == 2


def test_they_last_until_the_latest_end(store: Store, path: Path) -> None:
    take(store, path, "media,start_seconds,end_seconds,x\nann,0,1.5,1\nann,4,7.25,1\nbob,2,,1\ncat,,,1\n")
    rows = read_table(store, "media").to_pylist()
    assert {row["name"]: row["duration_us"] / SECOND for row in rows} == {"ann": 7.25, "bob": 3, "cat": 1}


def test_labels_name_them_and_their_spans(store: Store, path: Path) -> None:
    take(store, path)
    labels = path.with_name("labels.csv")
    labels.write_text("media,uri,start_seconds,end_seconds,class\nann,,1,2,good\n,imported:bob,,,bad\n")
    assert load_labels(store, "mood", labels, run_id="run").num_labels == 2
    labels.write_text("media,start_seconds,end_seconds,class\nann,1,3,good\n")
    with pytest.raises(ConfigError, match=r"row 1 of .* spans \[1000000, 3000000\) µs, but the media lasts 2000000"):
        load_labels(store, "mood", labels, run_id="run")


def test_without_the_flag_they_are_unknown(store: Store, path: Path) -> None:
    put(store, "media", "b1", [media("ann", name="ann")])
    with pytest.raises(ConfigError, match=r"does not know: 'bob'; ingest them first, .* add --new-media"):
        take(store, path, new_media=False)
    take(store, path, "media,x\nann,1\n", new_media=False)


def test_media_of_the_store_are_used_by_their_names(store: Store, path: Path) -> None:
    put(store, "media", "b1", [media("a1", name="ann")])
    assert take(store, path).num_new_media == 1
    assert vectors(store) == [("ann", 0, 5 * SECOND, 1), ("ann", 5 * SECOND, 10 * SECOND, 2), ("bob", 0, SECOND, 3)]


def test_an_order_of_another_length_would_not_stand_beside_the_first(store: Store, path: Path) -> None:
    take(store, path)
    for text in ("media,order,x\nann,0,1\n", "media,order,x\nann,0,1\nann,1,1\nann,2,1\n"):
        with pytest.raises(ConfigError, match=r"rows of media 'ann', which came in without content and lasts 2 s"):
            take(store, path, text, name="sounds")
    take(store, path, "media,start_seconds,end_seconds,x\nann,1,2,7\n", name="sounds")
    assert vectors(store, "sounds@1") == [("ann", SECOND, 2 * SECOND, 7)]


def test_a_wrong_file_adds_no_media(store: Store, path: Path) -> None:
    for text in ("media,order,x\nann,0,1\nbob,1,1\n", "media,x\nann,nan\n", "media,x\nann,1\nann,2\n"):
        with pytest.raises(ConfigError):
            take(store, path, text)
        assert store.tables() == ()


def test_a_consent_file_decides_on_them(store: Store, path: Path) -> None:
    (store.path / "consent.toml").write_text('[[rules]]\nsource = "imported:bob"\nrefuse = ["features"]\n')
    done = take(store, path)
    assert done.skipped == ("bob: consent refused for features",)
    assert vectors(store) == WHOLE[:2]
    statuses = {row["media_id"]: row["status"] for row in read_table(store, "coverage/words@1").to_pylist()}
    assert statuses == {imported_id("ann"): "ok", imported_id("bob"): "skipped"}


class _Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.mark.parametrize("old", [False, True])
def test_a_killed_import_leaves_nothing_half_done_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: bool
) -> None:
    """Killed before its first commit, its second, and so on to the last."""
    path, commits, last = tmp_path / "f.csv", 0, False
    path.write_text("media,x\nann,1\nbob,2\nold,3\n" if old else "media,x\nann,1\nbob,2\ncat,nan\n")
    real = commit._commit_once
    while not last:
        store = Store.create(tmp_path / f"store{commits}")
        put(store, "sources", "20200101T000000-0", [{"uri": "/videos/old.mp4"}])
        for table in ("frames", "audio", "transcripts"):
            put(store, table, "20200101T000000-0", [])
        put(store, "source_results", "20200101T000000-0", [result("old", "/videos/old.mp4")])
        put(store, "media", "20200101T000000-0", [media("old", name="old")])
        left = [commits]

        def commit_or_die(*given: Any, left: list[int] = left) -> None:
            if not left[0]:
                raise _Killed
            left[0] -= 1
            real(*given)

        monkeypatch.setattr(commit, "_commit_once", commit_or_die)
        try:
            take(store, path)
            last = True
        except _Killed:
            names = {row["name"] for row in read_table(store, "media").to_pylist()}
            covered = {row["media_id"] for row in read_table(store, "coverage/words@1").to_pylist()}
            assert names in ({"old"}, {"old", "ann", "bob"} | ({"cat"} - {"cat"} if old else {"cat"}))
            assert covered >= {imported_id(name) for name in names - {"old"}}
        monkeypatch.setattr(commit, "_commit_once", real)
        take(store, path)
        assert verify_store(store).findings == ()
        assert [row[-1] for row in vectors(store)] == ([1, 2, 3] if old else [1, 2])
        letters = read_table(store, "failures").to_pylist()
        assert len(letters) == (0 if old else 1)
        assert len(store.batches("media")) == 2
        commits += 1
    assert commits >= 8


def test_two_at_once_share_the_media(store: Store, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other import adds them while this one is about to; its vectors go to the batch that was first."""
    real, others = imports.commit_new_media, iter([True])

    def after_a_rival(*given: Any) -> frozenset[str]:
        if next(others, False):
            take(store, path.with_name("g.csv"), "media,order,y\nann,0,7\nann,1,8\n", name="sounds", modality="audio")
        return real(*given)

    monkeypatch.setattr(imports, "commit_new_media", after_a_rival)
    take(store, path)
    assert vectors(store) == WHOLE
    assert vectors(store, "sounds@1") == [("ann", 0, SECOND, 7), ("ann", SECOND, 2 * SECOND, 8)]
    assert sorted(row["name"] for row in read_table(store, "media").to_pylist()) == ["ann", "bob"]
    assert verify_store(store).findings == ()


def test_what_was_forgotten_does_not_come_back(store: Store, path: Path) -> None:
    take(store, path)
    erase(store, plan_erasure(store, [imported_id("ann")]), "run")
    for _ in range(2):
        assert take(store, path).skipped == ("ann: forgotten",)
        assert vectors(store) == WHOLE[2:]
        assert list(rows_of_forgotten(store)) == []
    assert verify_store(store).findings == ()
    take(store, path, name="sounds")
    assert vectors(store, "sounds@1") == WHOLE[2:]
    with pytest.raises(ConfigError, match=r"none of the 1 vectors .* are of media that are left out \(ann: forgotten"):
        take(store, path, "media,order,x\nann,0,1\n")
