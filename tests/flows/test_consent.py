"""`triptych consent` and the consent file in runs: shown, applied, withdrawn, and granted later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from features.store import Store, read_table
from tests.flows.conftest import NUM_MEDIA, content_of
from tests.pipelines.clips import make_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.flows.conftest import Outcome

    Triptych = Callable[..., Outcome]

POLICY = """
[default]
refuse = ["publish"]

[[rules]]
source = "m0[01].mp4"
refuse = ["training"]
grant = ["publish"]
"""


def write(store: Store, text: str) -> None:
    (store.path / "consent.toml").write_text(text)


def consent(store: Store) -> dict[str, str]:
    return {row["name"]: row["consent"] for row in read_table(store, "media").to_pylist()}


def test_it_shows_what_applies_and_changes_nothing(store: Store, triptych: Triptych) -> None:
    write(store, POLICY)
    before = content_of(store.path)
    told = triptych("--store", store.root, "consent")
    assert told.status == 0
    assert content_of(store.path) == before
    lines = [" ".join(line.split()) for line in told.out.splitlines()]
    assert "unstated refused:publish default 10" in lines
    assert "unstated refused:training rule 1 (source 'm0[01].mp4') 2" in lines
    assert any(line.startswith(f"{NUM_MEDIA} media to change") for line in lines)


def test_applied_it_is_written_once(store: Store, triptych: Triptych) -> None:
    write(store, POLICY)
    told = triptych("--store", store.root, "consent", "--apply")
    assert f"{NUM_MEDIA} of {NUM_MEDIA} media changed" in told.out
    assert consent(store)["m00.mp4"] == "refused:training"
    assert consent(store)["m02.mp4"] == "refused:publish"
    again = json.loads(triptych("--store", store.root, "consent", "--apply", "--json").out)
    assert (again["applied"], again["changes"]) == (True, [])
    assert "nothing to change" in triptych("--store", store.root, "consent").out


def test_one_media_purpose_by_purpose(store: Store, triptych: Triptych) -> None:
    write(store, POLICY)
    told = json.loads(triptych("--store", store.root, "consent", "--media", "m00.mp4", "--json").out)
    assert [(row["purpose"], row["allowed_now"], row["by_file"]) for row in told["purposes"]] == [
        ("features", True, "not stated"),
        ("training", True, "refused"),
        ("biometric", True, "not stated"),
        ("publish", True, "granted"),
    ]
    assert "rule 1 (source 'm0[01].mp4')" in triptych("--store", store.root, "consent", "--media", "m00.mp4").out


def test_without_a_file_it_says_what_is_stored_and_where_to_write_one(store: Store, triptych: Triptych) -> None:
    told = triptych("--store", store.root, "consent")
    assert told.status == 0
    assert f"unstated     {NUM_MEDIA}" in told.out
    assert str(store.path / "consent.toml") in told.out
    groups = json.loads(triptych("--store", store.root, "consent", "--json").out)["groups"]
    assert groups == [{"consent": "unstated", "media": NUM_MEDIA}]


def test_slips_are_told(store: Store, triptych: Triptych) -> None:
    write(store, '[[rules]]\nsubject = "s-9"\nrefuse = ["all"]\n[[rules]]\nsource = "*/gone/*"\nrefuse = ["all"]')
    told = triptych("--store", store.root, "consent").out
    assert "note: no media has subject 's-9': check its spelling" in told
    assert "note: no media falls under rule 2 (source '*/gone/*')" in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[default", "cannot read the consent file"),
        ('[default]\nrefuse = ["publsh"]', "did you mean 'publish'?"),
        ("[[rule]]", "did you mean 'rules'?"),
    ],
)
@pytest.mark.parametrize("command", ["consent", "ingest", "nightly"])
def test_a_wrong_file_stops_all_before_anything_is_done(
    store: Store, videos: Path, triptych: Triptych, command: str, text: str, message: str
) -> None:
    write(store, text)
    before = content_of(store.path)
    told = triptych("--store", store.root, command, *([] if command == "consent" else [videos]))
    assert (told.status, message in told.err) == (2, True)
    assert content_of(store.path) == before


def statuses(store: Store, key: str) -> dict[str, str]:
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    return {names[row["media_id"]]: row["status"] for row in read_table(store, f"coverage/{key}").to_pylist()}


def test_a_night_of_consent(tmp_path: Path, triptych: Triptych) -> None:
    """Refused for features, then granted: what was passed over is extracted, and only that."""
    folder, file = tmp_path / "videos", tmp_path / "who.toml"
    folder.mkdir()
    for number, name in enumerate(("first.mp4", "second.mp4")):
        make_clip(folder / name, grey=50 * number, hertz=300 + 100 * number)
    options = ("--runner", "in-process", "--wave-batches", 8)
    file.write_text('[[rules]]\nsource = "first*"\nrefuse = ["features", "publish"]')
    told = triptych("--store", tmp_path / "store", "ingest", folder, "--consent", file, *options)
    assert (told.status, "0 of 2 media changed" in told.err) == (0, True)
    store = Store.open(tmp_path / "store")
    assert triptych("--store", store.root, "extract", "mfcc", *options).status == 0
    assert statuses(store, "mfcc@1") == {"first.mp4": "skipped", "second.mp4": "ok"}
    kept = rows_of(store, "second.mp4")
    file.write_text('[[rules]]\nsource = "first*"\nrefuse = ["publish"]')
    assert triptych("--store", store.root, "consent", "--consent", file, "--apply").status == 0
    assert triptych("--store", store.root, "extract", "mfcc", *options).status == 0
    assert statuses(store, "mfcc@1") == {"first.mp4": "ok", "second.mp4": "ok"}
    assert rows_of(store, "second.mp4") == kept
    assert len(rows_of(store, "first.mp4")) == len(kept)
    assert "nothing to do" in triptych("--store", store.root, "extract", "mfcc", *options).out
    file.write_text('[[rules]]\nsource = "first*"\nrefuse = ["all"]')
    told = triptych("--store", store.root, "consent", "--consent", file, "--apply")
    assert "withdrawn from 1 media (first.mp4): no reader sees them; their content stays until: triptych" in told.out
    assert len(rows_of(store, "first.mp4")) == len(kept)


def test_what_was_refused_wholly_is_decoded_once_it_is_granted(tmp_path: Path, triptych: Triptych) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    make_clip(folder / "first.mp4", grey=50, hertz=300)
    store = Store.create(tmp_path / "store")
    write(store, '[default]\nrefuse = ["all"]')
    options = ("--runner", "in-process")
    assert triptych("--store", store.root, "ingest", folder, *options).status == 0
    assert read_table(store, "frames").num_rows == 0
    write(store, "")
    told = triptych("--store", store.root, "ingest", folder, *options)
    assert "allowed now, to be decoded by ingest or nightly: 1 media (first.mp4)" in told.err
    assert read_table(store, "frames").num_rows == 2


def rows_of(store: Store, name: str) -> list[list[float]]:
    (media_id,) = [row["media_id"] for row in read_table(store, "media").to_pylist() if row["name"] == name]
    rows = read_table(store, "features/mfcc@1").to_pylist()
    return [row["values"] for row in rows if row["media_id"] == media_id]
