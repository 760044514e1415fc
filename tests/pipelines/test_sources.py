"""Listing sources: what is found, and what is left out without stopping the rest."""

from __future__ import annotations

import os
import time
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


def test_links_to_files_are_sources_and_linked_folders_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.mp4").touch()
    (tmp_path / "in" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "in" / "file.mp4").symlink_to(tmp_path / "in" / "a.mp4")
    (tmp_path / "in" / "self.mp4").symlink_to(tmp_path / "in" / "self.mp4")
    (tmp_path / "in" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    assert _names(tmp_path, str(tmp_path)) == ["in/a.mp4", "in/file.mp4"]


def test_tens_of_thousands_of_files_in_a_folder(tmp_path: Path) -> None:
    for number in range(20_000):
        (tmp_path / f"{number:05}.mp4").touch()
    assert _names(tmp_path, str(tmp_path)) == [f"{number:05}.mp4" for number in range(20_000)]


def test_what_changed_just_now_is_left_for_the_next_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, age_seconds in (("old.mp4", 3600), ("new.mp4", 0)):
        (tmp_path / name).touch()
        changed = time.time() - age_seconds
        os.utime(tmp_path / name, (changed, changed))
    settled = list_sources([str(tmp_path)], settle_seconds=600)
    assert [os.path.relpath(source.uri, tmp_path) for source in settled] == ["old.mp4"]
    assert "new.mp4" in caplog.text
    assert _names(tmp_path, str(tmp_path)) == ["new.mp4", "old.mp4"]
