from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.errors import TranscriptionError
from features.records import Utterance, Word
from features.transcripts.json_text import parse_json


def _parse(document: Any, language: str | None = None) -> tuple[Utterance, ...]:
    return parse_json(json.dumps(document), name="a.json", language=language)


def test_whisper() -> None:
    words = [
        {"word": " Hi", "start": 0.5, "end": 0.9, "probability": 0.75},
        {"word": " you.", "start": 0.9, "end": 1.5},
    ]
    segment = {"id": 0, "start": 0.5, "end": 1.5, "text": " Hi you.", "words": words}
    assert _parse({"text": " Hi you.", "segments": [segment], "language": "english"}) == (
        Utterance(
            500_000,
            1_500_000,
            "Hi you.",
            "sidecar",
            "en",
            None,
            (Word("Hi", 500_000, 900_000, 0.75), Word("you.", 900_000, 1_500_000)),
        ),
    )


def test_a_plain_list() -> None:
    items = [{"start": 2, "end": 3, "text": "b", "speaker": "Ann"}, {"start": "0:00:01.5", "end": "1.75", "text": "a"}]
    assert _parse(items, "de") == (
        Utterance(1_500_000, 1_750_000, "a", "sidecar", "de"),
        Utterance(2_000_000, 3_000_000, "b", "sidecar", "de", "Ann"),
    )


def test_words_without_times_are_only_in_the_text() -> None:
    words = [{"word": "In"}, {"word": "1990", "score": 2}, {"word": "rain", "start": 1, "end": 2, "score": 0.5}]
    (said,) = _parse({"segments": [{"start": 0, "end": 2, "text": "In 1990 rain", "words": words}]})
    assert said.words == (Word("rain", 1_000_000, 2_000_000, 0.5),)


@pytest.mark.parametrize(
    "document",
    [
        {"chunks": [{"timestamp": [0.0, 1.5], "text": " a"}, {"timestamp": [2.0, None], "text": " b"}]},
        {
            "result": {"language": "en"},
            "transcription": [
                {"offsets": {"from": 0, "to": 1500}, "text": " a"},
                {"offsets": {"from": 2000, "to": 7000}, "text": " b"},
            ],
        },
    ],
)
def test_kin_of_whisper(document: dict[str, Any]) -> None:
    said = _parse(document)
    assert [(one.start_us, one.end_us, one.text) for one in said] == [(0, 1_500_000, "a"), (2_000_000, 7_000_000, "b")]


@pytest.mark.parametrize(
    ("document", "has"),
    [
        ({"title": "x", "uploader": "y"}, "it has 'title', 'uploader'"),
        ([{"from": 0, "to": 1, "text": "a"}], "item 0 has 'from', 'to', 'text'"),
        ({"segments": [{"start": 0, "end": 1, "text": "a"}, 7]}, "item 1 has int"),
        ([{"start": float("nan"), "end": 1, "text": "a"}], "item 0"),
        ([{"start": 1e300, "end": 1, "text": "a"}], "item 0"),
        ([{"start": True, "end": 1, "text": "a"}], "item 0"),
        ([], "it has list"),
        ("words", "it has str"),
        ({}, "it has no keys"),
    ],
)
def test_others_are_refused_with_the_keys_that_are_expected(document: Any, has: str) -> None:
    with pytest.raises(TranscriptionError) as refused:
        _parse(document)
    for part in ("a.json", has, "'segments'", "'start'", "'end'", "'text'"):
        assert part in str(refused.value)


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "1" * 5000])
def test_what_is_no_json_is_refused(content: str) -> None:
    with pytest.raises(TranscriptionError, match=r"a\.json"):
        parse_json(content, name="a.json")


def test_a_transcript_that_says_nothing_is_refused() -> None:
    with pytest.raises(TranscriptionError, match="nothing is said"):
        _parse([{"start": 0, "end": 1, "text": " "}])


_LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_KEYS = st.sampled_from(
    ["segments", "start", "end", "text", "words", "word", "timestamp", "offsets", "from", "speaker"]
)
_DOCUMENTS = st.recursive(
    _LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=6), max_leaves=20
)


@given(_DOCUMENTS)
def test_any_document_is_rows_or_our_error(document: Any) -> None:
    try:
        said = _parse(document)
    except TranscriptionError:
        return
    assert all(0 <= one.start_us < one.end_us and one.text.encode() for one in said)
