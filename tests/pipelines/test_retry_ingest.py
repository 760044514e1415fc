"""Ingest tried again: a failed source gets a new batch an attempt, whatever dies in between."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from features.store import Store, read_table
from features.store.failures import Wanted, open_letters
from features.store.plan import read_plan, unfinished_batches
from flows import retry, stages
from pipelines import ingest
from pipelines.options import ExtractConfig, RetryConfig
from pipelines.runners import pipeline_options
from tests.pipelines.clips import make_clip
from tests.pipelines.retrying import CONFIG, again, attempts, media_named
from tests.pipelines.running import config, ingest_here

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pipelines.clips import Clips


def statuses(store: Store) -> set[tuple[str, str]]:
    return {(Path(row["uri"]).name, row["status"]) for row in read_table(store, "source_results").to_pylist()}


@pytest.fixture
def torn(copied: Callable[..., Clips], tmp_path: Path) -> tuple[Store, Clips]:
    """A store of a silent clip and a torn one."""
    here = copied("silent.mp4", "torn.mp4")
    return ingest_here(tmp_path / "store", config([here.folder]))[0], here


def test_a_source_that_fails_for_good_has_three_attempts(torn: tuple[Store, Clips]) -> None:
    store, here = torn
    told = [again(store) for _ in range(4)]
    assert attempts(store, "ingest") == [("torn.mp4", 1, False), ("torn.mp4", 2, False), ("torn.mp4", 3, True)]
    assert told == [(), (), *([("1 letter had 3 attempts: --max-attempts 4",)] * 2)]
    assert len(store.batches("media")) == 3
    tried = [(s.attempt, s.uri) for batch in read_plan(store, store.batches("sources")) for s in batch.sources]
    assert sorted(count for count, uri in tried if uri == str(here.path("torn.mp4"))) == [1, 2, 3]
    ingest_here(store.path, config([here.folder]))
    assert len(store.batches("sources")) == 3, "the nightly run does not open it again"


def test_a_source_that_was_mended_comes_in_and_goes_on(torn: tuple[Store, Clips]) -> None:
    store, here = torn
    make_clip(here.path("torn.mp4"), grey=150, hertz=700)
    assert again(store) == ()
    assert attempts(store, "ingest") == [("torn.mp4", 1, False)]
    assert ("torn.mp4", "done") in statuses(store)
    assert media_named(store, "torn.mp4") in read_table(store, "frames")["media_id"].to_pylist()
    (owed,) = stages.plan_extract(ExtractConfig(), store, [["mfcc"]], "run")
    assert set(owed.batch_ids) == store.batches("media"), "extract goes on from there"


def test_new_bytes_that_a_nightly_run_takes_close_the_letter(torn: tuple[Store, Clips]) -> None:
    store, here = torn
    make_clip(here.path("torn.mp4"), grey=150, hertz=700)
    ingest_here(store.path, config([here.folder]))
    assert attempts(store, "ingest") == [("torn.mp4", 1, False)]


def test_a_source_that_is_gone_is_told_and_stays_open(torn: tuple[Store, Clips]) -> None:
    store, here = torn
    here.path("torn.mp4").unlink()
    versions = {table: store.load(table).version() for table in store.tables()}
    (note,) = again(store)
    assert note.startswith("1 source is gone or may not be read: ")
    assert "torn.mp4" in note
    assert attempts(store, "ingest") == [("torn.mp4", 1, True)]
    assert {table: store.load(table).version() for table in store.tables()} == versions


def test_consent_of_the_plan_is_kept(copied: Callable[..., Clips], tmp_path: Path) -> None:
    here = copied("silent.mp4")
    refused = here.path("refused.mp4")
    make_clip(refused, grey=20, hertz=300)
    given = config([here.folder], refuse=("refused.mp4",))
    store, (wave,) = stages.plan_ingest(given, str(tmp_path / "store"), "run")
    refused.write_bytes(refused.read_bytes() + b"more")  # fails, for it is not what was planned
    ingest.run(given, wave, pipeline_options(given))
    assert attempts(store, "ingest") == [("refused.mp4", 1, True)]
    again(store)
    rows = {row["name"]: row["consent"] for row in read_table(store, "media").to_pylist()}
    assert rows == {"silent.mp4": "unstated", "refused.mp4": "refused"}
    assert media_named(store, "refused.mp4") not in read_table(store, "frames")["media_id"].to_pylist()


def test_two_retries_plan_an_attempt_once(torn: tuple[Store, Clips]) -> None:
    store, _ = torn
    due = [retry.due_letters(store, Wanted(), 3) for _ in range(2)]
    plans = [list(retry.plan_ingest_again(CONFIG, store, one, f"run{n}")[0]()) for n, one in enumerate(due)]
    assert [wave.batch_ids for wave in plans[0]] == [wave.batch_ids for wave in plans[1]]
    for (wave,) in plans:
        ingest.run(CONFIG, wave, pipeline_options(CONFIG))  # type: ignore[arg-type]
    plan, _ = retry.plan_ingest_again(CONFIG, store, due[1], "late")
    assert list(plan()) == []
    assert attempts(store, "ingest") == [("torn.mp4", 1, False), ("torn.mp4", 2, True)]


@pytest.mark.parametrize("num_commits", [0, 1, 5, 6, 7])
def test_an_ingest_retry_that_dies_between_commits_counts_once(torn: tuple[Store, Clips], num_commits: int) -> None:
    store, _ = torn
    due = retry.due_letters(store, Wanted(), 3)
    plan, _ = retry.plan_ingest_again(CONFIG, store, due, "killed")
    (wave,) = plan()
    (batch,) = read_plan(store, wave.batch_ids)
    lineage = ingest.lineage_of(store, CONFIG, wave)
    commits = ingest.commit_wave(wave, lineage, list(ingest.ingest_batch(store, batch, lineage)))
    made = [commit.table for _ in range(num_commits) if (commit := next(commits, None)) is not None]
    commits.close()
    assert made == ["failures", *ingest.TABLES[:4], "failures", "media"][:num_commits]
    again(store, RetryConfig(runner="in-process", max_attempts=2))
    assert attempts(store, "ingest") == [("torn.mp4", 1, False), ("torn.mp4", 2, True)]
    assert unfinished_batches(store) == ()
    assert len(store.batches("sources")) == 2


def test_a_mended_ingest_that_dies_before_its_end_is_finished(torn: tuple[Store, Clips]) -> None:
    """The letter is closed by then; the batch is not whole yet."""
    store, here = torn
    make_clip(here.path("torn.mp4"), grey=150, hertz=700)
    plan, _ = retry.plan_ingest_again(CONFIG, store, retry.due_letters(store, Wanted(), 3), "killed")
    (wave,) = plan()
    (batch,) = read_plan(store, wave.batch_ids)
    lineage = ingest.lineage_of(store, CONFIG, wave)
    commits = ingest.commit_wave(wave, lineage, list(ingest.ingest_batch(store, batch, lineage)))
    while next(commits).table != "failures":
        pass
    commits.close()
    assert open_letters(store) == ()
    again(store, stage="extract")
    assert unfinished_batches(store) == (batch.batch_id,), "not asked for"
    again(store)
    assert ("torn.mp4", "done") in statuses(store)
    assert media_named(store, "torn.mp4") in read_table(store, "frames")["media_id"].to_pylist()


def test_a_text_that_could_not_be_read_says_what_to_do(copied: Callable[..., Clips], tmp_path: Path) -> None:
    here = copied("noted.mp4")
    (here.folder / "noted.srt").write_bytes(b"\x00\xff\xfe nothing")
    store, _ = ingest_here(tmp_path / "store", config([here.folder]))
    assert len(open_letters(store)) == 1
    (note,) = again(store)
    assert "subtitle track" in note
    assert attempts(store, "ingest") == [("noted.srt", 1, True)]
