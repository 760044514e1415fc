"""Erasure: nothing is left but the tombstone, all else is as it was, whatever breaks off and whoever races."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from features.identity import media_id_of_file
from features.privacy import erasure
from features.privacy.erasure import complete_erasure, erase, plan_erasure, rows_of_forgotten
from features.store import Store, commit_files, read_table
from features.store import commit as commit_module
from features.store.index import media_index
from features.store.leases import Leases
from features.store.lineage import read_lineage
from features.store.read import read_committed
from features.store.verify import verify_store
from tests.pipelines.running import config, extract_here, ingest_here
from tests.privacy.traces import files_with
from tests.store.making import frames, put, write
from tests.store.rivals import race

NAME = "person_03.mp4"
WORDS = ("person_03", "zz_copy")  # the copy is the same media


def media_id_of(videos: Path, name: str = NAME) -> str:
    return media_id_of_file(videos / name)


def forget(store: Store, *media_ids: str) -> erasure.Erased:
    return erase(store, plan_erasure(store, media_ids), "run")


def forget_at(root: str, media_id: str) -> None:
    forget(Store.open(root), media_id)


def all_rows(store: Store) -> dict[str, list[str]]:
    """Every row of every table but tombstones, as text."""
    tables = [table for table in store.tables() if table != "tombstones"]
    return {table: sorted(map(repr, read_committed(store, table).to_pylist())) for table in tables}


def without(rows: dict[str, list[str]], words: tuple[str, ...]) -> dict[str, list[str]]:
    return {table: [row for row in of if not any(word in row for word in words)] for table, of in rows.items()}


def check_gone(store: Store, media_id: str, before: dict[str, list[str]]) -> None:
    """Nothing tells of the media but its tombstone, and nothing else has changed."""
    words = (media_id, *WORDS)
    assert files_with(store, words) == set()
    assert files_with(store, words, tombstones=True) != set()
    assert all_rows(store) == without(before, words)
    assert list(rows_of_forgotten(store)) == []
    assert verify_store(store).findings == ()


def test_nothing_is_left_but_the_tombstone(store: Store, videos: Path) -> None:
    media_id, before = media_id_of(videos), all_rows(store)
    assert len(files_with(store, (media_id, *WORDS))) > 10
    batches = {table: store.batches(table) for table in store.tables()}
    plan = plan_erasure(store, [media_id])
    assert [(m.name, m.media_id) for m in plan.media] == [(NAME, media_id)]
    erased = erase(store, plan, "run")
    assert erased.rows == plan.rows
    assert erased.report
    assert {table: store.batches(table) for table in batches} == batches  # an empty batch is still done
    check_gone(store, media_id, before)


def test_the_report_names_it_before_and_the_log_never(store: Store, videos: Path) -> None:
    held = files_with(store, (media_id_of(videos), *WORDS))
    assert "report.html" in held
    assert not any("_delta_log" in path for path in held)


def test_all_media_of_a_batch(store: Store, videos: Path) -> None:
    (batch_id, *_) = sorted(store.batches("media"))
    media_ids = read_table(store, "media", batch_ids=[batch_id])["media_id"].to_pylist()
    forget(store, *media_ids)
    assert batch_id in store.batches("media")
    assert read_table(store, "media", batch_ids=[batch_id]).num_rows == 0
    assert files_with(store, media_ids) == set()
    assert extract_here(store, "mfcc") == []


def test_lineage_is_carried(store: Store, videos: Path) -> None:
    media_id = media_id_of(videos)
    batch_id = media_index(store).batch_of(media_id)
    forget(store, media_id)
    for table in ("frames", "features/mfcc@1", "sources"):
        (path,) = [row["path"] for row in store.files(table).to_pylist() if row["batch_id"] == batch_id]
        stages = [one.stage for one in read_lineage(store.table_path(table) / path)]
        assert stages[-1] == "forget"
        assert len(stages) == 2


def test_a_second_time_does_nothing(store: Store, videos: Path) -> None:
    media_id = media_id_of(videos)
    forget(store, media_id)
    versions = store.versions(store.tables())
    assert complete_erasure(store, "again") == erasure.Erased()
    assert forget(store, media_id).rows == {}
    assert store.versions(store.tables()) == versions


@pytest.mark.parametrize("anew", [False, True])
@pytest.mark.parametrize("step", [0, 4, "media", "doomed", "index"])
def test_what_broke_off_is_completed(
    step: int | str, anew: bool, store: Store, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the tombstone, between any two tables, before or after the sweep; by the next run, or asked for again."""
    media_id, before = media_id_of(videos), all_rows(store)
    calls = 0

    def broken(*args: Any, **more: Any) -> Any:
        raise KeyboardInterrupt

    def erase_some(store: Store, table: str, *args: Any) -> int:
        nonlocal calls
        if step in (calls, table):
            raise KeyboardInterrupt
        calls += 1
        return real(store, table, *args)

    real = erasure.erase_rows
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "erase_rows", erase_some)
        if step == "doomed":
            patched.setattr(erasure, "_doomed", broken)
        if step == "index":
            patched.setattr(erasure, "forget_index", broken)
        with pytest.raises(KeyboardInterrupt):
            forget(store, media_id)
    if anew:
        forget(store, media_id)
    complete_erasure(store, "again")
    check_gone(store, media_id, before)


@pytest.mark.slow
def test_killed_again_and_again(store: Store, videos: Path) -> None:
    media_id, before = media_id_of(videos), all_rows(store)
    command = [sys.executable, "-m", "flows.cli", "--store", store.root, "forget", "--media", media_id, "--yes"]
    killed, wait = 0, 0.9
    while True:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2])
        try:
            child.communicate(timeout=wait)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.communicate()
            killed, wait = killed + 1, wait + 0.15
            continue
        assert child.returncode == 0
        break
    assert killed
    shutil.rmtree(store.path / ".index", ignore_errors=True)
    check_gone(store, media_id, before)


@pytest.mark.slow
def test_two_at_once(store: Store, videos: Path) -> None:
    one, other = media_id_of(videos), media_id_of(videos, "person_04.mp4")
    before = all_rows(store)
    race(forget_at, [(store.root, one), (store.root, one), (store.root, other)])
    assert files_with(store, (one, other, *WORDS, "person_04")) == set()
    assert all_rows(store) == without(before, (one, other, *WORDS, "person_04"))


def test_ingest_does_not_open_it_again(store: Store, made: Path, videos: Path) -> None:
    forget(store, media_id_of(videos))
    before = all_rows(store)
    _, done = ingest_here(store.root, config([videos], batch_sources=5))
    assert done == []
    assert all_rows(store) == before


def test_the_same_bytes_elsewhere_stay_forgotten(store: Store, videos: Path, tmp_path: Path) -> None:
    """They are opened once, known, and leave no trace of where they lie; the next run does not open them."""
    media_id = media_id_of(videos)
    forget(store, media_id)
    before = all_rows(store)
    (tmp_path / "moved").mkdir()
    shutil.copyfile(videos / NAME, tmp_path / "moved" / "elsewhere.mp4")
    given = config([tmp_path / "moved"])
    _, (done,) = ingest_here(store.root, given)
    assert (done.rows["media"], done.rows["frames"], done.num_failures) == (0, 0, 0)
    assert files_with(store, (media_id, *WORDS, "elsewhere")) == set()
    (row,) = [r for r in read_table(store, "source_results").to_pylist() if r["status"] == "forgotten"]
    assert row["media_id"] is None
    assert {table: rows for table, rows in all_rows(store).items() if table != "source_results"} == {
        table: rows for table, rows in before.items() if table != "source_results"
    }
    assert ingest_here(store.root, given)[1] == []
    assert verify_store(store).findings == ()


def test_new_bytes_in_its_place_are_a_new_media(store: Store, videos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "videos"
    shutil.copytree(videos, folder)
    ingest_here(store.root, config([folder / NAME]))  # the same bytes in a second place
    forget(store, media_id_of(videos))
    shutil.copyfile(videos / "person_05.mp4", folder / NAME)
    with (folder / NAME).open("ab") as file:
        file.write(b"\0" * 8)
    ingest_here(store.root, config([folder / NAME]))
    uris = read_table(store, "media")["uri"].to_pylist()
    assert str(folder / NAME) in uris
    complete_erasure(store, "again")
    assert read_table(store, "media")["uri"].to_pylist() == uris
    assert str(folder / NAME) in read_table(store, "sources")["uri"].to_pylist()


def test_a_run_that_read_it_before_does_not_bring_it_back(store: Store, videos: Path) -> None:
    media_id = media_id_of(videos)
    batch_id = media_index(store).batch_of(media_id) or ""
    given = frames(media_id, 2) + frames("other", 3)
    early = write(store, "frames", "b9", given)
    mine = write(store, "features/mfcc@1", batch_id, [{"media_id": media_id, "values": [1.0]}])
    with Leases(store, "rival") as leases:
        leases.take(["ingest.b9", f"extract-mfcc@1.{batch_id}"])
        waiting = forget(store, media_id).waiting
    assert {f"{file.table}/{file.path}" for file in (early, mine)} <= set(waiting)
    assert commit_files(store, "frames", [early], stage="ingest").num_rows == 3
    assert commit_files(store, "features/mfcc@1", [mine], stage="late").num_rows == 0
    assert complete_erasure(store, "again").waiting == ()
    assert files_with(store, [media_id]) == set()
    assert len(read_committed(store, "frames", batch_ids=["b9"])) == 3


def test_one_that_commits_at_the_same_moment_cleans_up(
    store: Store, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tombstone comes after the rival's look and before its commit."""
    media_id = media_id_of(videos)
    early = write(store, "frames", "b9", frames(media_id, 2) + frames("other", 3))
    real, done = commit_module._commit_once, []

    def late(*args: Any) -> None:
        if args[1] == "frames" and not done:
            done.append(True)
            plan = plan_erasure(store, [media_id])
            erasure.add_tombstones(store, plan.places, "run")
        real(*args)

    monkeypatch.setattr(commit_module, "_commit_once", late)
    commit_files(store, "frames", [early], stage="ingest")
    assert len(read_committed(store, "frames", batch_ids=["b9"])) == 3
    complete_erasure(store, "run")
    assert files_with(store, [media_id]) == set()


def test_what_killed_runs_left_goes_too(store: Store, videos: Path) -> None:
    media_id = media_id_of(videos)
    batch_id = media_index(store).batch_of(media_id) or ""
    orphan = write(store, "frames", batch_id, frames(media_id, 2))
    never_begun = write(store, "features/made@1", "b9", [{"media_id": media_id, "values": [1.0]}])
    clean = write(store, "frames", batch_id, frames("other", 2))
    torn = store.table_path("audio") / f"batch_id={batch_id}" / f"part-00000-{'0' * 32}.parquet"
    torn.write_bytes(b"PAR1" + media_id.encode())
    forget(store, media_id)
    assert not any((store.path / f.table / f.path).exists() for f in (orphan, never_begun))
    assert not torn.exists()
    assert (store.path / clean.table / clean.path).exists()


def test_rows_of_forgotten_are_found(store: Store, videos: Path) -> None:
    media_id = media_id_of(videos)
    assert list(rows_of_forgotten(store)) == []
    erasure.add_tombstones(store, plan_erasure(store, [media_id]).places, "run")
    found = {(trace.table, trace.live) for trace in rows_of_forgotten(store)}
    assert {("frames", True), ("media", True), ("sources", True), ("labels/mood", True)} <= found
    complete_erasure(store, "run")
    assert list(rows_of_forgotten(store)) == []


def test_half_committed_batches_are_looked_through(store: Store, videos: Path) -> None:
    media_id = media_id_of(videos)
    put(store, "sources", "b9", [{"uri": "/v/half.mp4", "size_bytes": 1, "mtime_us": 1}])
    put(store, "frames", "b9", frames(media_id, 2), stage="ingest")
    forget(store, media_id)
    assert files_with(store, [media_id]) == set()
