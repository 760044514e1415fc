from __future__ import annotations

from datetime import UTC, datetime

import pytest

from flows.report.data import ModelSummary
from flows.report.words import clock, duration_words, gain_claimed, gain_words, percent, points, size_words


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (3_700_000_000, "3.7 GB")],
)
def test_sizes(size_bytes: int, words: str) -> None:
    assert size_words(size_bytes) == words


@pytest.mark.parametrize(
    ("duration_us", "words"),
    [
        (4_200_000, "4.2 s"),
        (59_600_000, "1 min 0 s"),
        (200_000_000, "3 min 20 s"),
        (7_500_000_000, "2 h 5 min"),
        (36_000_000_000_000, "10,000 h 0 min"),
    ],
)
def test_durations(duration_us: int, words: str) -> None:
    assert duration_words(duration_us) == words


@pytest.mark.parametrize(("t_us", "words"), [(0, "0:00.000"), (4_250_999, "0:04.250"), (3_723_000_000, "1:02:03.000")])
def test_clock(t_us: int, words: str) -> None:
    assert clock(t_us) == words


def test_shares() -> None:
    assert percent(0.784) == "78.4\N{NO-BREAK SPACE}%"
    assert points(0.061) == "+6.1"
    assert points(-0.02) == "\N{MINUS SIGN}2.0"


def _model(low: float, high: float, *, shown: bool) -> ModelSummary:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    gain = (low + high) / 2
    return ModelSummary("m", "1", "t", ("a", "b"), now, (), gain, low, high, shown, "text", 10, 5, 5)


@pytest.mark.parametrize(
    ("low", "high", "shown", "start"),
    [
        (0.01, 0.1, True, "Fusion gains +5.5 points"),
        (0.01, 0.1, False, "No gain is claimed"),
        (0.0, 0.1, True, "No gain shown"),
        (-0.1, 0.1, False, "No gain shown"),
        (-0.1, -0.02, False, "Fusion loses"),
    ],
)
def test_gain_is_put_into_words(low: float, high: float, shown: bool, start: str) -> None:
    model = _model(low, high, shown=shown)
    assert gain_words(model).startswith(start)
    assert gain_claimed(model) == start.startswith("Fusion gains")
