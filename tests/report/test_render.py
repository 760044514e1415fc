from __future__ import annotations

import base64
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from features.errors import StoreError
from flows.report.data import (
    CoverageRow,
    FailureRow,
    MetricsRow,
    ModelSummary,
    ReportData,
    ScoredSegment,
    TableCount,
    Thumb,
)
from flows.report.render import render, write_report

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
VOID = {"meta", "img", "br", "path", "use", "link", "hr", "input"}
MODEL = ModelSummary(
    name="sentiment",
    version="1",
    task="sentiment",
    classes=("negative", "positive"),
    created_at=NOW,
    rows=tuple(MetricsRow(name, 0.7, 0.7, 0.7, 0.7, 100) for name in ("fused", "video", "audio", "text", "majority")),
    gain=0.06,
    gain_low=0.01,
    gain_high=0.11,
    gain_shown=True,
    best_single="text",
    num_train=400,
    num_dev=80,
    num_test=100,
)
SCORE = ScoredSegment(
    "ab" * 16, "a.mp4", 0, 5_000_000, "sentiment", "positive", 0.83, False, ("video", "text"), (0.6, 0.4)
)
ABSTAINED = ScoredSegment("cd" * 16, "b.mp4", 0, 4_000_000, "sentiment", None, None, True, ())
FULL = ReportData(
    store="/data/store",
    created_at=NOW,
    tables=(TableCount("media", 46, 3, 1_234_567),),
    num_media=46,
    total_duration_us=271_000_000,
    coverage=(CoverageRow("mfcc@1", ok=45, absent=1),),
    contact_sheet=(Thumb("ab" * 16, "a.mp4", 1_500_000, b"\xff\xd8jpeg"),),
    models=(MODEL, replace(MODEL, name="control", gain_low=-0.02, gain_shown=False)),
    scores=(SCORE, ABSTAINED, replace(SCORE, present=("audio",), contributions=())),
    num_scores=271,
    failures=(FailureRow("ingest", "/data/x.mp4", "DecodeError", "moov atom not found", 1, NOW),),
    notes=("The data are synthetic.",),
)


class _Page(HTMLParser):
    """Checks that tags nest, and keeps what a reader would see."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "script"} & set(self.open):
            self.text.append(data)


def _read(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


def _text(html: str) -> str:
    return " ".join(" ".join(_read(html).text).split())


@pytest.mark.parametrize("data", [FULL, ReportData(store="s", created_at=NOW)], ids=["full", "empty"])
def test_page_is_well_formed_and_stands_alone(data: ReportData) -> None:
    html = render(data)
    page = _read(html)
    assert html.startswith("<!DOCTYPE html>")
    for tag, attributes in page.tags:
        assert tag not in {"script", "link", "iframe", "object"}
        for name in ("src", "href", "xlink:href"):
            if value := attributes.get(name):
                assert value.startswith(("#", "data:image/jpeg;base64,"))
        if tag == "img":
            assert attributes["alt"]
        if tag == "th":
            assert attributes["scope"] in {"row", "col"}
    assert not re.search(r"https?://|@import|url\(\s*['\"]?(?!#)", html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_full_page_shows_every_part() -> None:
    html = render(FULL)
    text = _text(html)
    for part in ("46", "4 min 31 s", "1.2 MB", "mfcc@1", "0:01.500", "83.0 %", "DecodeError"):
        assert part in text
    for part in ("The data are synthetic.", "abstained", "3 of 271 scored segments", "video 0.60", "without audio"):
        assert part in text
    assert base64.b64encode(b"\xff\xd8jpeg").decode() in html
    assert html.count("<svg") == 2


def test_empty_store_says_what_to_do() -> None:
    text = _text(render(ReportData(store="s", created_at=NOW)))
    assert "No model has been trained yet" in text
    assert "triptych ingest FOLDER" in text
    assert "No open failures." in text


def test_odd_names_are_escaped() -> None:
    odd = "<script>alert(1)</script>\" onload='x' \u202egpj.\udcff"
    data = replace(
        FULL,
        store=odd,
        contact_sheet=(Thumb("m", odd, 0, b"x"),),
        models=(replace(MODEL, name=odd, best_single=odd, rows=(replace(MODEL.rows[0], name=odd),)),),
        scores=(replace(SCORE, name=odd),),
        failures=(FailureRow("ingest", odd, "MediaError", odd, 1, NOW),),
        notes=(odd,),
    )
    html = render(data)
    page = _read(html)
    assert all(tag != "script" and "onload" not in attributes for tag, attributes in page.tags)
    text = "".join(page.text)
    assert "<script>alert(1)</script>" in text
    assert "\\u202egpj.\\udcff" in text
    html.encode()


def test_a_gain_is_claimed_only_where_the_interval_excludes_zero() -> None:
    assert "Fusion gains +6.0 points" in _text(render(replace(FULL, models=(MODEL,))))
    for shown in (True, False):
        text = _text(render(replace(FULL, models=(replace(MODEL, gain_low=-0.01, gain_shown=shown),))))
        assert "No gain shown: the 95 % interval \N{MINUS SIGN}1.0 to +11.0 points includes 0" in text
        assert "Fusion gains" not in text


def test_a_model_without_measures_renders() -> None:
    bare = replace(MODEL, rows=(), gain=None, gain_low=None, gain_high=None, gain_shown=False)
    assert "Gain not measured" in _text(render(replace(FULL, models=(bare,))))
    unknown = replace(MODEL, gain=float("nan"))
    assert "Gain not measured" in _text(render(replace(FULL, models=(unknown,))))


def test_same_data_same_page() -> None:
    assert render(FULL) == render(FULL)


def test_writing_replaces_the_file_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    write_report(FULL, path)
    write_report(ReportData(store="s", created_at=NOW), path)
    assert "No model has been trained yet" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StoreError, match="--out"):
        write_report(FULL, tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
