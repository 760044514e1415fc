"""`maintain` on the command line and as a flow: what it says, and what it asks before."""

from __future__ import annotations

import json
import os
import pty
import sys
from typing import TYPE_CHECKING

import pytest

from features.store import Store
from tests.flows.conftest import Outcome, content_of
from tests.store.making import put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Triptych = Callable[..., Outcome]


@pytest.fixture
def untidy(store: Store) -> Store:
    """A store with a batch in two files, and a generation that was replaced."""
    put(store, "failures", "b1", [{"stage": "ingest", "uri": "/v/mute.mp4"}], stage="second")
    put(store, "transcripts", "b2", [])
    put(store, "transcripts", "b2", [], generation=2)
    return store


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Answers what is asked, from a terminal."""
    mine, its = pty.openpty()
    with os.fdopen(its) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)

        def give(text: str) -> None:
            os.write(mine, f"{text}\n".encode())

        yield give
        monkeypatch.undo()
    os.close(mine)


def test_it_says_what_it_did_a_table(untidy: Store, triptych: Triptych) -> None:
    outcome = triptych("--store", untidy.root, "maintain")
    assert outcome.status == 0
    lines = {line.split()[0]: line.split()[1:] for line in outcome.out.splitlines() if line}
    assert lines["failures"][:3] == ["1", "0", "0"]
    assert "transcripts" not in lines, "what was replaced just now is kept"
    assert untidy.files("failures").num_rows == 1
    again = triptych("--store", untidy.root, "maintain", "--json")
    told = json.loads(again.out)
    assert not any(table["merged"] or table["swept"] for table in told["tables"])
    assert (told["dry_run"], told["others"], told["problems"]) == (False, 0, [])


def test_a_dry_run_says_what_it_would_do(untidy: Store, triptych: Triptych) -> None:
    before = content_of(untidy.path)
    outcome = triptych("--store", untidy.root, "maintain", "--dry-run", "--retention-hours", 0)
    assert outcome.status == 0
    lines = {line.split()[0]: line.split()[1:] for line in outcome.out.splitlines() if line}
    assert lines["failures"][:2] == ["1", "0"]
    assert lines["transcripts"][:2] == ["0", "1"]
    assert "nothing was changed" in outcome.out
    assert content_of(untidy.path) == before


def test_a_short_retention_wants_a_yes(untidy: Store, triptych: Triptych) -> None:
    refused = triptych("--store", untidy.root, "maintain", "--retention-hours", 0)
    assert refused.status == 2
    assert "--yes" in refused.err
    outcome = triptych("--store", untidy.root, "maintain", "--retention-hours", 0, "--yes", "--json")
    swept = {table["table"]: table["swept"] for table in json.loads(outcome.out)["tables"]}
    assert (swept["failures"], swept["transcripts"], swept["media"]) == (2, 1, 0)


def test_what_cannot_be_merged_is_told_and_fails(untidy: Store, triptych: Triptych) -> None:
    path = untidy.table_path("failures") / untidy.files("failures")["path"][0].as_py()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    outcome = triptych("--store", untidy.root, "maintain")
    assert outcome.status == 3
    assert path.name in outcome.err
    assert "triptych verify" in outcome.err
    assert "tables in" in outcome.out, "the rest is done"


def test_dropping_asks_before_it_acts(
    store: Store, triptych: Triptych, answer: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(os.devnull) as nobody, monkeypatch.context() as patch:  # noqa: PTH123
        patch.setattr(sys, "stdin", nobody)
        refused = triptych("--store", store.root, "maintain", "--drop", "looks@1")
    assert refused.status == 2
    assert "--yes" in refused.err
    answer("n")
    refused = triptych("--store", store.root, "maintain", "--drop", "looks@1")
    assert refused.status == 2
    assert "features/looks@1" in refused.err
    assert "nothing was changed" in refused.err
    would = triptych("--store", store.root, "maintain", "--drop", "looks@1", "--dry-run")
    assert would.out.startswith("would drop coverage/looks@1, features/looks@1 (")
    assert store.has("features/looks@1")
    answer("y")
    outcome = triptych("--store", store.root, "maintain", "--drop", "looks@1")
    assert outcome.status == 0
    assert outcome.out.startswith("dropped coverage/looks@1, features/looks@1; ")
    assert not store.has("features/looks@1")


def test_dropping_names_the_models_and_goes_without_asking_where_told(
    store: Store, triptych: Triptych, recipe: object, write_labels: Callable[..., object]
) -> None:
    assert triptych("--store", store.root, "label", "mood", write_labels("low", "high")).status == 0
    assert triptych("--store", store.root, "train", recipe).status == 0
    would = triptych("--store", store.root, "maintain", "--drop", "sounds@1", "--dry-run")
    assert "from which moods@1 learned" in would.out
    outcome = triptych("--store", store.root, "maintain", "--drop", "sounds@1", "--yes", "--json")
    told = json.loads(outcome.out)
    assert (told["key"], told["models"]) == ("sounds@1", ["moods@1"])
    assert not store.has("coverage/sounds@1")
    wrong = triptych("--store", store.root, "maintain", "--drop", "look", "--yes")
    assert wrong.status == 2
    assert "did you mean 'looks@1'?" in wrong.err


def test_the_form_of_the_flow() -> None:
    from flows.maintain import maintain

    assert set(maintain.parameters.properties) == {"store", "retention_hours"}
