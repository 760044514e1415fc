from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from features.errors import TranscriptionError
from features.transcripts.language import language_tag
from features.transcripts.sidecars import find_sidecars, group_sidecars, read_sidecar, read_sidecars

if TYPE_CHECKING:
    from pathlib import Path

CUE = "1\n00:00:01,000 --> 00:00:02,000\n{}\n"


def _write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(CUE.format(name), encoding="utf-8")


def test_sidecars_are_found_by_name(tmp_path: Path) -> None:
    _write(
        tmp_path, "talk.mp4", "talk.srt", "talk.VTT", "talk.en.srt", "talk.pt-BR.forced.vtt", "talk2.srt", "talk.log"
    )
    found = [path.name for path in find_sidecars(tmp_path / "talk.mp4")]
    assert found == ["talk.VTT", "talk.en.srt", "talk.pt-BR.forced.vtt", "talk.srt"]


def test_a_sidecar_belongs_to_the_media_with_its_whole_name(tmp_path: Path) -> None:
    _write(tmp_path, "talk.mp4", "talk.en.mp4", "talk.en.srt")
    assert find_sidecars(tmp_path / "talk.mp4") == ()
    assert find_sidecars(tmp_path / "talk.en.mp4") == (tmp_path / "talk.en.srt",)


def test_dots_in_names(tmp_path: Path) -> None:
    _write(tmp_path, "v1.2.mp4", "v1.2.srt", "v1.2.de.srt")
    assert [path.name for path in find_sidecars(tmp_path / "v1.2.mp4")] == ["v1.2.de.srt", "v1.2.srt"]


def test_a_missing_folder_has_none(tmp_path: Path) -> None:
    assert find_sidecars(tmp_path / "none" / "a.mp4") == ()


def test_a_listing_is_grouped_at_once(tmp_path: Path) -> None:
    _write(tmp_path, "a.mp4", "a.srt", "b.mp4", "b.en.vtt")
    groups = group_sidecars(map(str, tmp_path.iterdir()))
    for name in ("a.mp4", "b.mp4"):
        assert groups[str(tmp_path / name[0])] == tuple(map(str, find_sidecars(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "language"), [("a.srt", None), ("a.eng.srt", "en"), ("a.pt_BR.srt", "pt-BR"), ("a.de.sdh.srt", "de")]
)
def test_the_name_tells_the_language(tmp_path: Path, name: str, language: str | None) -> None:
    _write(tmp_path, name)
    utterance = read_sidecar(tmp_path / name)[0]
    assert (utterance.source, utterance.language, utterance.text) == ("sidecar", language, name)


def test_a_bad_sidecar_costs_only_itself(tmp_path: Path) -> None:
    _write(tmp_path, "a.srt")
    (tmp_path / "a.en.srt").write_text("nothing here")
    utterances, problems = read_sidecars([tmp_path / "a.en.srt", tmp_path / "a.srt"])
    assert [utterance.text for utterance in utterances] == ["a.srt"]
    assert [(path.name, type(error)) for path, error in problems] == [("a.en.srt", TranscriptionError)]


@pytest.mark.parametrize(
    ("code", "tag"),
    [
        ("eng", "en"),
        ("ger", "de"),
        ("deu", "de"),
        ("EN", "en"),
        ("und", None),
        (None, None),
        ("", None),
        ("haw", "haw"),
    ],
)
def test_language_tags(code: str | None, tag: str | None) -> None:
    assert language_tag(code) == tag
