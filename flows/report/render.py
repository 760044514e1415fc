"""Draws the report: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from features.errors import StoreError
from features.store.storage import is_remote, put_bytes, remedy
from flows.report import words
from flows.report.agreement import reliability_svg, scatter_svg
from flows.report.plot import comparison_svg

if TYPE_CHECKING:
    from flows.report.data import ModelSummary, RegressionSummary, ReportData

_USUAL = ("video", "audio", "text")


def render(data: ReportData) -> str:
    """The report as one HTML page without external resources.

    Args:
        data: What to show; every text in it is escaped.
    """
    return _environment().get_template("report.html.j2").render(data=data)


def write_report(data: ReportData, path: Path) -> None:
    """Render the report into a file, which is replaced in one step.

    Args:
        data: What to show.
        path: The HTML file; missing folders are made.

    Raises:
        StoreError: The file cannot be written.
    """
    page = render(data)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, page)
    except OSError as error:
        what = remedy(path, error, "name another file with --out")
        message = f"cannot write the report to {str(path)!r} ({error.strerror or error}); {what}"
        raise StoreError(message) from error


def _replace(path: Path, text: str) -> None:
    if is_remote(path):
        put_bytes(path, text.encode())
        return
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".new", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "size": words.size_words,
        "duration": words.duration_words,
        "clock": words.clock,
        "percent": words.percent,
        "gain_words": words.gain_words,
        "gain_claimed": words.gain_claimed,
        "modalities": _modalities,
        "data_uri": _data_uri,
        "plot": _plot,
        "three_digits": words.three_digits,
        "interval": words.interval_words,
        "reliability": _reliability,
        "scatter": _scatter,
    }
    return environment


def _visible(value: object) -> object:
    return words.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _modalities(data: ReportData) -> list[str]:
    """All modalities that any shown segment used, the three usual ones first."""
    used = {modality for score in data.scores for modality in score.present}
    return [name for name in _USUAL if name in used] + sorted(used - set(_USUAL))


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def _plot(model: ModelSummary) -> Markup:
    """The figure as markup: safe, because matplotlib escapes the texts that it draws."""
    return Markup(comparison_svg(model))  # noqa: S704


def _reliability(model: ModelSummary) -> Markup:
    return Markup(reliability_svg(model))  # noqa: S704 - as `_plot`


def _scatter(model: RegressionSummary) -> Markup:
    return Markup(scatter_svg(model))  # noqa: S704 - as `_plot`
