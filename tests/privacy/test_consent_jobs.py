"""Consent where the jobs ask it: what is decoded, what is extracted, and by which extractors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from features.extractors import registry
from features.privacy.consent_policy import read_policy
from features.spec import FeatureSpec
from features.store import Store, read_table
from pipelines.consented import apply_consent
from tests.pipelines.clips import Clips, make_clip
from tests.pipelines.extractors import Sizes
from tests.pipelines.running import config, extract_here, ingest_here

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

POLICY = """
[default]
refuse = ["biometric"]

[[rules]]
source = "never*"
refuse = ["all"]

[[rules]]
source = "unseen*"
refuse = ["features"]

[[rules]]
source = "known*"
grant = ["biometric"]
"""
NAMES = ("known.mp4", "never.mp4", "plain.mp4", "unseen.mp4")


class Faces(Sizes):
    """Stands for an extractor that recognises people."""

    spec = FeatureSpec("faces", 1, "face", "frames", shape=(2,))


@pytest.fixture(autouse=True)
def extractors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry._BUILT_IN, "sizes", "tests.pipelines.extractors:Sizes")
    monkeypatch.setitem(registry._BUILT_IN, "faces", f"{__name__}:Faces")
    registry._entries.cache_clear()
    yield
    registry._entries.cache_clear()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    folder = tmp_path_factory.mktemp("clips")
    for number, name in enumerate(NAMES):
        make_clip(folder / name, grey=30 * number, hertz=None)
    return Clips(folder, NAMES)


@pytest.fixture
def store(clips: Clips, tmp_path: Path) -> Store:
    path = tmp_path / "consent.toml"
    path.write_text(POLICY)
    return ingest_here(tmp_path / "store", config([clips.folder], consent=str(path)))[0]


def consent(store: Store) -> dict[str, str]:
    return {row["name"]: row["consent"] for row in read_table(store, "media").to_pylist()}


def found(store: Store, key: str) -> dict[str, tuple[str, int, str | None]]:
    names = {row["media_id"]: row["name"] for row in read_table(store, "media").to_pylist()}
    rows = read_table(store, f"coverage/{key}").to_pylist()
    return {names[row["media_id"]]: (row["status"], row["num_rows"], row["message"]) for row in rows}


def test_media_come_in_with_the_consent_of_the_file(store: Store) -> None:
    assert consent(store) == {
        "known.mp4": "unstated",
        "never.mp4": "refused",
        "plain.mp4": "refused:biometric",
        "unseen.mp4": "refused:features,biometric",
    }
    pictures = set(read_table(store, "frames")["media_id"].to_pylist())
    assert len(pictures) == 3
    assert "refused" not in {
        row["consent"] for row in read_table(store, "media").to_pylist() if row["media_id"] in pictures
    }
    assert set(read_table(store, "sources")["consent"].to_pylist()) == {"unstated"}


def test_the_store_s_own_file_is_read_without_being_named(clips: Clips, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "store")
    (store.path / "consent.toml").write_text(POLICY)
    ingest_here(store.root, config([clips.folder]))
    assert consent(store)["never.mp4"] == "refused"


def test_each_extractor_leaves_out_what_it_has_no_consent_for(store: Store) -> None:
    """They read the same pictures in the same wave, and yet not the same media."""
    extract_here(store, "sizes", "faces")
    assert found(store, "sizes@1") == {
        "known.mp4": ("ok", 2, None),
        "plain.mp4": ("ok", 2, None),
        "never.mp4": ("skipped", 0, "consent refused for features"),
        "unseen.mp4": ("skipped", 0, "consent refused for features"),
    }
    assert found(store, "faces@1") == {
        "known.mp4": ("ok", 2, None),
        "plain.mp4": ("skipped", 0, "consent refused for biometric"),
        "never.mp4": ("skipped", 0, "consent refused for features"),
        "unseen.mp4": ("skipped", 0, "consent refused for features"),
    }
    assert len(set(read_table(store, "features/faces@1")["media_id"].to_pylist())) == 1


def test_a_file_that_changes_between_plan_and_ingest_holds(clips: Clips, tmp_path: Path) -> None:
    """The batch was planned before anybody refused; a night later it is still not decoded."""
    from flows import stages
    from pipelines import ingest
    from pipelines.runners import pipeline_options

    given = config([clips.folder])
    store, (wave,) = stages.plan_ingest(given, str(tmp_path / "store"), "first")
    (store.path / "consent.toml").write_text('[default]\nrefuse = ["all"]')
    ingest.run(given, wave, pipeline_options(given))
    assert set(consent(store).values()) == {"refused"}
    assert read_table(store, "frames").num_rows == 0


def test_what_came_in_and_was_refused_later_is_not_extracted(clips: Clips, tmp_path: Path) -> None:
    store, _ = ingest_here(tmp_path / "store", config([clips.folder]))
    (tmp_path / "consent.toml").write_text('[[rules]]\nsource = "plain*"\nrefuse = ["all"]')
    apply_consent(store, read_policy(tmp_path / "consent.toml"), "run")
    extract_here(store, "sizes")
    assert {name: status for name, (status, *_) in found(store, "sizes@1").items()} == {
        "known.mp4": "ok",
        "never.mp4": "ok",
        "plain.mp4": "skipped",
        "unseen.mp4": "ok",
    }
    assert read_table(store, "frames").num_rows == 8
