"""Listing sources: what is found, and what is left out without stopping the rest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pipelines.sources import list_sources

if TYPE_CHECKING:
    from pathlib import Path


def _names(folder: Path, *given: str) -> list[str]:
    return [os.path.relpath(source.uri, folder) for source in list_sources(given)]


def test_folders_are_searched_through_in_order(tmp_path: Path) -> None:
    for name in ("b/2.MKV", "b/.hidden.mp4", "b/notes.txt", "a.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert _names(tmp_path, str(tmp_path)) == ["a.mp4", "b/2.MKV"]
    assert _names(tmp_path, str(tmp_path), str(tmp_path / "a.mp4")) == ["a.mp4", "b/2.MKV"]


def test_a_glob_takes_no_subtitles(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.srt", "a.en.VTT"):
        (tmp_path / name).touch()
    (source,) = list_sources([str(tmp_path / "*")])
    assert source.uri.endswith("a.mp4")
    assert sorted(os.path.relpath(sidecar, tmp_path) for sidecar in source.sidecars) == ["a.en.VTT", "a.srt"]


def test_a_name_that_is_not_utf8_is_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "good.mp4").touch()
    with open(os.fsencode(tmp_path) + b"/bad\xff.mp4", "wb"):  # noqa: PTH123 - a name of bytes
        pass
    assert _names(tmp_path, str(tmp_path)) == ["good.mp4"]
    assert "bad\\udcff.mp4" in caplog.text
    assert "rename the file" in caplog.text
