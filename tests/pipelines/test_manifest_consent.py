"""Consent in manifests: what a row, a glob or a person in it says, before anything is decoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from features.store.read import read_table
from pipelines.sources import list_sources
from tests.pipelines.running import config, ingest_here
from tests.samples.making import write_image, write_manifest, write_sound

if TYPE_CHECKING:
    from pathlib import Path


def test_a_person_who_refused_is_known_before_anything_is_decoded(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_sound(tmp_path / "a.wav")
    rows = [
        {"media_name": "one", "image": "a.png", "audio": "a.wav", "text": "well", "subject_ids": "s2;s1"},
        {"media_name": "two", "image": "a.png", "text": "so"},
    ]
    policy = tmp_path / "consent.toml"
    policy.write_text('[[rules]]\nsubject = "s2"\nrefuse = ["all"]\n', encoding="utf-8")
    manifest = write_manifest(tmp_path / "samples.csv", rows)
    store, _ = ingest_here(tmp_path / "store", config([manifest], consent=str(policy)))
    media = {row["name"]: row for row in read_table(store, "media").to_pylist()}
    assert (media["one"]["consent"], media["one"]["has_video"]) == ("refused", False)
    ids = {
        row["media_id"] for table in ("frames", "audio", "transcripts") for row in read_table(store, table).to_pylist()
    }
    assert ids == {media["two"]["media_id"]}


def test_consent_is_stated_by_a_row_or_a_glob(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.jpg")
    write_sound(tmp_path / "a.wav")
    rows = [
        {"image": "a.png", "text": "x", "consent": "granted"},
        {"image": "b.jpg", "consent": "refused"},
        {"image": "a.png", "audio": "a.wav", "media_name": "secret"},
        {"text": "nothing said", "media_name": "open"},
    ]
    manifest = write_manifest(tmp_path / "m.jsonl", rows)

    def consents(*refuse: str) -> list[str]:
        return [source.consent for source in list_sources([str(manifest)], refuse=refuse)]

    assert consents() == ["granted", "refused", "unstated", "unstated"]
    assert consents("*.wav") == ["granted", "refused", "refused", "unstated"]
    assert consents("secret", "a.png") == ["refused", "refused", "refused", "unstated"]
