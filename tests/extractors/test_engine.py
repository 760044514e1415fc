"""The engine: batches across media, coverage, and failures that cost their own media only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from features.extractors.efficientnet import EfficientNetLite0
from features.extractors.engine import extract_media
from features.extractors.mfcc import Mfcc
from features.extractors.minilm import MiniLM
from tests.extractors.making import Lengths, media, run, utterances_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from features.extractors.base import Extractor
    from features.records import MediaRows


def _archive() -> list[MediaRows]:
    texts = {"a": ["one"], "b": ["two", "three", "four", "five"], "c": [], "d": ["six", "seven"], "e": ["eight"] * 9}
    return [media(name, utterances=utterances_of(*words), has="text") for name, words in texts.items()]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 64])
def test_rows_and_order_do_not_depend_on_the_batch(batch_size: int) -> None:
    results = run(Lengths(), _archive(), batch_size=batch_size)
    assert [(result.media_id, result.status) for result in results] == [
        ("a", "ok"),
        ("b", "ok"),
        ("c", "empty"),
        ("d", "ok"),
        ("e", "ok"),
    ]
    assert [tuple(row.values) for row in results[1].rows] == [(3, 3), (5, 5), (4, 4), (4, 4)]
    assert [row.start_us for row in results[1].rows] == [0, 1_000_000, 2_000_000, 3_000_000]
    assert len(results[4].rows) == 9


def test_a_batch_takes_items_of_several_media() -> None:
    extractor = Lengths()
    run(extractor, _archive(), batch_size=4)
    assert extractor.batches == [4, 4, 4, 4]


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("explosive", "RuntimeError", "explosive (in the extractor 'lengths' of the package 'tests')"),
        ("nan", "ExtractionError", "[1000000, 2000000) µs: 'lengths@1' gave NaN or infinity"),
        ("inf", "ExtractionError", "NaN or infinity"),
        ("long", "ExtractionError", "3 values instead of 2"),
        ("nothing", "ExtractionError", "zeros alone"),
        ("lost", "ExtractionError", "gave 0 outputs for 1 items"),
        ("huge", "ExtractionError", "more memory than there is"),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_failure_costs_its_own_item_only(text: str, error: str, part: str, batch_size: int) -> None:
    archive = _archive()
    archive.insert(2, media("bad", utterances=utterances_of("fine", text, "fine")))
    results = run(Lengths(), archive, batch_size=batch_size)
    bad = results.pop(2)
    assert (bad.status, bad.error) == ("partial", error)
    assert [(row.start_us, tuple(row.values)) for row in bad.rows] == [(0, (4, 4)), (2_000_000, (4, 4))]
    assert (bad.message or "").startswith("1 of 3 transcripts failed: [1000000, 2000000) µs: ")
    assert part in (bad.message or "")
    assert results == run(Lengths(), _archive())


def test_a_media_all_of_whose_items_fail_has_failed() -> None:
    (result,) = run(Lengths(), [media(utterances=utterances_of(*["explosive"] * 5))])
    assert (result.status, result.error, result.rows) == ("failed", "RuntimeError", ())
    assert (result.message or "").startswith("5 of 5 transcripts failed: [0, 1000000) µs: explosive")
    assert (result.message or "").endswith("; and 2 more")


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_media_that_cannot_be_read_fails_alone(batch_size: int) -> None:
    archive = _archive()
    archive.insert(2, media("bad", utterances=utterances_of("fine", "unreadable", "fine")))
    results = run(Lengths(), archive, batch_size=batch_size)
    bad = results.pop(2)
    assert (bad.status, bad.error, bad.rows) == ("failed", "ValueError", ())
    assert "unreadable" in (bad.message or "")
    assert results == run(Lengths(), _archive())


def test_a_media_that_cannot_be_finished_fails_alone() -> None:
    medias = [media(name, utterances=utterances_of("one")) for name in ("a", "unfinishable", "b")]
    assert [result.status for result in run(Lengths(), medias)] == ["ok", "failed", "ok"]


def test_memory_that_runs_out_halves_the_batch_and_goes_on() -> None:
    extractor = Lengths(memory_items=3)
    archive = [media(name, utterances=utterances_of(*["word"] * 8)) for name in "abc"]
    results = run(extractor, archive, batch_size=16)
    assert results == run(Lengths(), archive)
    assert extractor.batches[:3] == [16, 8, 4], "halved until it fits"
    assert set(extractor.batches[4:]) == {2}, "and never tried again"


@pytest.mark.parametrize(
    ("extractor", "has", "status"),
    [
        (EfficientNetLite0(), "", "absent"),
        (EfficientNetLite0(), "video", "empty"),
        (Mfcc(), "video", "absent"),
        (Mfcc(), "audio", "empty"),
        (MiniLM(), "video", "absent"),
        (MiniLM(), "audio", "empty"),
        (MiniLM(), "text", "empty"),
    ],
)
def test_an_absent_track_is_told_from_an_empty_one(extractor: Extractor, has: str, status: str) -> None:
    (result,) = run(extractor, [media(has=has)])
    assert (result.status, result.rows, result.error) == (status, (), None)


def test_media_are_read_only_as_far_as_a_batch_needs() -> None:
    read: list[str] = []

    def medias() -> Iterator[MediaRows]:
        for index in range(10):
            read.append(str(index))
            yield media(str(index), utterances=utterances_of("one", "two"))

    results = extract_media(Lengths(), None, medias(), batch_size=4)
    assert next(results).media_id == "0"
    assert read == ["0", "1"]


def test_progress_is_told_for_calls_and_media() -> None:
    calls: list[int] = []
    list(extract_media(Lengths(), None, _archive(), batch_size=4, on_progress=lambda: calls.append(1)))
    assert len(calls) == 4 + 5
