"""`triptych forget`: says what it will do, asks, does it, and goes on where it was broken off."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from features.privacy import erasure
from features.store import read_table
from features.store.read import read_committed
from tests.flows.conftest import content_of
from tests.store.making import media, put

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from features.store import Store
    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]


def names(store: Store) -> list[str]:
    return sorted(read_table(store, "media")["name"].to_pylist())


def test_it_says_what_it_would_do_and_does_nothing(triptych: Triptych, store: Store) -> None:
    before = content_of(store.path)
    told = triptych("--store", store.root, "forget", "--media", "m03.mp4", "--dry-run")
    assert told.status == 0
    assert "m03.mp4" in told.out
    assert "b1" in told.out
    data = json.loads(triptych("--store", store.root, "forget", "--media", "m03", "--dry-run", "--json").out)
    assert data["rows"] == {
        **dict.fromkeys(["coverage/looks@1", "coverage/sounds@1", "features/looks@1", "features/sounds@1"], 1),
        **dict.fromkeys(["media", "source_results"], 1),
    }
    assert content_of(store.path) == before


def test_without_a_terminal_it_wants_yes(triptych: Triptych, store: Store) -> None:
    before = content_of(store.path)
    told = triptych("--store", store.root, "forget", "--media", "m03")
    assert (told.status, "--yes" in told.err) == (2, True)
    assert content_of(store.path) == before


@pytest.mark.parametrize(("answer", "status"), [("yes\n", 0), ("y\n", 2), ("\n", 2)])
def test_on_a_terminal_it_asks(
    answer: str, status: int, triptych: Triptych, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = os.openpty()
    os.write(ours, answer.encode())
    with os.fdopen(theirs) as terminal:
        monkeypatch.setattr("sys.stdin", terminal)
        told = triptych("--store", store.root, "forget", "--media", "m03")
    os.close(ours)
    assert told.status == status
    assert ("m03.mp4" in names(store)) == (status != 0)


def test_several_media_and_their_report(triptych: Triptych, store: Store) -> None:
    assert triptych("--store", store.root, "report").status == 0
    told = triptych("--store", store.root, "forget", "--media", "m03", "--media", "m07.mp4", "--yes", "--json")
    data = json.loads(told.out)
    assert [m["name"] for m in data["media"]] == ["m03.mp4", "m07.mp4"]
    assert data["rows_erased"] == data["rows"]
    assert data["batches"] == ["b1", "b2"]
    assert len(names(store)) == 10
    report = (store.path / "report.html").read_text()
    assert "<html" in report
    assert "m03.mp4" not in report


def test_all_media_of_a_subject(triptych: Triptych, store: Store) -> None:
    put(store, "media", "b3", [media(f"s{i}", subject_ids=["p1"] if i else ["p2", "p1"]) for i in range(2)])
    assert triptych("--store", store.root, "forget", "--subject", "p", "--yes").status == 2
    assert triptych("--store", store.root, "forget", "--subject", "p1", "--yes").status == 0
    assert [name for name in names(store) if name.startswith("s")] == []


@pytest.mark.parametrize("argv", [(), ("--media", "m03", "--subject", "p1"), ("--media", "nobody"), ("--media", "m")])
def test_wrong_use(argv: tuple[str, ...], triptych: Triptych, store: Store) -> None:
    before = content_of(store.path)
    assert triptych("--store", store.root, "forget", *argv, "--yes").status == 2
    assert content_of(store.path) == before


@pytest.mark.parametrize("step", ["erase_rows", "_doomed", "forget_index"])
def test_the_same_command_completes_what_was_broken_off(
    step: str, triptych: Triptych, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    assert triptych("--store", store.root, "report").status == 0
    command = ("--store", store.root, "forget", "--media", "m03.mp4", "--yes")
    with monkeypatch.context() as patched:
        patched.setattr(erasure, step, broken)
        assert triptych(*command).status == 130
    again = triptych(*command)
    assert again.status == 0
    assert "m03.mp4" not in names(store)
    assert "m03.mp4" not in (store.path / "report.html").read_text()
    assert triptych("--store", store.root, "forget", "--media", "m03", "--yes").status == 0  # a tombstone knows it
    assert read_committed(store, "tombstones")["media_id"].to_pylist() == ["m03"]


def test_verify_tells_of_rows_that_are_left_and_maintain_ends_it(
    triptych: Triptych, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left(*tables: str) -> list[tuple[str, str]]:
        told = json.loads(triptych("--store", store.root, "verify", *tables, "--json").out)
        found = [finding for finding in told["findings"] if finding["kind"] == "forgotten"]
        assert all(finding["remedy"] == f"triptych --store {store.root} maintain" for finding in found)
        return [(finding["table"], finding["batch_id"]) for finding in found]

    def broken(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    assert left() == []
    with monkeypatch.context() as patched:
        patched.setattr(erasure, "erase_rows", broken)
        assert triptych("--store", store.root, "forget", "--media", "m03.mp4", "--yes").status == 130
    tables = ["coverage/looks@1", "coverage/sounds@1", "features/looks@1", "features/sounds@1", "media"]
    assert left() == [(table, "b1") for table in (*tables, "source_results")]
    assert left("media") == [("media", "b1")]
    assert triptych("--store", store.root, "maintain").status == 0
    assert left() == []


def test_labels_of_what_was_forgotten_are_left_out(
    triptych: Triptych, store: Store, write_labels: Callable[..., Path]
) -> None:
    labels = write_labels("low", "high")
    assert triptych("--store", store.root, "label", "mood", labels).status == 0
    assert triptych("--store", store.root, "forget", "--media", "m03.mp4", "--yes").status == 0
    told = json.loads(triptych("--store", store.root, "label", "mood", labels, "--json").out)
    assert told["num_labels"] == 11
    assert [line for line in told["skipped"] if line.endswith("forgotten")] == ["m03.mp4: forgotten"]
