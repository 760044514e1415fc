"""The comparison of a model as a figure: accuracy of each way to predict, and the gain with its interval."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flows.report.words import gain_claimed, gain_interval, percent, points, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.typing import RcKeyType

    from flows.report.data import MetricsRow, ModelSummary

MAJORITY = "majority"
"""Name of the metrics row of always guessing the most frequent class."""

# Colours that the figure is drawn in, and the page's own that take their place, so that it follows light and dark.
INK, MUTED, ACCENT, BAR = "#010203", "#040506", "#070809", "#0a0b0c"
_PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", ACCENT: "var(--accent)", BAR: "var(--bar)"}
STYLE: dict[RcKeyType, Any] = {
    "text.parse_math": False,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "axes.edgecolor": MUTED,
}


def comparison_svg(model: ModelSummary) -> str:
    """Inline SVG of the comparison, or an empty string where nothing was measured."""
    if not model.rows:
        return ""
    style = dict(STYLE)
    style["svg.hashsalt"] = visible(f"{model.name}@{model.version}")  # keeps the ids of two figures on a page apart
    with mpl.rc_context(style):
        measured = gain_interval(model)
        bars = [row for row in model.rows if row.name != MAJORITY]
        heights = [0.46 * len(bars) + 0.5, 0.9][: 1 if measured is None else 2]
        figure = Figure(figsize=(7.4, sum(heights) + 0.5), layout="constrained")
        axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
        _draw_accuracies(axes[0], bars, [row for row in model.rows if row.name == MAJORITY])
        if measured is not None:
            _draw_gain(axes[1], measured, model.best_single, ACCENT if gain_claimed(model) else MUTED)
        return to_svg(figure)


def _draw_accuracies(axes: Axes, bars: list[MetricsRow], majority: list[MetricsRow]) -> None:
    positions = range(len(bars))
    colours = [ACCENT if row.name == "fused" else BAR for row in bars]
    axes.barh(positions, [row.accuracy for row in bars], height=0.56, color=colours)
    for position, row in enumerate(bars):
        axes.text(row.accuracy + 0.012, position, percent(row.accuracy), va="center", fontsize=10)
    for row in majority:
        axes.axvline(row.accuracy, color=INK, linestyle=(0, (4, 3)), linewidth=1.2)
        axes.text(row.accuracy, -0.62, f"majority {percent(row.accuracy)}", ha="center", va="bottom", fontsize=9)
    axes.set_yticks(positions, [visible(row.name) for row in bars])
    axes.set_ylim(len(bars) - 0.5, -0.6)
    axes.set_xlim(0, 1.08)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100 %"])
    axes.set_xlabel("accuracy on the test split")
    bare(axes)


def _draw_gain(axes: Axes, measured: tuple[float, float, float], rival: str, colour: str) -> None:
    gain, low, high = measured
    reach = 1.25 * max(abs(low), abs(high), 0.04)
    axes.axvline(0, color=INK, linewidth=1.2)
    axes.plot([low, high], [0, 0], color=colour, linewidth=3, solid_capstyle="round")
    axes.plot([gain], [0], "o", color=colour, markersize=9)
    axes.text(gain, 0.42, points(gain), ha="center", va="bottom", fontsize=10)
    axes.set_ylim(-0.9, 1.3)
    axes.set_xlim(-reach, reach)
    axes.set_yticks([0], [f"gain over {visible(rival)}"])
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(lambda value, _: "0" if abs(value) < 1e-9 else f"{points(value)}")
    axes.set_xlabel("points of accuracy, with the 95 % interval")
    bare(axes)


def bare(axes: Axes) -> None:
    """Leave out what frames the drawing."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.patch.set_visible(False)


def to_svg(figure: Figure) -> str:
    """The drawing without XML's head, metadata or fixed size, in the page's colours."""
    figure.patch.set_visible(False)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # nothing refers to groups, and two figures would repeat their names
    svg = re.sub(r' xmlns:?[a-z]*="[^"]*"', "", svg).replace("xlink:href", "href")
    for drawn, shown in _PAGE_COLOURS.items():
        svg = svg.replace(drawn, shown)
    return svg.strip()
