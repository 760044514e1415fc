"""Media that were refused as they came in and are granted later: decoded into their batch, once, whatever dies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from features.privacy.consent_policy import read_policy
from features.store import Store, read_table
from features.store.failures import open_letters
from features.store.lineage import Lineage
from features.store.verify import verify_store
from flows.consenting import late_planner
from pipelines import late
from pipelines.consented import apply_consent
from pipelines.ingest_source import limits_of
from pipelines.options import decode_config
from pipelines.runners import pipeline_options
from tests.pipelines.clips import Clips, make_clips
from tests.pipelines.running import config, extract_here, ingest_here, rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from pipelines.waves import Wave

REFUSE = '[[rules]]\nsource = "noted*"\nrefuse = ["all"]\n[[rules]]\nsource = "talk*"\nrefuse = ["all"]\n'
TABLES = ("media", "frames", "audio", "transcripts", "features/mfcc@1", "coverage/mfcc@1")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return make_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture
def store(clips: Clips, tmp_path: Path) -> Store:
    """`noted` and `talk` (of which `copy` is one) came in without content, and are granted now."""
    store = Store.create(tmp_path / "store")
    set_policy(store, REFUSE + '[[rules]]\nsource = "copy*"\nrefuse = ["all"]')
    ingest_here(store.root, config([clips.folder]))
    extract_here(store, "mfcc")
    set_policy(store, "")
    apply_consent(store, read_policy(store.path / "consent.toml"), "run")
    return store


@pytest.fixture(scope="module")
def never_refused(clips: Clips, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    store, _ = ingest_here(tmp_path_factory.mktemp("other") / "store", config([clips.folder]))
    extract_here(store, "mfcc")
    return sorted_rows(store)


def set_policy(store: Store, text: str) -> None:
    (store.path / "consent.toml").write_text(text)


def sorted_rows(store: Store) -> dict[str, list[dict[str, Any]]]:
    return {table: sorted(rows, key=json_of) for table, rows in rows_of(store, TABLES).items()}


def json_of(row: dict[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=repr)


def waves_of(store: Store) -> list[Wave]:
    return list(late_planner(config([]), store, "late")())


def run_waves(store: Store) -> int:
    given, waves = config([]), waves_of(store)
    for wave in waves:
        late.run(given, wave, pipeline_options(given))
    return len(waves)


def test_late_media_end_as_if_nobody_had_refused(store: Store, never_refused: dict[str, list[dict[str, Any]]]) -> None:
    assert len(sorted_rows(store)["frames"]) < len(never_refused["frames"])
    assert run_waves(store) == 1
    extract_here(store, "mfcc")  # it passes over what it passed over before: that is another plan's business
    extract_again(store)
    assert sorted_rows(store) == never_refused
    assert run_waves(store) == 0
    assert verify_store(store).findings == ()


def extract_again(store: Store) -> None:
    from flows.consenting import extract_planner
    from pipelines import extract
    from pipelines.options import ExtractConfig

    given = ExtractConfig(extractors=("mfcc",), runner="in-process")
    for wave in extract_planner(given, store, [["mfcc"]], "again")():
        extract.run(given, wave, pipeline_options(given))


def test_killed_after_any_commit_it_adds_nothing_twice(
    store: Store, never_refused: dict[str, list[dict[str, Any]]]
) -> None:
    (wave,) = waves_of(store)
    pairs = [(wave.batch_ids[0], media_id) for media_id in wave.media_ids]
    for stop in range(4):  # dies after so many commits, each time with files of its own
        done = [late.decode_late(pair, wave, limits_of(config([])), decode_config(config([]))) for pair in pairs]
        commits = late.commit_wave(wave, done)
        for _ in range(stop):
            next(commits, None)
        commits.close()
    run_waves(store)
    rows = sorted_rows(store)
    assert {table: rows[table] for table in TABLES[:4]} == {table: never_refused[table] for table in TABLES[:4]}


def test_who_is_refused_again_meanwhile_or_has_no_bytes_is_not_decoded(
    store: Store, clips: Clips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_policy(store, REFUSE.partition('[[rules]]\nsource = "talk')[0])
    apply_consent(store, read_policy(store.path / "consent.toml"), "run")
    (wave,) = waves_of(store)
    assert len(wave.media_ids) == 1
    monkeypatch.setattr(late, "media_id_of", lambda _: "others")
    run_waves(store)
    (letter,) = [one for one in open_letters(store) if one.media_id == wave.media_ids[0]]
    assert (letter.stage, letter.error) == ("ingest", "MediaError")
    assert "has other bytes now" in letter.message
    assert waves_of(store) == []


def test_what_was_stated_about_a_media_stays(store: Store) -> None:
    from features.privacy.consent_changes import rewrite_media

    (wave,) = waves_of(store)
    subjects = {media_id: [f"s-{media_id[:4]}"] for media_id in wave.media_ids}

    def state(rows: Any) -> Any:
        told = [{**row, "subject_ids": subjects.get(row["media_id"], [])} for row in rows.to_pylist()]
        return type(rows).from_pylist(told, schema=rows.schema)

    rewrite_media(store, {wave.batch_ids[0]: state}, Lineage("run", "test"))
    run_waves(store)
    rows = {row["media_id"]: row for row in read_table(store, "media").to_pylist()}
    for media_id, people in subjects.items():
        assert (rows[media_id]["subject_ids"], rows[media_id]["consent"]) == (people, "unstated")
        assert rows[media_id]["duration_us"] > 0
