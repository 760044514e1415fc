"""Shots and motion through the store: committed where a plan asked, verified, mended, forgotten, shown, and read."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
import pytest

from features.errors import ConfigError
from features.fusion.checkpoint import load_model
from features.fusion.segments import SEGMENTS
from features.predict import options_of, predict, read_given
from features.privacy.erasure import erase, plan_erasure, rows_of_forgotten
from features.reading import open_features
from features.schema import OPTIONAL_TABLES
from features.store import Store, read_table
from features.store.labels import load_labels
from features.store.models import model_folder
from features.store.read import read_committed
from features.store.verify import verify_store
from flows import stages
from flows.cli import main
from flows.training import train_recipe
from pipelines import ingest, score
from pipelines.options import ScoreConfig
from pipelines.runners import pipeline_options
from tests.flows.repairing import mend
from tests.media.generate import SECOND, Shown, Sound, tone, write_media
from tests.media.scenes import film, write_film
from tests.pipelines.running import config, extract_here, ingest_here
from tests.privacy.conftest import RECIPE
from tests.store.damage import file_of, flip, lose
from tests.store.making import put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.waves import Summary

ASKED = {"shots": True, "motion": True}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Summary]:
    """One wave of a film and of sound alone, a batch each, whose plans asked, and of a film whose plan did not."""
    folder = tmp_path_factory.mktemp("shots")
    (folder / "asked").mkdir()
    write_film(folder / "asked" / "film.mp4", film(1, 4))
    write_media(folder / "asked" / "tone.mp4", sounds=[Sound(0, tone(2))])
    write_film(folder / "plain.mp4", film(2, 2))
    asked = config([folder / "asked"], batch_sources=1, **ASKED)
    stages.plan_ingest(asked, str(folder / "store"), "run1")
    plain = config([folder / "plain.mp4"], wave_batches=3)
    store, (wave,) = stages.plan_ingest(plain, str(folder / "store"), "run2")
    return store, ingest.run(plain, wave, pipeline_options(plain))


@pytest.fixture
def store(made: tuple[Store, Summary], tmp_path: Path) -> Store:
    """A copy of it, to be damaged."""
    shutil.copytree(made[0].path, tmp_path / "store")
    return Store.open(str(tmp_path / "store"))


def media_named(store: Store, name: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = read_table(store, "media").to_pylist()
    return next(row for row in rows if row["name"] == name)


def test_a_batch_has_them_where_its_plan_asked(made: tuple[Store, Summary]) -> None:
    store, summary = made
    own, silent = media_named(store, "film.mp4"), media_named(store, "tone.mp4")
    shots, motions = (read_table(store, table).to_pylist() for table in OPTIONAL_TABLES)
    assert [(row["start_us"], row["end_us"], row["begins"]) for row in shots] == [
        (0, 2 * SECOND, "start"),
        (2 * SECOND, 4 * SECOND, "cut"),
    ]
    assert {row["media_id"] for row in [*shots, *motions]} == {own["media_id"]}
    assert motions[0]["num_pairs"] > 0
    for table in OPTIONAL_TABLES:
        assert store.batches(table) == {own["batch_id"], silent["batch_id"]}, "also the one without pictures"
    assert {table: summary.rows[table] for table in OPTIONAL_TABLES} == {
        "shots@1": len(shots),
        "motion@1": len(motions),
    }
    assert verify_store(store).findings == ()


@pytest.mark.parametrize(("name", "damage"), [("tone.mp4", lose), ("film.mp4", lambda *at: flip(file_of(*at)))])
def test_what_is_lost_or_damaged_is_found_and_made_again(
    store: Store, name: str, damage: Callable[[Store, str, str], None]
) -> None:
    before = {table: read_table(store, table) for table in store.tables()}
    batch_id = media_named(store, name)["batch_id"]
    for table in OPTIONAL_TABLES:
        damage(store, table, batch_id)
    assert {(one.table, one.batch_id) for one in verify_store(store).findings} == {
        (table, batch_id) for table in OPTIONAL_TABLES
    }
    mend(store)
    assert verify_store(store).findings == ()
    after = {table: read_table(store, table) for table in before}
    assert {table: rows for table, rows in after.items() if table != "runs"} == before


def test_a_table_that_is_gone_is_made_again(store: Store) -> None:
    before = read_table(store, "motion@1")
    shutil.rmtree(store.table_path("motion@1"))
    (finding, other) = verify_store(store, ["motion@1"]).findings
    assert (finding.table, finding.kind, other.kind) == ("motion@1", "lost", "lost")
    mend(store)
    assert read_table(store, "motion@1") == before


def test_rows_out_of_order_are_found(store: Store) -> None:
    own = media_named(store, "film.mp4")
    shot = {"media_id": own["media_id"], "begins": "cut"}
    rows = [{**shot, "start_us": 9, "end_us": 12}, {**shot, "start_us": 4, "end_us": 4}]
    put(store, "shots@1", own["batch_id"], rows, generation=2)
    found = {(one.table, one.kind) for one in verify_store(store).findings}
    assert found == {("shots@1", "span"), ("shots@1", "order")}


def test_a_forgotten_media_leaves_them(store: Store) -> None:
    media_id = media_named(store, "film.mp4")["media_id"]
    plan = plan_erasure(store, [media_id])
    assert {table: plan.rows[table] > 0 for table in OPTIONAL_TABLES} == dict.fromkeys(OPTIONAL_TABLES, True)
    erase(store, plan, "run3")
    assert all(read_committed(store, table).num_rows == 0 for table in OPTIONAL_TABLES)
    assert list(rows_of_forgotten(store)) == []
    assert verify_store(store).findings == ()


def test_segments_are_the_shots(store: Store) -> None:
    rows = read_table(store, "media").to_pylist()
    for row in rows:
        vector = {"media_id": row["media_id"], "start_us": 0, "end_us": SECOND, "values": np.ones(2, np.float32)}
        put(store, "features/any@1", row["batch_id"], [vector], stage="extract:any@1")
        covered = {"media_id": row["media_id"], "status": "ok", "num_rows": 1}
        put(store, "coverage/any@1", row["batch_id"], [covered], stage="extract:any@1")
    with pytest.raises(ConfigError, match=r"1 of 2 media with video .* --shots"):
        open_features(store, ["any"], "shots")
    asked = [row["batch_id"] for row in rows if row["name"] != "plain.mp4"]
    reader = open_features(store, ["any"], "shots", batch_ids=asked)
    found = [row for batch in reader for row in batch.to_pylist()]
    shots = read_table(store, "shots@1").to_pylist()
    places = ("media_id", "start_us", "end_us")
    assert [[row[name] for name in places] for row in found] == [[row[name] for name in places] for row in shots]
    assert [row["any:present"] for row in found] == [True, False], "the other is too far from the vector"
    assert "shots@1" in reader.versions
    assert reader.media(shots[0]["media_id"]).num_rows == 2


def test_show_tells_of_them(made: tuple[Store, Summary], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--store", made[0].root, "show", "film.mp4", "--json"]) == 0
    events = json.loads(capsys.readouterr().out)["timeline"]
    assert [event["what"] for event in events if event["table"] == "shots@1"] == [
        "shot, the first",
        "shot, begins with a cut",
    ]
    assert any(event["what"].startswith("motion ") for event in events)


def test_a_model_learns_from_shots_and_scores_each(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for number in range(8):
        cut = [Shown(at * SECOND // 10, 40 if at < 10 else 200) for at in range(20)]
        write_media(videos / f"v{number}.mp4", pictures=cut, sounds=[Sound(0, tone(2, hz=200 + 50 * number))])
    lines = [f"v{number}.mp4,{('low', 'high')[number % 2]}" for number in range(8)]
    (videos / "labels.csv").write_text("\n".join(["uri,class", *lines]))
    (tmp_path / "moods.toml").write_text(RECIPE.replace('"labels:mood"', '"shots"').replace('"whole"', '"shots"'))
    store, _ = ingest_here(tmp_path / "store", config([videos], shots=True))
    extract_here(store, "mfcc")
    load_labels(store, "mood", videos / "labels.csv", run_id="run")
    ref = train_recipe(store, str(tmp_path / "moods.toml"), "run").ref
    given = ScoreConfig(runner="in-process")
    for wave in stages.plan_score(given, store, ref, "run"):
        score.run(given, wave, pipeline_options(given))
    scores = read_table(store, ref.table)
    assert [scores[name].to_pylist() for name in SEGMENTS.names] == [
        read_table(store, "shots@1")[name].to_pylist() for name in SEGMENTS.names
    ]
    assert scores.num_rows == 16

    model = load_model(model_folder(store, ref))
    one = read_given([videos / "v3.mp4"], options_of(model))
    stored = scores.filter(pc.equal(scores["media_id"], one.media_id)).drop_columns(["batch_id"])
    assert predict(model, one).to_pylist() == stored.to_pylist()
    with pytest.raises(ConfigError, match=r"'v3.mp4' was read without them"):
        predict(model, read_given([videos / "v3.mp4"]))

    for batch_id in sorted(store.batches("media")):
        lose(store, "shots@1", batch_id)
        lose(store, ref.table, batch_id)
    refused = r"8 of 8 media with video have no shots .* --shots"
    with pytest.raises(ConfigError, match=refused):
        list(stages.plan_score(given, store, ref, "run"))
    with pytest.raises(ConfigError, match=refused):
        train_recipe(store, str(tmp_path / "moods.toml"), "run")
