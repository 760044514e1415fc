"""Extract: coverage, dead letters, what waits for what, and that the job is the pure functions."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING

import pytest

from features.errors import StoreError
from features.extractors import registry
from features.extractors.engine import extract_media
from features.extractors.registry import get_extractor
from features.store import Store, read_table
from flows import stages
from pipelines import extract
from pipelines.extract import BatchOutput, commit_wave, lineage_of, read_batches, write_batch
from pipelines.options import ExtractConfig
from pipelines.runners import pipeline_options
from pipelines.supervise import run_wave
from pipelines.waves import Wave
from tests.pipelines.extractors import Letters, Model, Sizes
from tests.pipelines.running import config, extract_here, ingest_here, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.pipelines.clips import Clips

_NAMES = ("sizes", "brittle", "fragile", "hearing", "deaf", "letters")


@pytest.fixture(autouse=True)
def light_extractors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours beside the built-in ones; `hearing` is the recogniser that text extractors wait for."""
    entries = dict(registry._entries())
    for name in _NAMES:
        entries[name] = EntryPoint(name, f"tests.pipelines.extractors:{name.capitalize()}", registry.GROUP)
    monkeypatch.setattr(registry, "_entries", lambda: entries)
    monkeypatch.setattr(stages, "recognisers", lambda: ("hearing",))


def coverage(store: Store, key: str) -> dict[str, tuple[str, int]]:
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    rows = read_table(store, f"coverage/{key}").to_pylist()
    return {names[row["media_id"]]: (row["status"], row["num_rows"]) for row in rows}


def letters_of(store: Store, stage: str) -> list[dict[str, object]]:
    return [row for row in read_table(store, "failures").to_pylist() if row["stage"] == stage]


def test_coverage_tells_what_was_found_and_what_is_absent(ingested: Store) -> None:
    extract_here(ingested, "sizes", "hearing", "deaf")
    assert coverage(ingested, "sizes@1") == {
        "copy.mp4": ("ok", 2),
        "noted.mp4": ("ok", 3),
        "silent.mp4": ("ok", 2),
        "wordless.mp4": ("ok", 2),
    }
    heard = {name: status for name, (status, _) in coverage(ingested, "hearing@1").items()}
    assert heard == {"copy.mp4": "ok", "noted.mp4": "ok", "silent.mp4": "absent", "wordless.mp4": "ok"}
    deaf = {name: found for name, found in coverage(ingested, "deaf@1").items() if name != "silent.mp4"}
    assert set(deaf.values()) == {("empty", 0)}
    assert read_table(ingested, "transcripts/deaf@1").num_rows == 0
    assert ingested.batches("transcripts/deaf@1") == ingested.batches("media")


def test_rows_are_those_of_their_media_in_order(ingested: Store) -> None:
    extract_here(ingested, "sizes")
    frames = read_table(ingested, "frames").to_pylist()
    expected = [(row["media_id"], row["t_us"], [float(row["t_us"]), float(len(row["jpeg"]))]) for row in frames]
    rows = read_table(ingested, "features/sizes@1").to_pylist()
    assert [(row["media_id"], row["start_us"], row["values"]) for row in rows] == expected


def test_text_comes_from_the_best_source_there_is(ingested: Store) -> None:
    """Subtitle and sidecar before what a recogniser heard, which serves where there is nothing else."""
    waves = extract_here(ingested, "letters")
    assert [wave.targets for wave in waves] == [("hearing",)] * 2 + [("letters",)] * 2
    names = {row["media_id"]: row["name"] for row in read_table(ingested, "media").to_pylist()}
    sizes = {names[row["media_id"]]: row["values"][1] for row in read_table(ingested, "features/letters@1").to_pylist()}
    said, heard = float(len("what a day")), float(len("hm"))
    assert sizes == {"copy.mp4": said, "noted.mp4": said, "silent.mp4": said, "wordless.mp4": heard}


def test_a_text_extractor_waits_for_the_recogniser(ingested: Store) -> None:
    """Batch by batch: it is owed only where the recogniser is done."""
    given = ExtractConfig(runner="in-process", wave_batches=1)
    owed = list(stages.plan_extract(given, ingested, [["letters"]], "run"))
    assert owed == []
    first, *rest = stages.plan_extract(given, ingested, [["hearing"]], "run")
    extract.run(given, first, pipeline_options(given))
    assert [w.batch_ids for w in stages.plan_extract(given, ingested, [["letters"]], "run")] == [first.batch_ids]
    assert len(rest) == 2


def test_a_broken_item_costs_itself(ingested: Store) -> None:
    extract_here(ingested, "brittle")
    assert coverage(ingested, "brittle@1") == {
        "copy.mp4": ("ok", 2),
        "noted.mp4": ("partial", 2),
        "silent.mp4": ("ok", 2),
        "wordless.mp4": ("ok", 2),
    }
    (letter,) = letters_of(ingested, "extract:brittle@1")
    assert (letter["error"], letter["message"]) == (
        "ExtractionError",
        "1 of 3 frames failed: a third picture; send two",
    )
    assert len(letters_of(ingested, "ingest")) == 1


def test_refused_media_are_skipped(clips: Clips, tmp_path: Path) -> None:
    store, _ = ingest_here(tmp_path / "store", config([clips.folder], refuse=("noted.mp4",)))
    extract_here(store, "sizes")
    assert coverage(store, "sizes@1")["noted.mp4"] == ("skipped", 0)
    assert coverage(store, "sizes@1")["copy.mp4"] == ("ok", 2)


def test_dead_letters_of_two_extractors_in_a_wave_stay_apart(ingested: Store) -> None:
    """Broken off after the first, the second is done again, and neither's letters are doubled."""
    (wave,) = stages.plan_extract(
        ExtractConfig(runner="in-process", wave_batches=9), ingested, [["brittle", "fragile"]], "run"
    )
    commits = commit_wave(wave, files_of(ingested, wave))
    made = [next(commits) for _ in range(3)]
    commits.close()
    assert [(commit.table, commit.num_rows) for commit in made[::2]] == [("failures", 1), ("coverage/brittle@1", 4)]
    list(commit_wave(wave, files_of(ingested, wave)))
    assert len(letters_of(ingested, "extract:brittle@1")) == 1
    assert len(letters_of(ingested, "extract:fragile@1")) == 1


def files_of(store: Store, wave: Wave) -> list[extract.FileRecord]:
    """What the job's workers write, by the pure functions."""
    files = []
    for name in wave.targets:
        extractor = get_extractor(name)
        lineage = lineage_of(store, extractor.spec, wave)
        for batch_id in wave.batch_ids:
            (batch,) = read_batches((batch_id, (name,)), wave, {name: lineage})
            found = extract_media(extractor, extractor.load("cpu"), batch.medias, batch_size=None)
            files += write_batch(BatchOutput(batch_id, name, tuple(found)), wave, lineage)
    return files


def test_the_job_is_the_pure_functions(ingested: Store, clips: Clips, tmp_path: Path) -> None:
    store, _ = ingest_here(tmp_path / "other", config([clips.folder]))
    tables = ("features/brittle@1", "coverage/brittle@1", "transcripts/hearing@1", "coverage/hearing@1", "failures")
    extract_here(ingested, "brittle", "hearing")
    for wave in stages.plan_extract(ExtractConfig(runner="in-process"), store, [["brittle", "hearing"]], "run"):
        list(commit_wave(wave, files_of(store, wave)))
    assert rows_of(store, tables) == rows_of(ingested, tables)


def test_a_second_run_owes_nothing(ingested: Store) -> None:
    (wave,) = extract_here(ingested, "sizes", wave_batches=9)
    assert extract_here(ingested, "sizes") == []
    versions = {table: ingested.load(table).version() for table in ingested.tables()}
    given = ExtractConfig(runner="in-process")
    extract.run(given, wave, pipeline_options(given))
    assert {table: ingested.load(table).version() for table in ingested.tables()} == versions


def test_a_wave_is_done_only_for_the_extractors_that_owe_it(ingested: Store) -> None:
    extract_here(ingested, "sizes")
    version = ingested.load("features/sizes@1").version()
    waves = extract_here(ingested, "sizes", "brittle", wave_batches=9)
    assert [wave.targets for wave in waves] == [("brittle",)]
    assert ingested.load("features/sizes@1").version() == version


def test_a_model_loads_once_a_wave(ingested: Store) -> None:
    before = Model.loaded
    extract_here(ingested, "sizes", wave_batches=9)
    assert Model.loaded == before + 1


def test_features_of_another_spec_are_refused_whole(ingested: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    extract_here(ingested, "sizes")
    waves = [Wave(ingested.root, "extract", tuple(ingested.batches("media")), "run", ("sizes",))]
    monkeypatch.setattr(Sizes, "spec", replace(Sizes.spec, weights_fingerprint="other"))
    versions = {table: ingested.load(table).version() for table in ingested.tables()}
    with pytest.raises(StoreError, match="was made by another 'sizes'"):
        list(commit_wave(waves[0], files_of(ingested, waves[0])))
    assert {table: ingested.load(table).version() for table in ingested.tables()} == versions


def test_new_versions_stand_beside_the_old(ingested: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    extract_here(ingested, "letters")
    monkeypatch.setattr(Letters, "spec", replace(Letters.spec, version=2))
    extract_here(ingested, "letters")
    both = [rows_of(ingested, [f"features/letters@{version}"]) for version in (1, 2)]
    assert list(both[0].values()) == list(both[1].values())


@pytest.mark.slow
def test_runners_give_the_same_features(ingested: Store, clips: Clips, tmp_path: Path) -> None:
    """A real extractor, in one process and in two."""
    tables = ("features/mfcc@1", "coverage/mfcc@1")
    extract_here(ingested, "mfcc")
    store, _ = ingest_here(tmp_path / "other", config([clips.folder], batch_sources=2))
    many = ExtractConfig(runner="multi", workers=2, wave_batches=9)
    for wave in stages.plan_extract(many, store, [["mfcc"]], "run"):
        run_wave(wave, many)
    assert rows_of(store, tables) == rows_of(ingested, tables)
    assert {status for status, _ in coverage(store, "mfcc@1").values()} == {"ok", "absent"}
