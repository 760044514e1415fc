"""Rates, calibration by earlier runs, prices, and figures that go through JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from features.errors import ConfigError, StoreError
from features.media.options import DecodeOptions
from features.planning import rates
from features.planning.calibration import USUAL_EFFICIENCY, bytes_calibration, cpu_calibration, efficiency
from features.planning.figures import Plan, Sources, StageFigures, TableFigures
from features.planning.prices import cost_of, read_prices
from features.planning.records import (
    StageRecord,
    add_stage,
    keep_plan,
    newest_records,
    read_record,
    stages_of,
    take_plan,
)
from features.planning.work import Work
from features.spec import FeatureSpec
from features.store import Store

if TYPE_CHECKING:
    from pathlib import Path

HOUR = Work(
    num_media=6,
    size_bytes=1e9,
    media_seconds=3600,
    video_seconds=3600,
    video_megapixels=82_944,
    audio_seconds=3600,
    text_seconds=1800,
    num_pictures=3600,
    picture_megapixels=829,
    picture_bytes=85e6,
    sound_bytes=19e6,
)


def record(cpu_seconds: float, wall_seconds: float = 100.0, factor: float = 1.0, stage: str = "ingest") -> StageRecord:
    written = (TableFigures("transcripts", 500.0 * factor),)
    return StageRecord(stage, (), 1, 2, cpu_seconds, wall_seconds, HOUR.times(factor), 2, 0, written)


def plan(**more: object) -> Plan:
    given = {
        "created_at": "2026-01-01T00:00:00+00:00",
        "sources": Sources(listed=3, new=2, size_bytes=10.0, sampled=2),
        "media": 2.0,
        "media_seconds": 60.0,
        "margin_seconds": 0.0,
        "video_seconds": 60.0,
        "audio_seconds": 50.0,
        "backlog_seconds": 0.0,
        "stages": (StageFigures("ingest", 7.5, 3.5, "default"),),
        "tables": (TableFigures("frames", 100.0, 50.0, "the sample"),),
        "num_workers": 2,
    }
    return Plan(**{**given, **more})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("more", "measured"),
    [
        ({"frame_interval_us": 10_000_000}, 88),
        ({}, 197),
        ({"frame_interval_us": 200_000}, 292),
        ({"sampling": "keyframes"}, 56),
        ({"sampling": "shots"}, 511),
        ({"sampling": "all"}, 575),
    ],
)
def test_an_hour_of_video_costs_about_what_was_measured(more: dict[str, object], measured: float) -> None:
    """Against the table in features/media/SAMPLING.md: an hour of 1280x720 at 25 a second."""
    options = DecodeOptions(**more)  # type: ignore[arg-type]
    pictures = {"keyframes": 660, "shots": 60, "all": 90_000}.get(options.sampling, 3600e6 / options.frame_interval_us)
    work = Work(1, 1e9, 3600, 3600, 82_944, 3600, 0, pictures, pictures * 0.2304)
    assert rates.ingest_cost(work, options).cpu_seconds == pytest.approx(measured, rel=0.25)


def test_twice_as_much_costs_twice_as_much() -> None:
    for cost in (
        lambda work: rates.ingest_cost(work, DecodeOptions()),
        lambda work: rates.extract_cost(FeatureSpec("mfcc", 1, "audio", "audio", shape=(80,)), work, {}),
        rates.score_cost,
    ):
        assert cost(HOUR.plus(HOUR)).cpu_seconds == pytest.approx(2 * cost(HOUR).cpu_seconds)


@pytest.mark.parametrize(
    ("inputs", "rate", "rows"),
    [("frames", "one a frame", 3600), ("audio", "one a second", 3600), ("audio", "one every 2 seconds", 1800)],
)
def test_rows_follow_the_rate_of_the_extractor(inputs: str, rate: str, rows: float) -> None:
    spec = FeatureSpec("some", 1, "audio", inputs, shape=(10,), rate=rate)  # type: ignore[arg-type]
    assert rates.num_rows(spec, HOUR) == rows
    assert rates.extracted_bytes(spec, HOUR, 0) == pytest.approx(rows * 40, rel=0.1)


def test_a_measured_speed_comes_before_the_default() -> None:
    from features.extractors.speeds import Speed

    spec = FeatureSpec("mfcc", 1, "audio", "audio", shape=(80,), rate="one a second")
    cost = rates.extract_cost(spec, HOUR, {spec.fingerprint: Speed(50.0, 100.0)})
    assert (cost.cpu_seconds, cost.origin) == (pytest.approx(36.0), "measured here")
    assert rates.extract_cost(spec, HOUR, {}).origin == "default"


def test_earlier_runs_scale_the_rates() -> None:
    start = rates.start_seconds("ingest", 1, 2)
    stages = [record(300 + start), record(100 + start)]
    known = cpu_calibration(stages, lambda _: 100.0)
    assert (known.factor, known.num_runs, known.origin()) == (2.0, 2, "2 earlier runs")
    assert cpu_calibration([], lambda _: 100.0).origin("default") == "default"
    assert bytes_calibration(stages, "transcripts", lambda _: 250.0).factor == 2.0
    assert bytes_calibration(stages, "frames", lambda _: 250.0).num_runs == 0


def test_only_the_newest_runs_count_and_no_factor_is_absurd() -> None:
    assert cpu_calibration([record(1e9)] * 3, lambda _: 1.0).factor == 20
    assert cpu_calibration([record(100)] * 5 + [record(1e6)] * 50, lambda _: 100.0).factor < 1.1


def test_efficiency_is_the_share_of_time_at_work() -> None:
    start, wall = rates.start_seconds("ingest", 1, 2), rates.wall_start_seconds("ingest", 1)
    assert efficiency([record(150 + start, 100 + wall)]) == pytest.approx(0.75)
    assert efficiency([]) == USUAL_EFFICIENCY


def test_prices(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('currency = "USD"\ncpu_hour = 0.05\ngb_month = 0.02\ngb_read = 0.01')
    money = cost_of(read_prices(path), cpu_hours=100, read_bytes=500e9, kept_bytes=50e9)
    assert money == ("USD", 5.0, 5.0, 1.0)
    assert money.once == 10.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cpu_hours = 1", "unknown key 'cpu_hours' in the top level; did you mean 'cpu_hour'?"),
        ("cpu_hour = -1", "cpu_hour is -1.0; it must be at least 0.0"),
        ("cpu_hour = nan", "cpu_hour is nan; it must be at least 0.0"),
        ("cpu_hour = inf", "cpu_hour is inf; it must be at least 0.0 and at most"),
        ('cpu_hour = "cheap"', "cpu_hour is 'cheap'; it must be a number"),
        ("cpu_hour", "cannot read the prices"),
    ],
)
def test_wrong_prices_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_prices(path)
    with pytest.raises(ConfigError, match="cannot read the prices"):
        read_prices(tmp_path / "gone.toml")


def test_records_of_a_run_add_up_and_are_read_back(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    add_stage(store, "20260101T000000-a", "nightly", record(10), plan())
    add_stage(store, "20260101T000000-a", "nightly", record(20, stage="score some@1"))
    add_stage(store, "20260102T000000-b", "ingest", record(30))
    found = read_record(store, "20260101T000000-a")
    assert found is not None
    assert (found.plan, [one.cpu_seconds for one in found.stages]) == (plan(), [10, 20])
    assert found.stages[0] == record(10)
    assert [one.run_id for one in newest_records(store)] == ["20260102T000000-b", "20260101T000000-a"]
    assert [one.cpu_seconds for one in stages_of(newest_records(store), "ingest")] == [30, 10]
    assert [one.cpu_seconds for one in stages_of(newest_records(store), "score")] == [20]


@pytest.mark.parametrize("text", ["", "[]", '{"run_id": 3}', '{"run_id": "x", "command": "y", "stages": [1]}'])
def test_a_damaged_record_is_passed_over(tmp_path: Path, text: str) -> None:
    store = Store.create(tmp_path / "store")
    (store.path / "plans").mkdir()
    (store.path / "plans" / "x.json").write_text(text)
    assert newest_records(store) == ()
    add_stage(store, "x", "ingest", record(1))
    assert len(newest_records(store)) == 1


def test_a_plan_waits_for_its_run_and_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert take_plan("k") is None
    assert keep_plan("k", plan(disk_free_bytes=5.0))
    assert take_plan("k") == plan(disk_free_bytes=5.0)
    assert take_plan("k") is None
    (tmp_path / "triptych" / "plans" / "k.json").write_text('{"created_at": ""}')
    assert take_plan("k") is None


def test_figures_go_through_json() -> None:
    assert Plan.from_json(json.loads(json.dumps(plan().to_json()))) == plan()
    with pytest.raises(StoreError, match="are no figures of a plan"):
        Plan.from_json({"created_at": "x"})
