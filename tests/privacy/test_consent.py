"""Consent: what a text of `media.consent` allows, whatever it says."""

from __future__ import annotations

from itertools import combinations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import ConsentError
from features.privacy.consent import PURPOSES, allowed, consent_text, first_refused, purposes_of, refused_purposes
from features.spec import FeatureSpec

SUBSETS = [frozenset(some) for count in range(len(PURPOSES) + 1) for some in combinations(PURPOSES, count)]


def asked(*texts: str | None) -> dict[str, list[bool]]:
    media = pa.table({"consent": pa.array(texts, pa.string())})
    return {purpose: allowed(media, purpose).to_pylist() for purpose in PURPOSES}


@pytest.mark.parametrize("refused", SUBSETS)
def test_a_text_says_what_it_was_made_of(refused: frozenset[str]) -> None:
    text = consent_text(refused)
    assert refused_purposes(text) == refused
    assert asked(text) == {purpose: [purpose not in refused] for purpose in PURPOSES}


def test_texts_of_stores_from_before_mean_what_they_meant() -> None:
    told = asked("granted", "unstated", None, "refused")
    assert told == {purpose: [True, True, True, False] for purpose in PURPOSES}
    assert consent_text(PURPOSES) == "refused"
    assert consent_text(()) == "unstated"
    assert consent_text((), granted=True) == "granted"


@given(st.text(max_size=30))
def test_a_text_that_nobody_knows_allows_nothing(text: str) -> None:
    known = {"granted", "unstated", *(consent_text(refused) for refused in SUBSETS if refused)}
    if text not in known and not (text.startswith("refused:") and set(text[8:].split(",")) <= set(PURPOSES)):
        assert asked(text) == {purpose: [False] for purpose in PURPOSES}


def test_every_row_has_an_answer_in_its_place() -> None:
    media = pa.table({"consent": pa.chunked_array([["refused", None], [], ["refused:training", "granted"]])})
    assert allowed(media, "training").to_pylist() == [False, True, False, True]
    assert allowed(media, "publish").to_pylist() == [False, True, True, True]
    assert len(allowed(media.slice(0, 0), "training")) == 0


def test_an_unknown_purpose_is_told() -> None:
    with pytest.raises(ConsentError, match="no purpose 'trainig'; purposes are features, training, biometric, publish"):
        allowed(pa.table({"consent": ["granted"]}), "trainig")  # type: ignore[arg-type]


@pytest.mark.parametrize(("modality", "wanted"), [("face", True), ("voice", True), ("video", False), ("text", False)])
def test_extractors_that_recognise_people_need_more(modality: str, wanted: bool) -> None:
    spec = FeatureSpec("some", 1, modality, "frames")  # type: ignore[arg-type]
    assert ("biometric" in purposes_of(spec)) == wanted
    assert first_refused("refused:biometric", purposes_of(spec)) == ("biometric" if wanted else None)
    assert first_refused("refused", purposes_of(spec)) == "features"
