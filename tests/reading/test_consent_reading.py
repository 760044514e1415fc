"""Media whose consent refuses what features are read for have no segments, now and as of any time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from features.privacy.consent_policy import ConsentPolicy, Default, Rule
from features.reading import open_features
from pipelines.consented import apply_consent

if TYPE_CHECKING:
    from features.reading.open import FeatureReader
    from features.store import Store

POLICY = ConsentPolicy(Default(), (Rule(source="a.mp4", refuse=("training",)),))


def media_of(reader: FeatureReader) -> set[str]:
    return set(reader.to_arrow().read_all()["media_id"].to_pylist())


@pytest.mark.parametrize("segmentation", ["window:2s", "whole", "utterances", "labels:mood"])
def test_refused_media_have_no_segments(store: Store, segmentation: str) -> None:
    before = media_of(open_features(store, ["words"], segmentation))
    apply_consent(store, POLICY, "run")
    assert before - media_of(open_features(store, ["words"], segmentation)) == {"a"}
    assert media_of(open_features(store, ["words"], segmentation, purpose="features")) == before


def test_a_withdrawal_holds_for_older_versions_too(store: Store) -> None:
    reader = open_features(store, ["words"])
    assert "a" in media_of(reader)
    apply_consent(store, POLICY, "run")
    again = open_features(store, ["words"], as_of=reader.versions)
    assert "a" not in media_of(again)
    assert again.media("a").num_rows == 0
