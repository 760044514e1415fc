from __future__ import annotations

import random

import pytest

from features.records import Utterance
from features.transcripts.choice import best_text, source_rank


def _said(start_us: int, source: str, language: str | None = None) -> Utterance:
    return Utterance(start_us, start_us + 1, f"{source} {language} {start_us}", source, language)


ALL = (
    _said(0, "subtitle", "fr"),
    _said(1, "subtitle", "de"),
    _said(5, "subtitle", "de"),
    _said(0, "sidecar"),
    _said(0, "asr:pocketsphinx", "en"),
    _said(3, "asr:whisper", "en"),
)


@pytest.mark.parametrize(
    ("exclude", "source", "starts"),
    [
        ((), "subtitle", [1, 5]),
        (("subtitle",), "sidecar", [0]),
        (("subtitle", "sidecar"), "asr:pocketsphinx", [0]),
        (("subtitle", "sidecar", "asr:pocketsphinx"), "asr:whisper", [3]),
    ],
)
def test_the_best_class_that_is_there(exclude: tuple[str, ...], source: str, starts: list[int]) -> None:
    chosen = best_text(ALL, exclude=exclude)
    assert {utterance.source for utterance in chosen} == {source}
    assert [utterance.start_us for utterance in chosen] == starts


def test_excluding_all_leaves_nothing() -> None:
    assert best_text(ALL, exclude=("subtitle", "sidecar", "asr")) == ()
    assert best_text(()) == ()


def test_the_default_language_comes_first() -> None:
    assert {utterance.language for utterance in best_text(ALL, language="fr")} == {"fr"}
    assert {utterance.language for utterance in best_text(ALL, language="ja")} == {"de"}


def test_order_does_not_matter() -> None:
    shuffled = list(ALL)
    random.Random(1).shuffle(shuffled)
    assert best_text(shuffled) == best_text(ALL)


SOURCES = [
    "subtitle",
    "subtitle:2",
    "subtitle:sdh",
    "sidecar",
    "sidecar:2",
    "sidecar:10",
    "sidecar:sdh",
    "sidecar:untimed",
    "asr:pocketsphinx",
    "asr:whisper",
    "subtitle:commentary",
    "subtitle:forced",
    "sidecar:forced",
]


def test_order_of_sources() -> None:
    assert sorted(reversed(SOURCES), key=source_rank) == SOURCES
    said = [_said(0, source, "en") for source in SOURCES]
    while said:
        assert best_text(said) == (said.pop(0),)


def test_a_language_counts_more_than_sounds_told() -> None:
    said = [_said(0, "subtitle", "fr"), _said(0, "subtitle:sdh", "en"), _said(0, "subtitle:forced", "de")]
    assert [best_text(said, language=language)[0].language for language in ("en", "fr", "de", "en-GB")] == [
        *("en", "fr", "fr", "en"),
    ]
