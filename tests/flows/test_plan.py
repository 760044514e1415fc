"""`triptych plan`: its figures against what the run then did, and a store that it leaves as it was."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from features.store import Store, read_table
from features.synthetic.archive import Archive, make_archive
from pipelines.options import IngestConfig, NightlyConfig
from pipelines.planning import plan_key
from tests.flows.conftest import content_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]

OPTIONS = ("--runner", "in-process")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Twenty-four clips: one is a copy, one is truncated, one is silent."""
    return make_archive(tmp_path_factory.mktemp("archive") / "a", num_clips=24)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where plans wait for their runs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def planned(triptych: Triptych, store: Path | str, *argv: object) -> dict[str, Any]:
    told = triptych("--store", store, "plan", *argv, *OPTIONS, "--json")
    assert told.status == 0, told.err
    found: dict[str, Any] = json.loads(told.out)
    return found


def written(plan: dict[str, Any]) -> dict[str, float]:
    return {row["table"]: row["written_bytes"] for row in plan["tables"]}


def size_of(store: Store, table: str) -> int:
    return sum(store.files(table)["size_bytes"].to_pylist())


def test_a_plan_is_what_the_run_then_does(archive: Archive, tmp_path: Path, triptych: Triptych) -> None:
    root, folder = tmp_path / "store", archive.folder
    plan = planned(triptych, root, folder, "--extractors", "mfcc", "--workers", 2)
    assert not root.exists()
    assert plan["sources"] == {
        **{"listed": 24, "new": 24, "waiting": 0, "refused": 0, "copies": 1, "broken": 1, "sampled": 23},
        "size_bytes": sum(path.stat().st_size for path in archive.clips),
    }
    assert [problem for problem in plan["problems"] if str(archive.truncated) in problem] == plan["problems"]
    assert triptych("--store", root, "ingest", folder, *OPTIONS).status == 0
    store = Store.open(root)
    media = read_table(store, "media").to_pylist()
    assert plan["media"] == len(media) == 22
    assert plan["media_seconds"] == pytest.approx(sum(row["duration_us"] for row in media) / 1e6, rel=0.01)
    sound = sum(row["duration_us"] for row in media if row["has_audio"]) / 1e6
    assert plan["audio_seconds"] == pytest.approx(sound, rel=0.01)
    again = planned(triptych, root, folder, "--extractors", "mfcc")
    assert again["sources"]["new"] == 0
    assert again["backlog_seconds"] == pytest.approx(plan["media_seconds"], rel=0.01)
    assert triptych("--store", root, "extract", "mfcc", *OPTIONS).status == 0
    tables = ("frames", "audio", "media", "features/mfcc@1")
    told = {table: written(plan)[table] for table in tables}
    assert told == {table: pytest.approx(size_of(store, table), rel=0.3) for table in tables}
    base = sum(size_of(store, table) for table in store.tables() if table not in ("runs", "failures"))
    named = sum(written(plan)[table] for table in written(plan) if not table.endswith("pocketsphinx@1"))
    assert named == pytest.approx(base, rel=0.3)
    assert_compared(triptych, root, plan)


def assert_compared(triptych: Triptych, root: Path, plan: dict[str, Any]) -> None:
    """The run has taken the plan; what it took scales the next."""
    last = json.loads(triptych("--store", root, "plan", "--last", "--json").out)
    figures = {row["what"]: (row["planned"], row["happened"]) for row in last["figures"]}
    assert figures["media"] == (22, 22)
    assert figures["media time"] == (plan["media_seconds"], pytest.approx(plan["media_seconds"], rel=0.01))
    assert figures["frames: bytes"][0] == written(plan)["frames"]
    assert figures["ingest: CPU"][1] > 0
    shown = triptych("--store", root, "plan", "--last").out
    assert "planned" in shown
    assert "ingest: CPU" in shown


def test_nothing_in_the_store_changes(archive: Archive, tmp_path: Path, triptych: Triptych) -> None:
    root = tmp_path / "store"
    some = archive.clips[1:3]
    assert triptych("--store", root, "ingest", *some, *OPTIONS).status == 0
    Store.open(root).path.joinpath("consent.toml").write_text('[[rules]]\nsource = "clip_004*"\nrefuse = ["all"]')
    before = content_of(root)
    plan = planned(triptych, root, archive.folder, "--extractors", "mfcc")
    assert (plan["sources"]["listed"], plan["sources"]["new"], plan["sources"]["refused"]) == (24, 22, 1)
    assert content_of(root) == before
    limited = planned(triptych, root, archive.folder, "--limit", 3, "--extractors", "mfcc")
    assert limited["sources"]["new"] == 3
    assert content_of(root) == before


def test_a_run_that_was_planned_says_what_became_of_it(archive: Archive, tmp_path: Path, triptych: Triptych) -> None:
    root = tmp_path / "store"
    assert "planned" not in triptych("--store", root, "ingest", archive.clips[1], *OPTIONS).out
    planned(triptych, root, archive.clips[3], "--extractors", "mfcc")
    told = triptych("--store", root, "ingest", archive.clips[3], *OPTIONS)
    assert "planned → happened: media 1 → 1" in told.out
    assert triptych("--store", root, "plan", archive.clips[4], "--extractors", "mfcc").out.count("earlier run") > 1


def test_a_plan_is_of_one_store_its_sources_and_how_they_are_decoded(tmp_path: Path) -> None:
    usual = plan_key(IngestConfig(sources=("a", "b")), "store")
    assert usual == plan_key(NightlyConfig(sources=("b", "./a"), workers=7, extractors=("mfcc",)), "./store")
    others = [IngestConfig(sources=("a",)), IngestConfig(sources=("a", "b"), frames="2/s")]
    others.append(IngestConfig(sources=("a", "b"), limit=3))
    assert usual not in {plan_key(other, "store") for other in others}
    assert usual != plan_key(IngestConfig(sources=("a", "b")), str(tmp_path))


def test_a_sample_of_many_says_how_sure_it_is(archive: Archive, tmp_path: Path, triptych: Triptych) -> None:
    """Half of the sources are looked into; the interval is there, and the hours are near."""
    sound = [path for path in archive.clips if path not in (archive.truncated, archive.duplicate)]
    whole = planned(triptych, tmp_path / "store", *sound, "--sample", 0, "--extractors", "mfcc")
    some = planned(triptych, tmp_path / "store", *sound, "--sample", 11, "--extractors", "mfcc")
    assert (whole["sources"]["sampled"], whole["margin_seconds"]) == (22, 0)
    assert some["sources"]["sampled"] < 14
    assert some["media_seconds"] == pytest.approx(whole["media_seconds"], abs=2 * some["margin_seconds"])


def test_money_and_disk(archive: Archive, tmp_path: Path, triptych: Triptych) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "USD"\ncpu_hour = 100.0\ngb_month = 10.0\ngb_read = 10.0')
    plan = planned(triptych, tmp_path / "store", archive.folder, "--prices", prices, "--extractors", "mfcc")
    money = plan["money"]
    assert money["currency"] == "USD"
    assert money["cpu"] == pytest.approx(plan["cpu_seconds"] / 36)
    assert money["reading"] == pytest.approx(plan["sources"]["size_bytes"] / 1e8)
    assert money["a_month"] == pytest.approx(plan["written_bytes"] / 1e8)
    assert plan["disk_free_bytes"] > 0
    told = triptych("--store", tmp_path / "store", "plan", archive.folder, "--prices", prices, "--extractors", "mfcc")
    assert "USD a month" in told.out
    assert "disk: " in told.out


def test_wrong_use(tmp_path: Path, archive: Archive, triptych: Triptych) -> None:
    root, clip = tmp_path / "store", archive.clips[0]
    cases = [
        ((tmp_path / "gone",), "there is no file or folder"),
        ((clip, "--sample", -1), "--sample must be at least 0, not -1"),
        ((clip, "--prices", tmp_path / "gone.toml"), "cannot read the prices"),
        ((clip, "--extractors", "mfc"), "mfcc"),
    ]
    for argv, message in cases:
        told = triptych("--store", root, "plan", *argv)
        assert (told.status, message in told.err) == (2, True), told.err
    assert not root.exists()
    Store.create(root)
    told = triptych("--store", root, "plan", "--last")
    assert (told.status, "no run" in told.err) == (2, True)
