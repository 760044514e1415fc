"""How the report puts numbers into words: sizes, durations, times, and what a gain shows."""

from __future__ import annotations

import math
import unicodedata
from typing import TYPE_CHECKING

from features.identity import MICROSECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flows.report.data import ModelSummary

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")
_KILO = 1000
_MINUTE = 60
_HOUR = 3600


def size_words(size_bytes: int) -> str:
    """A size for reading, in decimal units: `512 bytes`, `1.5 MB`."""
    value, unit = float(size_bytes), 0
    while value >= _KILO - 0.05 and unit < len(_UNITS) - 1:
        value, unit = value / _KILO, unit + 1
    return f"{size_bytes:,} bytes" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def duration_words(duration_us: int) -> str:
    """A duration for reading: `4.2 s`, `3 min 20 s`, `2 h 5 min`."""
    seconds = duration_us / MICROSECONDS
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{seconds:.1f} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR:,} h {whole % _HOUR // _MINUTE} min"


def clock(t_us: int) -> str:
    """A time on a media's timeline: `0:04.250`, `1:02:03.000`."""
    milliseconds = t_us // 1000
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    head = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{head}:{seconds:02}.{milliseconds:03}"


def percent(share: float) -> str:
    """A share of one: `78.4 %`."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"


def points(gain: float) -> str:
    """A difference of shares, signed, in percentage points: `+6.1`."""
    return f"{100 * gain:+.1f}".replace("-", "\N{MINUS SIGN}")


def three_digits(value: float | None) -> str:
    """A number with three digits after the point; a dash where there is none."""
    return "\N{EN DASH}" if value is None or not math.isfinite(value) else f"{value:.3f}".replace("-", "\N{MINUS SIGN}")


def interval_words(ends: Sequence[float]) -> str:
    """A value and both ends of its interval: `0.412 (0.380 to 0.450)`; without them, that it is not defined."""
    if not ends:
        return "not defined"
    value, low, high = map(three_digits, ends)
    return f"{value} ({low} to {high})"


def visible(text: str) -> str:
    r"""Text with what does not print (controls, changes of direction, undecodable bytes) written as `\u202e`."""
    return text if text.isprintable() else "".join(map(_visible_letter, text))


def _visible_letter(letter: str) -> str:
    prints = letter.isprintable() or letter in "\n\t" or unicodedata.category(letter) == "Zs"
    return letter if prints else letter.encode("unicode_escape").decode()


def gain_interval(model: ModelSummary) -> tuple[float, float, float] | None:
    """The gain and both ends of its interval, or None where it was not measured."""
    if model.gain is None or model.gain_low is None or model.gain_high is None:
        return None
    measured = (model.gain, model.gain_low, model.gain_high)
    return measured if all(map(math.isfinite, measured)) else None


def gain_claimed(model: ModelSummary) -> bool:
    """Whether the report may say that fusion helps: it is claimed, and the whole interval is above zero."""
    measured = gain_interval(model)
    return model.gain_shown and measured is not None and measured[1] > 0


def gain_words(model: ModelSummary) -> str:
    """What the comparison shows, in one or two sentences; a gain is claimed only where the interval excludes zero."""
    measured = gain_interval(model)
    if measured is None:
        return "Gain not measured: there is no single modality, or no test segment, to compare the fused model with."
    gain, low, high = measured
    interval = f"95 % interval {points(low)} to {points(high)} points"
    best = f"{model.best_single} alone, the best single modality on the dev split"
    difference = f"{points(gain)} points of accuracy over {best}"
    if gain_claimed(model):
        return f"Fusion gains {difference} ({interval})."
    if high < 0:
        return f"Fusion loses: {difference} ({interval})."
    if low > 0:
        return f"No gain is claimed from these data, though the interval excludes 0: {difference} ({interval})."
    return f"No gain shown: the {interval} includes 0. Measured: {difference}."
