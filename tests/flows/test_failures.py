"""`triptych failures`: what is listed, what is tried again, and how that ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from features.store import Store, read_table
from features.store.failures import open_letters
from features.store.models import find_model
from features.store.store import files_of
from flows import retry
from pipelines import score
from pipelines.options import RetryConfig
from pipelines.runners import pipeline_options
from tests.flows.conftest import NUM_MEDIA, SPECS
from tests.pipelines.clips import make_clip
from tests.store.making import SECOND, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]

CONFIG = RetryConfig(runner="in-process")
HERE = ("--runner", "in-process")


def letter(stage: str, error: str, **more: Any) -> dict[str, Any]:
    return {"stage": stage, "error": error, "message": "broken", "failed_at": datetime.now(UTC), **more}


@pytest.fixture
def failed(store: Store) -> Store:
    """The store of the other tests, with letters of two more stages and a closed one."""
    closed = letter("extract:looks@1", "ExtractionError", media_id="m07", closed_at=datetime.now(UTC))
    letters = [letter("extract:looks@1", "DecodeError", media_id="m08", attempts=2), closed]
    put(store, "failures", "b2", [*letters, letter("extract:sounds@1", "ExtractionError", media_id="m09")])
    return store


def test_letters_are_listed_with_their_attempts(triptych: Triptych, failed: Store) -> None:
    outcome = triptych("--store", failed.root, "failures")
    lines = outcome.out.splitlines()
    assert lines[-1] == "3 dead letters"
    assert any(line.endswith("extract:looks@1  DecodeError, attempt 2") for line in lines)
    assert "closed" not in outcome.out
    closed = triptych("--store", failed.root, "failures", "--all").out
    assert ", closed 2" in closed
    assert closed.splitlines()[-1] == "4 dead letters"


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (("--stage", "extract"), 2),
        (("--stage", "extract:looks@1", "--all"), 2),
        (("--error", "DecodeError"), 2),
        (("--error", "*Error", "--stage", "ingest"), 1),
        (("--error", "*torn*"), 1),
        (("--media", "m08"), 1),
        (("--media", "m08.mp4"), 1),
        (("--media", "torn.mp4"), 1),
        (("--media", "nothing"), 0),
    ],
)
def test_letters_are_chosen(triptych: Triptych, failed: Store, words: tuple[str, ...], count: int) -> None:
    outcome = triptych("--store", failed.root, "failures", *words, "--json", "--strict")
    assert len(json.loads(outcome.out)) == count
    assert outcome.status == (1 if count else 0)


def test_many_letters_are_counted_by_stage_and_error(triptych: Triptych, failed: Store) -> None:
    many = [letter("ingest", "DecodeError", uri=f"/v/{n}.mp4", attempts=1 + n % 3) for n in range(12)]
    put(failed, "failures", "b3", many)
    groups = [line.split() for line in triptych("--store", failed.root, "failures").out.splitlines()[-6:-1]]
    assert groups[0] == ["stage", "error", "letters", "most", "attempts"]
    assert ["ingest", "DecodeError", "13", "3"] in groups


def test_closed_letters_are_not_tried_again(triptych: Triptych, failed: Store) -> None:
    outcome = triptych("--store", failed.root, "failures", "--retry", "--all")
    assert outcome.status == 2
    assert "leave out --all or --retry" in outcome.err


def test_what_cannot_be_tried_again_says_what_to_do(triptych: Triptych, failed: Store) -> None:
    """The torn file stands in no plan, and the extractors are none of this machine."""
    outcome = triptych("--store", failed.root, "failures", "--retry", "--json", "--strict", *HERE)
    told = json.loads(outcome.out)
    assert (told["tried"], told["num_batches"], told["num_failures"]) == (0, 0, 3)
    assert outcome.status == 1
    assert sorted(note.split(" ", 1)[1].split(":")[0] for note in told["notes"]) == [
        *["cannot run here"] * 2,
        "stands in no plan of this store",
    ]
    assert not failed.has("runs")
    assert len(open_letters(failed)) == 3


@pytest.mark.slow
def test_a_source_is_tried_again_until_it_is_in(triptych: Triptych, tmp_path: Path) -> None:
    """As people do it: ingest, retry in vain until its attempts are used up, mend the file, retry once more."""
    folder, store = tmp_path / "clips", tmp_path / "made"
    folder.mkdir()
    make_clip(folder / "good.mp4", grey=60, hertz=300)
    (folder / "torn.mp4").write_bytes((folder / "good.mp4").read_bytes()[:2000])
    assert triptych("--store", store, "ingest", folder, *HERE).status == 0

    def again(*words: str) -> Outcome:
        return triptych("--store", store, "failures", "--retry", *words, *HERE)

    assert again("--error", "NoSuchError").out.splitlines()[-1].startswith("nothing to do, ")
    assert again("--strict").status == 1
    lines = again().out.splitlines()
    assert lines[0] == "1 tried, 0 resolved"
    assert lines[-1].startswith("1 batches in ")
    assert "1 dead letter " in lines[-1]
    assert again().out.splitlines()[0] == "left out: 1 letter had 3 attempts: --max-attempts 4"
    make_clip(folder / "torn.mp4", grey=150, hertz=700)
    told = json.loads(again("--max-attempts", "4", "--json", "--strict").out)
    assert (told["tried"], told["resolved"], told["num_failures"], told["notes"]) == (1, 1, 0, [])
    assert told["rows"]["media"] == 1
    runs = [(row["command"], row["stage"]) for row in read_table(Store.open(store), "runs").to_pylist()]
    assert sorted(runs) == [*[("failures", "ingest")] * 3, ("ingest", "ingest")]
    assert triptych("--store", store, "failures").out == "no dead letters\n"
    assert len(triptych("--store", store, "failures", "--all").out.splitlines()) == 3 * 3 + 1


@pytest.mark.slow
def test_scores_follow_the_features_that_a_retry_mended(
    triptych: Triptych, store: Store, recipe: Path, write_labels: Callable[..., Path]
) -> None:
    """A media of b2 got its `looks` by a retry; only b2 is scored again, as if it had never failed."""
    assert triptych("--store", store.root, "label", "mood", write_labels("low", "high")).status == 0
    assert triptych("--store", store.root, "train", recipe).status == 0
    looks, stage = SPECS[0], "extract:looks@1"
    whole = read_table(store, looks.table, batch_ids=["b2"]).drop_columns(["batch_id"]).to_pylist()
    put(store, looks.table, "b2", [row for row in whole if row["media_id"] != "m08"], stage=stage, generation=2)
    assert triptych("--store", store.root, "score", "moods", *HERE).status == 0
    lacking = scores(store)
    assert list(retry.plan_score_again(CONFIG, store, (), "run")) == []
    put(store, looks.table, "b2", whole, stage=stage, generation=3)
    put(store, "failures", "b2", [letter(stage, "E", media_id="m08", closed_at=datetime.now(UTC))], stage=stage)
    (wave,) = retry.plan_score_again(CONFIG, store, (), "run")
    assert (wave.batch_ids, wave.generation, wave.targets) == (("b2",), 2, ("moods@1",))
    before = files(store)
    score.run(CONFIG, wave, pipeline_options(CONFIG))
    after = files(store)
    assert before["b1"] == after["b1"]
    assert before["b2"] != after["b2"]
    mended = scores(store)
    assert len(mended) == NUM_MEDIA
    assert {name for name in mended if mended[name] != lacking[name]} == {"m08"}
    assert (lacking["m08"]["present"], mended["m08"]["present"]) == (["audio"], ["video", "audio"])
    assert list(retry.plan_score_again(CONFIG, store, (), "run")) == []
    assert mended["m08"]["end_us"] == 10 * SECOND


def scores(store: Store) -> dict[str, dict[str, Any]]:
    rows = read_table(store, find_model(store, "moods").table).to_pylist()
    return {row["media_id"]: row for row in rows}


def files(store: Store) -> dict[str, str]:
    return {row["batch_id"]: row["path"] for row in files_of(store.load("scores/moods@1")).to_pylist()}
