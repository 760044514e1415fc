"""Extract tried again: what failed is done once an attempt, whatever dies in between, and nothing else is touched."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pytest

from features.errors import ExtractionError
from features.extractors import registry
from features.extractors.engine import extract_media
from features.extractors.registry import get_extractor
from features.store import FileRecord, Store, read_table
from features.store.failures import Wanted
from flows import retry, stages
from pipelines import extract
from pipelines.options import RetryConfig
from tests.pipelines.extractors import Brittle, Hearing, Sizes
from tests.pipelines.retrying import CONFIG, again, attempts, coverage, media_named
from tests.pipelines.running import config, extract_here, ingest_here, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pipelines.waves import Wave
    from tests.pipelines.clips import Clips

_NAMES = ("sizes", "brittle", "hearing", "letters")


@pytest.fixture(autouse=True)
def light_extractors(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = dict(registry._entries())
    for name in _NAMES:
        entries[name] = EntryPoint(name, f"tests.pipelines.extractors:{name.capitalize()}", registry.GROUP)
    monkeypatch.setattr(registry, "_entries", lambda: entries)
    monkeypatch.setattr(stages, "recognisers", lambda: ("hearing",))


@pytest.fixture
def mend(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Takes away what `brittle` fails of."""
    return lambda: monkeypatch.setattr(Brittle, "__call__", Sizes.__call__)


@pytest.fixture
def together(clips: Clips, tmp_path: Path) -> Store:
    """All clips in one batch."""
    return ingest_here(tmp_path / "together", config([clips.folder]))[0]


def files_by_batch(store: Store, table: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in store.files(table).to_pylist():
        found.setdefault(row["batch_id"], []).append(row["path"])
    return found


def test_what_is_mended_leaves_rows_as_if_it_had_never_failed(ingested: Store, mend: Callable[[], None]) -> None:
    extract_here(ingested, "brittle", "sizes")
    before = files_by_batch(ingested, "features/brittle@1")
    mend()
    assert again(ingested) == ()
    names = ("features/brittle@1", "coverage/brittle@1", "features/sizes@1", "coverage/sizes@1")
    rows = rows_of(ingested, names)
    assert rows[names[0]] == rows[names[2]]
    assert rows[names[1]] == rows[names[3]]
    table, sizes = (read_table(ingested, name) for name in names[::2])
    assert table.equals(sizes), "in the same order, too"
    assert attempts(ingested, "extract:brittle@1") == [("noted.mp4", 1, False)]
    after = files_by_batch(ingested, "features/brittle@1")
    assert sum(after[batch_id] != before[batch_id] for batch_id in before) == 1, "other batches are not touched"


def test_other_media_of_the_batch_are_not_done_again(
    together: Store, mend: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    extract_here(together, "brittle")
    noted = media_named(together, "noted.mp4")
    before = [row for row in read_table(together, "features/brittle@1").to_pylist() if row["media_id"] != noted]
    mend()
    done: list[str] = []
    prepare = Sizes.prepare
    monkeypatch.setattr(Sizes, "prepare", lambda self, rows: done.append(rows.media_id) or prepare(self, rows))
    again(together)
    assert done == [noted]
    assert [row for row in read_table(together, "features/brittle@1").to_pylist() if row["media_id"] != noted] == before


def test_what_fails_for_good_has_three_attempts(ingested: Store) -> None:
    extract_here(ingested, "brittle")
    told = [again(ingested, stage="extract") for _ in range(4)]
    assert attempts(ingested, "extract:brittle@1") == [
        ("noted.mp4", 1, False),
        ("noted.mp4", 2, False),
        ("noted.mp4", 3, True),
    ]
    assert told == [(), (), *([("1 letter had 3 attempts: --max-attempts 4",)] * 2)]
    again(ingested, RetryConfig(runner="in-process", max_attempts=4), stage="extract")
    assert attempts(ingested, "extract:brittle@1")[-1] == ("noted.mp4", 4, True)
    assert set(coverage(ingested, "brittle@1").values()) == {"ok", "partial"}


def test_only_the_media_that_is_named_has_an_attempt(together: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two media of one batch fail; each is done again by itself, and the other keeps its letter."""

    def broken(self: Sizes, model: Any, items: Sequence[Any]) -> Sequence[Any]:
        if any(size == 0 or start_us for start_us, _, size in items):
            message = "a second picture"
            raise ExtractionError(message)
        return Sizes.__call__(self, model, items)

    monkeypatch.setattr(Brittle, "__call__", broken)
    extract_here(together, "brittle")
    again(together, stage="extract", media=media_named(together, "silent.mp4"))
    tried = {(name, count) for name, count, is_open in attempts(together, "extract:brittle@1") if is_open}
    assert tried == {("copy.mp4", 1), ("noted.mp4", 1), ("silent.mp4", 2), ("wordless.mp4", 1)}
    monkeypatch.setattr(Brittle, "__call__", Sizes.__call__)
    again(together, stage="extract", media=media_named(together, "noted.mp4"))
    assert {name for name, _, is_open in attempts(together, "extract:brittle@1") if is_open} == {
        *("copy.mp4", "silent.mp4", "wordless.mp4")
    }
    assert coverage(together, "brittle@1")["noted.mp4"] == "ok"
    again(together, stage="extract")
    assert set(coverage(together, "brittle@1").values()) == {"ok"}


def files_of(store: Store, wave: Wave) -> list[FileRecord]:
    """What the job's workers write, by the pure functions."""
    (name,) = wave.targets
    extractor = get_extractor(name)
    lineage = extract.lineage_of(store, extractor.spec, wave)
    files = []
    for batch_id in wave.batch_ids:
        (batch,) = extract.read_batches((batch_id, (name,)), wave, {name: lineage})
        found = extract_media(extractor, extractor.load("cpu"), batch.medias, batch_size=None)
        files += extract.write_batch(extract.BatchOutput(batch_id, name, tuple(found)), wave, lineage)
    return files


def planned(store: Store, run_id: str, **wanted: str) -> Wave:
    due = retry.due_letters(store, Wanted(stage="extract", **wanted), 3)
    (wave,) = retry.plan_extract_again(CONFIG, store, due.again, run_id)
    return wave


@pytest.mark.parametrize("mended", [True, False])
@pytest.mark.parametrize("num_commits", [0, 1, 2, 3])
def test_a_retry_that_dies_between_commits_counts_once(
    together: Store, mend: Callable[[], None], num_commits: int, mended: bool
) -> None:
    extract_here(together, "brittle")
    if mended:
        mend()
    wave = planned(together, "killed")
    commits = extract.commit_wave(wave, files_of(together, wave))
    made = [next(commits).table for _ in range(num_commits)]
    commits.close()
    assert made == ["features/brittle@1", "coverage/brittle@1", "failures"][:num_commits]
    again(together, RetryConfig(runner="in-process", max_attempts=2), stage="extract")
    letters = [("noted.mp4", 1, False)] if mended else [("noted.mp4", 1, False), ("noted.mp4", 2, True)]
    assert attempts(together, "extract:brittle@1") == letters
    assert coverage(together, "brittle@1")["noted.mp4"] == ("ok" if mended else "partial")
    versions = {table: together.load(table).version() for table in together.tables()}
    again(together, RetryConfig(runner="in-process", max_attempts=2), stage="extract")
    assert {table: together.load(table).version() for table in together.tables()} == versions
    if mended:
        extract_here(together, "sizes")
        assert read_table(together, "features/brittle@1").equals(read_table(together, "features/sizes@1"))


def test_a_wave_that_is_tried_again_after_its_death_goes_on(together: Store, mend: Callable[[], None]) -> None:
    """The supervisor runs the same wave anew: its rows are in, and its coverage follows."""
    extract_here(together, "brittle")
    mend()
    wave = planned(together, "run")
    commits = extract.commit_wave(wave, files_of(together, wave))
    next(commits)
    commits.close()
    list(extract.commit_wave(wave, files_of(together, wave)))
    assert coverage(together, "brittle@1")["noted.mp4"] == "ok"
    assert attempts(together, "extract:brittle@1") == [("noted.mp4", 1, False)]


@pytest.mark.parametrize("order", ["aabbab", "abbaab", "abaabb", "aaabbb", "babaab"])
def test_rivals_with_other_media_do_not_mix(together: Store, monkeypatch: pytest.MonkeyPatch, order: str) -> None:
    """Two retries of one batch and generation, of a media each, commit in turns: what one says of a media holds.

    The loser's media keeps its letter, and is done by the next retry.
    """

    def broken(self: Sizes, model: Any, items: Sequence[Any]) -> Sequence[Any]:
        del self, model, items
        message = "not today"
        raise ExtractionError(message)

    monkeypatch.setattr(Brittle, "__call__", broken)
    extract_here(together, "brittle")
    monkeypatch.setattr(Brittle, "__call__", Sizes.__call__)
    waves = {
        run: planned(together, run, media=media_named(together, name))
        for run, name in (("a", "noted.mp4"), ("b", "silent.mp4"))
    }
    assert waves["a"].generation == waves["b"].generation == 2
    rivals = {run: extract.commit_wave(wave, files_of(together, wave)) for run, wave in waves.items()}
    for run in order:
        next(rivals[run], None)
    for run in "ab":
        list(rivals[run])
    found = coverage(together, "brittle@1")
    names = {row["media_id"]: row["name"] for row in read_table(together, "media").to_pylist()}
    with_rows = {names[row["media_id"]] for row in read_table(together, "features/brittle@1").to_pylist()}
    assert {name for name, status in found.items() if status == "ok"} == with_rows
    assert len(with_rows) == 1
    still = {name for name, _, is_open in attempts(together, "extract:brittle@1") if is_open}
    assert still == {name for name, status in found.items() if status == "failed"}
    again(together, stage="extract")
    assert set(coverage(together, "brittle@1").values()) == {"ok"}
    extract_here(together, "sizes")
    assert read_table(together, "features/brittle@1").equals(read_table(together, "features/sizes@1"))


def test_text_that_is_heard_at_last_is_read_by_the_text_extractors(
    ingested: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = Hearing.prepare

    def deaf(self: Hearing, rows: Any) -> Any:
        if rows.media_id == wordless:
            message = "noise"
            raise ExtractionError(message)
        return prepare(self, rows)

    wordless = media_named(ingested, "wordless.mp4")
    monkeypatch.setattr(Hearing, "prepare", deaf)
    extract_here(ingested, "letters")
    assert coverage(ingested, "letters@1")["wordless.mp4"] in ("absent", "empty")
    monkeypatch.setattr(Hearing, "prepare", prepare)
    others = [row for row in read_table(ingested, "features/letters@1").to_pylist() if row["media_id"] != wordless]
    again(ingested, stage="extract")
    assert coverage(ingested, "letters@1")["wordless.mp4"] == "ok"
    rows = read_table(ingested, "features/letters@1").to_pylist()
    assert [row for row in rows if row["media_id"] != wordless] == others
    assert len(rows) > len(others)
    versions = {table: ingested.load(table).version() for table in ingested.tables()}
    again(ingested, stage="extract")
    assert {table: ingested.load(table).version() for table in ingested.tables()} == versions


def test_letters_of_an_extractor_that_is_gone_are_told(ingested: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    extract_here(ingested, "brittle")
    entries = {name: entry for name, entry in registry._entries().items() if name != "brittle"}
    monkeypatch.setattr(registry, "_entries", lambda: entries)
    (note,) = again(ingested, stage="extract")
    assert note.startswith("extract:brittle@1 cannot run here: ")
    assert attempts(ingested, "extract:brittle@1") == [("noted.mp4", 1, True)]
