"""The demo, and the night after it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from features.store import Store, read_table
from tests.whole.opened import files_opened

if TYPE_CHECKING:
    from tests.whole.conftest import Shell

pytestmark = pytest.mark.slow

NUM_CLIPS = 48


def _store(shell: Shell) -> Store:
    return Store.open(shell.folder / "triptych-demo" / "store")


def test_the_last_lines_tell_what_came_of_it(demo: str) -> None:
    for word in ("media", "dead letters", "fused", "video", "audio", "text", "seconds", "report.html", "synthetic"):
        assert word in demo


def test_every_clip_has_an_outcome(shell: Shell, demo: str) -> None:
    results = read_table(_store(shell), "source_results").to_pylist()
    by_status = {status: [r for r in results if r["status"] == status] for status in ("done", "failed", "duplicate")}
    assert {status: len(rows) for status, rows in by_status.items()} == {"done": 46, "failed": 1, "duplicate": 1}
    assert by_status["duplicate"][0]["media_id"] in {row["media_id"] for row in by_status["done"]}
    assert by_status["failed"][0]["uri"].endswith("clip_024.mp4")


def test_what_is_missing_is_missing_and_not_zeros(shell: Shell, demo: str) -> None:
    store = _store(shell)
    mfcc = {row["media_id"]: row["status"] for row in read_table(store, "coverage/mfcc@1").to_pylist()}
    text = {row["media_id"]: row["status"] for row in read_table(store, "coverage/minilm@1").to_pylist()}
    names = {row["name"]: row["media_id"] for row in read_table(store, "media").to_pylist()}
    assert mfcc.pop(names["clip_006.mp4"]) == "absent"
    assert text.pop(names["clip_013.mp4"]) == "empty"
    assert set(mfcc.values()) == set(text.values()) == {"ok"}
    present = {row["media_id"]: row["present"] for row in read_table(store, "scores/sentiment@1").to_pylist()}
    assert present[names["clip_006.mp4"]] == ["video", "text"]
    assert present[names["clip_013.mp4"]] == ["video", "audio"]


def test_each_media_is_scored_once(shell: Shell, demo: str) -> None:
    store = _store(shell)
    scored = read_table(store, "scores/sentiment@1")["media_id"].to_pylist()
    assert sorted(scored) == sorted(read_table(store, "media")["media_id"].to_pylist())


def test_few_clips_claim_no_gain(demo: str) -> None:
    assert "no gain shown" in demo


def test_the_second_night_opens_no_file_of_the_archive(shell: Shell, demo: str) -> None:
    before = {name: _store(shell).load(name).version() for name in _store(shell).tables()}
    folder = shell.folder / "triptych-demo" / "archive"
    with files_opened(folder) as opened:
        done = shell.triptych("--store", "triptych-demo/store", "nightly", "triptych-demo/archive", "--json")
    assert opened == set()
    assert {name: _store(shell).load(name).version() for name in _store(shell).tables()} == before
    assert all(stage["num_batches"] == 0 for stage in json.loads(done.stdout)["stages"])


def test_the_eye_on_the_archive_sees(shell: Shell, demo: str) -> None:
    folder = shell.folder / "triptych-demo" / "archive"
    with files_opened(folder) as opened:
        (folder / "clip_001.mp4").read_bytes()
    assert opened == {"clip_001.mp4"}


def test_the_report_is_whole(shell: Shell, demo: str) -> None:
    page = (shell.folder / "triptych-demo" / "store" / "report.html").read_text(encoding="utf-8")
    HTMLParser().feed(page)
    assert page.count("data:image/jpeg;base64,") >= NUM_CLIPS - 2
    for word in ("synthetic", "clip_024.mp4", "DecodeError", "efficientnet_lite0@1", "sentiment"):
        assert word in page
    assert 'src="http' not in page
