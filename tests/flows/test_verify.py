"""`verify --repair`: what was damaged is made again as it was, and nothing else is touched."""

from __future__ import annotations

import json
import shutil
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any

import pytest

from features.extractors import registry
from features.store import Store, read_table
from features.store.commit import generation_of
from features.store.tombstones import Place, add_tombstones
from features.store.verify import verify_store
from flows import stages
from pipelines import repair
from pipelines.options import RunConfig
from tests.flows.repairing import changed, first, mend, names, paths_of, run_here
from tests.pipelines.clips import make_clips
from tests.pipelines.running import config, extract_here, ingest_here, rows_of
from tests.store.damage import DAMAGES, append_foreign, file_of, flip, lose, remove
from tests.store.making import SECOND, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pipelines.waves import Summary, Wave

BASE = ("frames", "audio", "transcripts", "source_results", "media")
EXTRACTED = ("features/sizes@1", "coverage/sizes@1", "transcripts/hearing@1", "features/letters@1")
_NAMES = ("sizes", "hearing", "letters")


@pytest.fixture(autouse=True)
def light_extractors(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = dict(registry._entries())
    for name in _NAMES:
        entries[name] = EntryPoint(name, f"tests.pipelines.extractors:{name.capitalize()}", registry.GROUP)
    monkeypatch.setattr(registry, "_entries", lambda: entries)
    monkeypatch.setattr(stages, "recognisers", lambda: ("hearing",))


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips, and a store of three batches of two."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "clips").mkdir()
    make_clips(folder / "clips")
    ingest_here(folder / "store", config([folder / "clips"], batch_sources=2))
    return folder


@pytest.fixture
def store(archive: Path, tmp_path: Path) -> Store:
    """A copy, to be damaged."""
    shutil.copytree(archive / "store", tmp_path / "store")
    return Store.open(tmp_path / "store")


@pytest.fixture
def filled(store: Store) -> Store:
    """With pictures, sound and text extracted."""
    extract_here(store, *_NAMES)
    return store


@pytest.mark.parametrize("table", BASE)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_base_table_is_made_again_as_it_was(store: Store, table: str, damage: Callable[[Path], None]) -> None:
    rows, paths, batch_id = rows_of(store, names(store)), paths_of(store), first(store)
    damage(file_of(store, table, batch_id))
    mend(store)
    assert verify_store(store).findings == ()
    assert rows_of(store, names(store)) == rows
    assert changed(paths, paths_of(store)) == {(table, batch_id)}
    assert generation_of(store, table, "ingest", batch_id) == 2


@pytest.mark.parametrize("table", EXTRACTED)
def test_an_extractors_table_is_made_again_as_it_was(filled: Store, table: str) -> None:
    rows, paths, batch_id = rows_of(filled, names(filled)), paths_of(filled), first(filled)
    flip(file_of(filled, table, batch_id))
    mend(filled)
    assert verify_store(filled).findings == ()
    assert rows_of(filled, names(filled)) == rows
    key = table.partition("/")[2]
    assert {place for place in changed(paths, paths_of(filled)) if not place[0].endswith(f"/{key}")} == set()
    assert {batch for _, batch in changed(paths, paths_of(filled))} == {batch_id}


def test_many_at_once(filled: Store) -> None:
    rows = rows_of(filled, names(filled))
    for table in ("media", "frames", "features/sizes@1", "transcripts/hearing@1"):
        remove(file_of(filled, table, first(filled)))
    lose(filled, "coverage/letters@1", max(filled.batches("media")))
    assert mend(filled)
    assert verify_store(filled).findings == ()
    assert rows_of(filled, names(filled)) == rows


def test_the_list_of_sources_is_made_again(store: Store, archive: Path) -> None:
    """So exactly that the next run finds nothing new."""
    before = read_table(store, "sources").drop_columns(["planned_at", "attempt"]).to_pylist()
    for batch_id in store.batches("sources"):
        remove(file_of(store, "sources", batch_id))
    mend(store)
    assert verify_store(store).findings == ()
    after = read_table(store, "sources").drop_columns(["planned_at", "attempt"]).to_pylist()
    by_uri = {row["uri"]: row for row in after}
    assert [by_uri[row["uri"]] for row in before] == before
    _, waves = stages.plan_ingest(config([archive / "clips"]), store.root, "again")
    assert waves == []


def test_a_foreign_file_beside_ours_is_taken_out(store: Store) -> None:
    paths, batch_id = paths_of(store), first(store)
    append_foreign(store, "frames", batch_id, [{"media_id": "x", "t_us": 0}])
    assert "took out 1 foreign files" in mend(store)[0]
    assert verify_store(store).findings == ()
    assert paths_of(store) == paths


def test_an_empty_store_of_one_batch_comes_back_as_new(store: Store, archive: Path) -> None:
    """Where neither its list, its results nor its media are left, its sources are ingested anew."""
    rows = rows_of(store)
    for table in ("sources", "source_results", "media"):
        remove(file_of(store, table, first(store)))
    mend(store)
    assert verify_store(store).findings == ()
    assert len(store.batches("media")) == 2
    ingest_here(store.root, config([archive / "clips"], batch_sources=2))
    assert verify_store(store).findings == ()
    assert {row["media_id"] for row in rows_of(store)["media"]} == {row["media_id"] for row in rows["media"]}


class _Killed(BaseException):
    """Ends a repair at once, as a signal would."""


def test_a_repair_that_was_killed_goes_on(store: Store) -> None:
    """After the damaged file left the log, and after the first of two tables was committed."""
    rows, batch_id = rows_of(store), first(store)
    for table in ("frames", "media"):
        flip(file_of(store, table, batch_id))

    def killed(wave: Wave, given: RunConfig) -> Summary:
        del given
        commits = repair.commit_wave(wave, repair.repair_batch(batch_id, wave))
        assert next(commits).table == "frames"
        raise _Killed

    with pytest.raises(_Killed):
        mend(store, killed)
    assert [(f.table, f.kind) for f in verify_store(store).findings] == [("media", "lost")]
    mend(store)
    assert verify_store(store).findings == ()
    assert rows_of(store) == rows
    assert [generation_of(store, table, "ingest", batch_id) for table in ("frames", "media")] == [2, 2]


def test_a_generation_is_committed_once(store: Store) -> None:
    batch_id = first(store)
    remove(file_of(store, "frames", batch_id))
    waves: list[Wave] = []

    def twice(wave: Wave, given: RunConfig) -> Summary:
        waves.append(wave)
        run_here(wave, given)
        return run_here(wave, given)

    mend(store, twice)
    assert len(waves) == 1
    assert len(store.files("frames").filter(store.files("frames")["batch_id"].to_numpy() == batch_id)) == 1


class TestCommand:
    def test_clean_and_damaged(self, store: Store, triptych: Callable[..., Any]) -> None:
        done = triptych("--store", store.root, "verify")
        assert done.status == 0
        assert "7 tables, 3 batches, " in done.out.splitlines()[-1]
        assert done.out.endswith("nothing wrong\n")
        path = file_of(store, "frames", first(store))
        remove(path)
        done = triptych("--store", store.root, "verify", "frames", "--quick")
        assert done.status == 3
        assert path.name in done.out
        assert f"triptych --store {store.root} verify frames --repair" in done.out
        assert done.out.endswith("1 findings\n")

    def test_repair_for_a_program(self, store: Store, triptych: Callable[..., Any]) -> None:
        """In a supervised child, as people run it."""
        rows = rows_of(store)
        flip(file_of(store, "frames", first(store)))
        done = triptych("--store", store.root, "verify", "--repair", "--json", "--runner", "in-process")
        told = json.loads(done.out)
        assert (done.status, told["findings"]) == (0, [])
        assert "made again as generation 2" in told["repaired"][-1]
        assert rows_of(store) == rows

    def test_what_cannot_be_made_again_stays_found(self, store: Store, triptych: Callable[..., Any]) -> None:
        """An extractor that is not installed; statements of people."""
        batch_id = first(store)
        ids = read_table(store, "media", batch_ids=[batch_id])["media_id"].to_pylist()
        put(store, "features/gone@1", batch_id, [], stage="extract:gone@1")
        put(store, "coverage/gone@1", batch_id, [{"media_id": i, "status": "empty", "num_rows": 0} for i in ids])
        label = {"media_id": ids[0], "start_us": 0, "end_us": SECOND, "task": "mood"}
        put(store, "labels/mood", batch_id, [label])
        for table in ("features/gone@1", "labels/mood"):
            flip(file_of(store, table, batch_id))
        done = triptych("--store", store.root, "verify", "--repair")
        assert done.status == 3
        assert "no extractor 'gone@1' is installed" in done.out
        assert "load them again: triptych label mood FILE" in done.out
        assert [finding.table for finding in verify_store(store).findings] == ["features/gone@1"]

    def test_repair_completes_an_erasure(self, store: Store, triptych: Callable[..., Any]) -> None:
        """One that was broken off after its tombstone; nothing is made again for it."""
        (media_id,) = {row["media_id"] for row in read_table(store, "media").to_pylist() if row["name"] == "noted.mp4"}
        add_tombstones(store, [Place(media_id, first(store))], "run")
        assert "media that are forgotten" in triptych("--store", store.root, "verify", "frames").out
        done = triptych("--store", store.root, "verify", "--repair")
        assert done.status == 0, done.out
        assert "completed what was to be forgotten" in done.out
        assert "made again" not in done.out
        assert media_id not in read_table(store, "frames")["media_id"].to_pylist()

    def test_a_table_that_is_not_there(self, store: Store, triptych: Callable[..., Any]) -> None:
        done = triptych("--store", store.root, "verify", "frame")
        assert done.status == 2
        assert "no table 'frame'" in done.err
