"""Figures of how far a model can be believed: a reliability diagram, and predictions against the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from flows.report.plot import ACCENT, BAR, INK, MUTED, STYLE, bare, to_svg
from flows.report.words import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from features.fusion.calibration import CalibrationBin
    from flows.report.data import ModelSummary, RegressionSummary

_TICKS = ((0, 0.25, 0.5, 0.75, 1.0), ("0", "25", "50", "75", "100 %"))
_DASHES = (0, (4, 3))


def reliability_svg(model: ModelSummary) -> str:
    """Inline SVG: confidence against the share that is right, before and after the temperature, and rows by bin.

    Reference:
        Guo et al. (2017), arXiv:1706.04599, figure 4.
    """
    if model.calibration is None or not model.calibration.bins:
        return ""
    before, after = model.calibration.bins_before, model.calibration.bins
    with mpl.rc_context(
        {**STYLE, "svg.hashsalt": visible(f"reliability of {model.name}@{model.version} {model.task}")}
    ):
        figure = Figure(figsize=(5.2, 5.2), layout="constrained")
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
        top.plot([0, 1], [0, 1], color=MUTED, linestyle=_DASHES, linewidth=1.2)
        if before:
            _line(top, before, BAR, "without temperature", "s")
        _line(top, after, ACCENT, "with temperature", "o")
        top.set_ylim(-0.03, 1.03)
        top.set_yticks(*_TICKS)
        top.set_ylabel("share right")
        top.legend(frameon=False, loc="upper left", fontsize=9.5)
        bare(top)
        _counts(bottom, after)
        bottom.set_xlim(-0.02, 1.02)
        bottom.set_xticks(*_TICKS)
        bottom.set_xlabel("confidence")
        return to_svg(figure)


def _line(axes: Axes, bins: Sequence[CalibrationBin], colour: str, label: str, marker: str) -> None:
    """A bin's mark is the larger the more rows it holds: those of one row say little."""
    places = [item.confidence for item in bins], [item.accuracy for item in bins]
    most = max(item.num_rows for item in bins)
    axes.plot(*places, color=colour, linewidth=1, alpha=0.6)
    sizes = [15 + 105 * item.num_rows / most for item in bins]
    axes.scatter(*places, s=sizes, color=colour, marker=marker, linewidths=0, label=label, clip_on=False)


def _counts(axes: Axes, bins: Sequence[CalibrationBin]) -> None:
    for item in bins:
        middle = (item.low + item.high) / 2
        axes.bar(middle, item.num_rows, width=0.82 * (item.high - item.low), color=ACCENT)
        axes.text(middle, item.num_rows, f"{item.num_rows:,}", ha="center", va="bottom", fontsize=8.5)
    axes.set_ylim(0, 1.28 * max(item.num_rows for item in bins))
    axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
    axes.set_ylabel("segments")
    bare(axes)


def scatter_svg(model: RegressionSummary) -> str:
    """Inline SVG: what the fused model says of test rows against their labels; on the dashed line they are equal."""
    if model.agreement is None or not model.agreement.points:
        return ""
    truth = [point.truth for point in model.agreement.points]
    said = [point.predicted for point in model.agreement.points]
    low, high = min(*truth, *said), max(*truth, *said)
    margin = 0.05 * (high - low) or 0.5
    ends = (low - margin, high + margin)
    with mpl.rc_context({**STYLE, "svg.hashsalt": visible(f"scatter of {model.name}@{model.version} {model.task}")}):
        figure = Figure(figsize=(4.8, 4.6), layout="constrained")
        axes = figure.subplots()
        axes.plot(ends, ends, color=INK, linestyle=_DASHES, linewidth=1.2)
        axes.scatter(truth, said, s=18, color=ACCENT, alpha=0.55, linewidths=0)
        axes.set_xlim(ends)
        axes.set_ylim(ends)
        axes.set_aspect("equal")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5))
        axes.set_xlabel("label")
        axes.set_ylabel("predicted")
        bare(axes)
        return to_svg(figure)
