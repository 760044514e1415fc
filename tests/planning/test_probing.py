"""Looking into files: what they state and weigh, against a whole decode; and files that end who looks at them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from features.media.decode import decode_media
from features.media.options import DecodeOptions
from features.planning import probes
from features.planning.copies import copies_among
from features.planning.probes import probe_all
from features.planning.probing import Probed, probe_file
from features.planning.work import work_of
from features.sources.spool import Fetching
from features.store.plan import Source
from features.synthetic.archive import Archive, make_archive

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = DecodeOptions()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    return make_archive(tmp_path_factory.mktemp("archive") / "a", num_clips=12)


def source(path: Path) -> Source:
    return Source(str(path), path.stat().st_size, 0)


@pytest.mark.parametrize("options", [OPTIONS, DecodeOptions(frame_short_side=120, jpeg_quality=50)])
def test_a_look_tells_what_a_decode_makes(archive: Archive, options: DecodeOptions) -> None:
    seconds, pictures, sound = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]
    for path in archive.clips[:4]:
        whole = decode_media(path, options)
        look = work_of(probe_file(*source(path)[:2], options), options)
        seconds = [seconds[0] + whole.info.duration_us / 1e6, seconds[1] + look.media_seconds]
        pictures = [pictures[0] + sum(len(f.jpeg) for f in whole.frames), pictures[1] + look.picture_bytes]
        sound = [sound[0] + sum(len(chunk.flac) for chunk in whole.audio), sound[1] + look.sound_bytes]
        assert look.num_pictures == pytest.approx(len(whole.frames), abs=1)
        assert (look.audio_seconds > 0, look.text_seconds > 0) == (whole.info.has_audio, whole.info.has_text)
    assert seconds[1] == pytest.approx(seconds[0], rel=0.01)
    assert pictures[1] == pytest.approx(pictures[0], rel=0.15)
    assert sound[1] == pytest.approx(sound[0], rel=0.15)


def test_of_all_pictures_and_of_keyframes(archive: Archive) -> None:
    path = archive.clips[0]
    for sampling in ("all", "keyframes"):
        options = DecodeOptions(sampling=sampling)
        look = work_of(probe_file(*source(path)[:2], options), options)
        assert look.num_pictures == pytest.approx(len(decode_media(path, options).frames), abs=1.5)


def test_what_cannot_be_read_is_told(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("no video " * 1000)
    for path in (archive.truncated, tmp_path / "empty.mp4", tmp_path / "text.mp4"):
        probed = probe_file(*source(path)[:2], OPTIONS)
        assert str(path) in probed.error
        assert probed.duration_us is None
    assert "gone.mp4" in probe_file(str(tmp_path / "gone.mp4"), 10, OPTIONS).error


def test_in_child_processes_it_tells_the_same_in_order(archive: Archive) -> None:
    sources = [source(path) for path in archive.clips]
    done: list[int] = []
    found = probe_all(sources, OPTIONS, num_processes=2, on_progress=done.append)
    assert found == [probe_file(one.uri, one.size_bytes, OPTIONS) for one in sources]
    assert done[-1] == len(sources)


def ends(one: Source, options: DecodeOptions, fetching: Fetching) -> Probed:
    """Stands for a file that crashes FFmpeg."""
    del fetching
    if "clip_003" in one.uri:
        os._exit(1)
    return probe_file(one.uri, one.size_bytes, options)


def test_a_file_that_ends_its_process_costs_itself(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "_look", ends)
    found = probe_all([source(path) for path in archive.clips[:6]], OPTIONS)
    assert [bool(one.error) for one in found] == [False, False, False, True, False, False]
    assert "ended or held the process" in found[3].error


def test_copies_are_found_without_reading_them_whole(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    files = {
        "first": content,
        "copy": content,
        "other end": content[:-1] + b"x" if content[-1:] != b"x" else content[:-1] + b"y",
        "other size": content + b"x",
        "again": content,
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    sources = [source(tmp_path / name) for name in files]
    assert copies_among(sources) == {1, 4}
    (tmp_path / "copy").unlink()
    assert copies_among(sources) == {4}
