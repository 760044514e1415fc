"""Rows of manifests: what a row may hold, and what costs it."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import ConfigError
from features.samples.rows import BadRow, RawRow, read_rows

if TYPE_CHECKING:
    from pathlib import Path

_MEGABYTE = 1 << 20


def rows_of(path: Path, content: bytes) -> list[RawRow | BadRow]:
    path.write_bytes(content)
    return list(read_rows(path))


def test_a_field_may_have_breaks_commas_and_quotes(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path / "m.csv", b'\xef\xbb\xbfimage,text\r\na.png,"one,\r\n""two"""\r\n\r\n')
    assert row == RawRow(1, {"image": "a.png", "text": 'one,\r\n"two"'})


def test_what_is_not_utf8_costs_its_row(tmp_path: Path) -> None:
    first, bad, last = rows_of(tmp_path / "m.csv", b"image\na.png\nb\xe4r.png\nc.png\n")
    assert (first.number, last.number) == (1, 3)
    assert isinstance(bad, BadRow)
    assert "UTF-8" in bad.message
    assert "xe4r" in bad.message


def test_utf16_is_refused_whole(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"m\.csv.*UTF-8"):
        rows_of(tmp_path / "m.csv", "image\na.png\n".encode("utf-16"))


def test_a_row_that_is_cut_short(tmp_path: Path) -> None:
    good, bad = rows_of(tmp_path / "m.csv", b"image,audio,mood\na.png,a.wav,x\nb.png,b.w")
    assert isinstance(good, RawRow)
    assert bad == BadRow(2, "has 2 of 3 cells ('b.png,b.w'); it may be cut short, or a comma lacks its quotes")
    _, bad = rows_of(tmp_path / "m.csv", b'image,text\na.png,x\nb.png,"and the')
    assert isinstance(bad, BadRow)
    _, bad = rows_of(tmp_path / "m.jsonl", b'{"image": "a.png"}\n{"image": "b.p')
    assert isinstance(bad, BadRow)
    assert "cut short" in bad.message


@pytest.mark.parametrize("quote", [b"", b'"'])
def test_a_huge_field_is_not_held_in_memory(tmp_path: Path, quote: bytes) -> None:
    path = tmp_path / "m.csv"
    with path.open("wb") as file:
        file.write(b"image,text\na.png," + quote)
        for _ in range(64):
            file.write(b"x" * _MEGABYTE)
        file.write(quote + b"\nb.png,short\n")
    tracemalloc.start()
    bad, good = read_rows(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(bad, BadRow)
    assert "67108" in bad.message
    assert good == RawRow(2, {"image": "b.png", "text": "short"})
    assert peak_bytes < 24 * _MEGABYTE


def test_a_huge_line_of_json_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "')
        for _ in range(64):
            file.write(b"x" * _MEGABYTE)
        file.write(b'"}\n{"text": "short"}\n')
    tracemalloc.start()
    bad, good = read_rows(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (bad.number, good) == (1, RawRow(2, {"text": "short"}))
    assert peak_bytes < 24 * _MEGABYTE


def test_a_quote_that_never_ends_costs_what_is_after_it(tmp_path: Path) -> None:
    lines = b"b.png,a line of words\n" * 300_000
    found = rows_of(tmp_path / "m.csv", b'image,text\na.png,good\nx.png,"open\n' + lines)
    assert found[0] == RawRow(1, {"image": "a.png", "text": "good"})
    assert all(isinstance(row, BadRow) for row in found[1:])
    assert "never ends" in found[-1].message  # type: ignore[union-attr]


@pytest.mark.parametrize("line", [b"[1, 2]", b"7", b"{", b"[" * 100_000, b'{"a": \xff}'])
def test_json_that_is_no_object(tmp_path: Path, line: bytes) -> None:
    bad, good = rows_of(tmp_path / "m.jsonl", line + b'\n{"image": "a.png"}\n')
    assert isinstance(bad, BadRow)
    assert good == RawRow(2, {"image": "a.png"})


def test_parquet_that_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"image": ["a.png"] * 100}), path)
    assert len(list(read_rows(path))) == 100
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match=r"m\.parquet.*cut short"):
        list(read_rows(path))


def test_a_column_twice(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'mood' more than once"):
        rows_of(tmp_path / "m.csv", b"image,mood,mood\na.png,x,y\n")


def test_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"m\.xml"):
        rows_of(tmp_path / "m.xml", b"<a/>")
    with pytest.raises(ConfigError, match=r"gone\.csv"):
        list(read_rows(tmp_path / "gone.csv"))
