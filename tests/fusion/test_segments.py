from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc
import pytest

from features.errors import ConfigError
from features.fusion.segments import SEGMENTS, check_shots, keys_of, parse_segmentation, segments_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

SECOND = 1_000_000


@pytest.fixture
def media(make_table: Callable[..., pa.Table]) -> pa.Table:
    durations: dict[str, int | None] = {"b": 25 * SECOND, "a": 10 * SECOND, "refused": None}
    return make_table("media", [{"media_id": name, "duration_us": us} for name, us in durations.items()])


def test_whole_and_windows_cover_the_media(media: pa.Table) -> None:
    assert keys_of(segments_of("whole", media)) == [("b", 0, 25 * SECOND), ("a", 0, 10 * SECOND)]
    windows = segments_of("window:10s", media)
    assert windows.schema == SEGMENTS
    assert keys_of(windows) == [
        ("b", 0, 10 * SECOND),
        ("b", 10 * SECOND, 20 * SECOND),
        ("b", 20 * SECOND, 25 * SECOND),
        ("a", 0, 10 * SECOND),
    ]


@pytest.mark.parametrize(
    ("text", "us"), [("window:500ms", 500_000), ("window:2.5s", 2_500_000), ("window:3s", 3_000_000)]
)
def test_window_lengths(text: str, us: int) -> None:
    assert parse_segmentation(text).window_us == us


@pytest.mark.parametrize(
    "text", ["", "wholes", "window", "window:", "window:0s", "window:-1s", "window:10", "labels:", "labels:a/b"]
)
def test_bad_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="there is no segmentation"):
        parse_segmentation(text)


def test_spans_of_labels_come_once_in_order(media: pa.Table, make_table: Callable[..., pa.Table]) -> None:
    rows: list[dict[str, Any]] = [
        {"media_id": "a", "start_us": 5, "end_us": 9, "class": "x"},
        {"media_id": "a", "start_us": 5, "end_us": 9, "class": "y"},
        {"media_id": "b", "start_us": None, "end_us": None, "class": "x"},
        {"media_id": "a", "start_us": 0, "end_us": 4, "class": "x"},
        {"media_id": "unknown", "start_us": 0, "end_us": 4, "class": "x"},
        {"media_id": "refused", "start_us": None, "end_us": None, "class": "x"},
    ]
    found = keys_of(segments_of("labels:mood", media, make_table("labels/mood", rows)))
    assert found == [("b", 0, 25 * SECOND), ("a", 0, 4), ("a", 5, 9)]


def test_utterances(media: pa.Table, make_table: Callable[..., pa.Table]) -> None:
    rows = [{"media_id": "a", "start_us": 7, "end_us": 9}, {"media_id": "b", "start_us": 1, "end_us": 2}]
    assert keys_of(segments_of("utterances", media, transcripts=make_table("transcripts", rows))) == [
        ("b", 1, 2),
        ("a", 7, 9),
    ]


def test_shots(media: pa.Table, make_table: Callable[..., pa.Table]) -> None:
    rows = [{"media_id": "a", "start_us": 4, "end_us": 9}, {"media_id": "a", "start_us": 0, "end_us": 4}]
    shots = make_table("shots@1", rows)
    assert keys_of(segments_of("shots", media, shots=shots)) == [("a", 0, 4), ("a", 4, 9)]


def test_media_with_video_and_no_shots_are_refused(make_table: Callable[..., pa.Table]) -> None:
    shots = make_table("shots@1", [{"media_id": "a", "start_us": 0, "end_us": 4}])
    media = make_table("media", [{"media_id": name, "has_video": name != "sound"} for name in ("a", "b", "sound")])
    with pytest.raises(ConfigError, match=r"1 of 2 media with video have no shots \(such as b\).* --shots"):
        check_shots(media, shots)
    check_shots(media.filter(pc.not_equal(media["media_id"], "b")), shots)
    check_shots(media.slice(2), shots.slice(0, 0))


@pytest.mark.parametrize("text", ["utterances", "shots", "labels:mood"])
def test_a_missing_table_is_named(media: pa.Table, text: str) -> None:
    with pytest.raises(ConfigError, match=f"{text!r} needs the rows"):
        segments_of(text, media)
